// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Orders are what a monitor is told: the file orders in the container's
// folder, lines of a name and a value, quoted where it is text.
type Orders struct {
	ID       string
	Terminal bool // the container has a terminal, not pipes
	Input    bool // its input stays open for clients
	Once     bool // but ends with the first one's

	Driver  string // of the log: json-file, k8s-file, journald, none
	MaxSize int64  // of a log file, in bytes; 0 is no limit
	MaxFile int    // how many there may be
	Tag     string // what journald's lines are marked with

	Timeout time.Duration // after which the container is killed; 0 is never
	Signal  int           // that asks it to end: what a monitor asked to end passes on
	Health  Health

	Servers []string // --dns: name servers that are asked in place of the host's
	Options []string // --dns-option

	Attributes []string // of the container's events: NAME=VALUE

	// Next is the command that the monitor becomes at the container's end: it
	// takes down what was made, and decides what comes then.
	Next []string
}

// Health is how a container's health is checked. Without a command it isn't.
type Health struct {
	Command       []string // of the container
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration // in which failures don't count
	StartInterval time.Duration // between checks then
	Retries       int           // how many failures in a row make it unhealthy
	OnFailure     string        // none, kill, restart, stop
	Program       []string      // runs a command in the container: vitro-oci ... exec ID
}

// attribute is the value of one of Attributes; "" if there is none of that name.
func (o *Orders) attribute(name string) string {
	for _, a := range o.Attributes {
		if key, value, _ := strings.Cut(a, "="); key == name {
			return value
		}
	}
	return ""
}

// ordersField is a row of the table of what can stand in the file.
type ordersField struct {
	name  string
	get   func(*Orders) []string // a line for each
	parse func(*Orders, string) error
}

func textField(name string, at func(*Orders) *string) ordersField {
	return ordersField{name,
		func(o *Orders) []string {
			if *at(o) == "" {
				return nil
			}
			return []string{strconv.Quote(*at(o))}
		},
		func(o *Orders, v string) (err error) { *at(o), err = strconv.Unquote(v); return err }}
}

func listField(name string, at func(*Orders) *[]string) ordersField {
	return ordersField{name,
		func(o *Orders) (lines []string) {
			for _, s := range *at(o) {
				lines = append(lines, strconv.Quote(s))
			}
			return lines
		},
		func(o *Orders, v string) error {
			s, err := strconv.Unquote(v)
			*at(o) = append(*at(o), s)
			return err
		}}
}

func numberField[T ~int | ~int64](name string, at func(*Orders) *T) ordersField {
	return ordersField{name,
		func(o *Orders) []string {
			if *at(o) == 0 {
				return nil
			}
			return []string{strconv.FormatInt(int64(*at(o)), 10)}
		},
		func(o *Orders, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			*at(o) = T(n)
			return err
		}}
}

func flagField(name string, at func(*Orders) *bool) ordersField {
	return ordersField{name,
		func(o *Orders) []string {
			if !*at(o) {
				return nil
			}
			return []string{"yes"}
		},
		func(o *Orders, v string) error { *at(o) = v == "yes"; return nil }}
}

// ordersFields are made when they are needed: most starts of the program are
// not a monitor's.
func ordersFields() []ordersField {
	return []ordersField{
		textField("id", func(o *Orders) *string { return &o.ID }),
		flagField("terminal", func(o *Orders) *bool { return &o.Terminal }),
		flagField("input", func(o *Orders) *bool { return &o.Input }),
		flagField("once", func(o *Orders) *bool { return &o.Once }),
		textField("driver", func(o *Orders) *string { return &o.Driver }),
		numberField("max-size", func(o *Orders) *int64 { return &o.MaxSize }),
		numberField("max-file", func(o *Orders) *int { return &o.MaxFile }),
		textField("tag", func(o *Orders) *string { return &o.Tag }),
		numberField("timeout", func(o *Orders) *time.Duration { return &o.Timeout }),
		numberField("signal", func(o *Orders) *int { return &o.Signal }),
		listField("health", func(o *Orders) *[]string { return &o.Health.Command }),
		numberField("health-interval", func(o *Orders) *time.Duration { return &o.Health.Interval }),
		numberField("health-timeout", func(o *Orders) *time.Duration { return &o.Health.Timeout }),
		numberField("health-start-period", func(o *Orders) *time.Duration { return &o.Health.StartPeriod }),
		numberField("health-start-interval", func(o *Orders) *time.Duration { return &o.Health.StartInterval }),
		numberField("health-retries", func(o *Orders) *int { return &o.Health.Retries }),
		textField("health-on-failure", func(o *Orders) *string { return &o.Health.OnFailure }),
		listField("health-program", func(o *Orders) *[]string { return &o.Health.Program }),
		listField("dns", func(o *Orders) *[]string { return &o.Servers }),
		listField("dns-option", func(o *Orders) *[]string { return &o.Options }),
		listField("attribute", func(o *Orders) *[]string { return &o.Attributes }),
		listField("next", func(o *Orders) *[]string { return &o.Next }),
	}
}

// Append appends the file's text.
func (o *Orders) Append(b []byte) []byte {
	for _, f := range ordersFields() {
		for _, v := range f.get(o) {
			b = append(append(append(append(b, f.name...), ' '), v...), '\n')
		}
	}
	return b
}

var errOrders = errors.New("not a monitor's orders")

// ParseOrders reads what Append has written. Lines of other names are a newer
// version's: they are passed over.
func ParseOrders(data []byte) (*Orders, error) {
	o := new(Orders)
	fields := ordersFields()
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		for _, f := range fields {
			if f.name != name {
				continue
			}
			if err := f.parse(o, value); err != nil {
				return nil, fmt.Errorf("%w: line %q", errOrders, line)
			}
		}
	}
	if o.ID == "" {
		return nil, errOrders
	}
	return o, nil
}

// ReadOrders reads the orders of the container in a folder.
func ReadOrders(dir string) (*Orders, error) {
	data, err := os.ReadFile(dir + "/orders")
	if err != nil {
		return nil, err
	}
	return ParseOrders(data)
}
