// SPDX-License-Identifier: Apache-2.0

// Command vitro-oci is an OCI runtime: it makes, starts, watches and removes
// containers, each of a bundle, a folder with a config.json and a root file
// system. Its command line is runc's.
//
// It is on the way of every start, so it imports little; what a package costs
// at its start is shown by GODEBUG=inittrace=1, and a test holds the list.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vitro/checkpoint"
	"vitro/container"
	"vitro/internal/entry"
	"vitro/internal/smallfile"
	"vitro/plan"
)

// A command is a row of the table of commands.
type command struct {
	name    string
	args    string // as the usage shows them
	does    string // in a line
	options []option
	// atFirst: what comes behind the first argument is not ours to read.
	atFirst bool
	run     func(*invocation) (int, error)
}

// An option is a flag of a command.
type option struct {
	name  string
	short string
	value string // what its value is called; empty: it has none
	does  string
}

// globals are the options before the command.
var globals = [...]option{
	{"root", "", "DIR", "where containers are kept (default /run/vitro-oci; for an ordinary user $XDG_RUNTIME_DIR/vitro-oci)"},
	{"log", "", "FILE", "write errors to this file too"},
	{"log-format", "", "text|json", "and in this form (default text)"},
	{"debug", "", "", "say more"},
	{"systemd-cgroup", "", "", "have systemd make the cgroup; linux.cgroupsPath is slice:prefix:name then"},
	{"cgroup-manager", "", "NAME", "crun's word for that: cgroupfs, systemd, or disabled for no cgroup and no limits"},
	{"rootless", "", "true|false|auto", "whether to work without root's rights (default auto)"},
	{"criu", "", "PATH", "ignored: criu is looked for in PATH"},
}

// An invocation is a command line, taken apart.
type invocation struct {
	command *command
	args    []string
	options map[string][]string
	stdout  io.Writer
}

func main() {
	entry.Unset()
	if len(os.Args) == 3 && os.Args[1] == monitorVerb {
		monitorMain(os.Args[2]) // in as little memory as there can be
	}
	entry.Widen()
	if filepath.Base(os.Args[0]) == initName {
		os.Exit(initMain(os.Args[1:]))
	}
	inv, err := parse(os.Args[1:])
	inv.stdout = os.Stdout
	code := 0
	if err == nil {
		code, err = inv.do()
	}
	if err != nil {
		inv.report(err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

// do runs the command, or shows what there is.
func (inv *invocation) do() (int, error) {
	err := inv.check()
	switch {
	case err != nil:
		return 1, err
	case inv.has("version"):
		_, err = io.WriteString(inv.stdout, version)
	case inv.has("help") || inv.command == nil:
		_, err = io.WriteString(inv.stdout, inv.help())
	default:
		return inv.command.run(inv)
	}
	return 0, err
}

// check refuses values that an option before the command doesn't have.
func (inv *invocation) check() error {
	switch f := inv.get("log-format"); f {
	case "", "text", "json":
	default:
		return fmt.Errorf("read option --log-format: invalid log-format: %s: want text or json", f)
	}
	switch m := inv.get("cgroup-manager"); m {
	case "", "cgroupfs", "systemd", "disabled":
		return nil
	default:
		return fmt.Errorf("read option --cgroup-manager: %q is none of cgroupfs, systemd, disabled", m)
	}
}

// systemd reports whether systemd is to make the cgroup.
func (inv *invocation) systemd() bool {
	return inv.has("systemd-cgroup") || inv.get("cgroup-manager") == "systemd"
}

// parse takes a command line apart. What it returns can always report an error.
func parse(args []string) (*invocation, error) {
	inv := &invocation{options: make(map[string][]string)}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			inv.args = append(inv.args, args...)
			return inv, nil
		case strings.HasPrefix(arg, "-") && arg != "-" && !inv.isSignal(arg):
			var err error
			if args, err = inv.option(arg, args); err != nil {
				return inv, err
			}
		case inv.command == nil:
			if inv.command = find(arg); inv.command == nil {
				return inv, fmt.Errorf("run command: No help topic for '%s': there is no such command; see vitro-oci --help", arg)
			}
		default:
			inv.args = append(inv.args, arg)
			if inv.command.atFirst {
				inv.args = append(inv.args, args...)
				return inv, nil
			}
		}
	}
	return inv, nil
}

// isSignal reports whether an argument is the number of a signal, as kill(1) has it.
func (inv *invocation) isSignal(arg string) bool {
	if inv.command == nil || inv.command.name != "kill" {
		return false
	}
	_, err := strconv.Atoi(arg)
	return err == nil
}

func find(name string) *command {
	for i := range commands {
		if commands[i].name == name {
			return &commands[i]
		}
	}
	return nil
}

// option reads one flag: --name, --name=value, --name value, -n value.
func (inv *invocation) option(arg string, rest []string) ([]string, error) {
	name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if name == "help" || name == "h" {
		inv.options["help"] = []string{"true"}
		return rest, nil
	}
	if inv.command == nil && (name == "version" || name == "v") {
		inv.options["version"] = []string{"true"}
		return rest, nil
	}
	known, of := globals[:], "vitro-oci"
	if inv.command != nil {
		known, of = inv.command.options, of+" "+inv.command.name
	}
	for i := range known {
		o := &known[i]
		if name != o.name && (name != o.short || o.short == "") {
			continue
		}
		switch {
		case o.value == "" && !given:
			value = "true"
		case o.value == "" && value != "true" && value != "false":
			return nil, fmt.Errorf("read option %s: want true or false", arg)
		case o.value != "" && !given:
			if len(rest) == 0 {
				return nil, fmt.Errorf("read option %s: it needs a value", arg)
			}
			value, rest = rest[0], rest[1:]
		}
		inv.options[o.name] = append(inv.options[o.name], value)
		return rest, nil
	}
	return nil, fmt.Errorf("read option %s: %s has none of this name; see %s --help", arg, of, of)
}

// has reports whether a flag without a value is set.
func (inv *invocation) has(name string) bool { return inv.get(name) == "true" }

// get is an option's value, the last if there are several; "" if there is none.
func (inv *invocation) get(name string) string {
	if v := inv.options[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// number is an option's value as a number, 0 if it isn't given.
func (inv *invocation) number(name string) (int, error) {
	v := inv.get(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("read option --%s: want a number, not %q", name, v)
	}
	return n, nil
}

// id is the command's only argument.
func (inv *invocation) id() (string, error) {
	if len(inv.args) != 1 {
		return "", fmt.Errorf("%s container: want one argument, its ID", inv.command.name)
	}
	return inv.args[0], nil
}

// store is where containers are kept.
func (inv *invocation) store() *container.Store {
	s := &container.Store{Root: inv.get("root"), Made: "state", Undo: []func(string) plan.Host{checkpoint.Actions}}
	if s.Root == "" {
		s.Root = container.RuntimeDir(inv.rootless())
	}
	return s
}

// rootless reports whether we are not the machine's root: by --rootless, by the
// user, or in a user namespace, where we are root by name only. There Podman
// leaves USER out, and an engine that is in a container as its root may set it.
func (inv *invocation) rootless() bool {
	switch inv.get("rootless") {
	case "true":
		return true
	case "false":
		return false
	}
	if os.Geteuid() != 0 {
		return true
	}
	if os.Getenv("USER") == "root" {
		return false
	}
	ids, err := smallfile.Read("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295"
}

// help shows what there is, or what a command takes.
func (inv *invocation) help() string {
	var b strings.Builder
	options := globals[:]
	if c := inv.command; c != nil {
		fmt.Fprintf(&b, "usage: vitro-oci %s [OPTIONS] %s\n\n%s\n", c.name, c.args, c.does)
		options = c.options
	} else {
		b.WriteString("usage: vitro-oci [OPTIONS] COMMAND\n\nAn OCI runtime, with runc's command line.\n\n")
		for _, c := range commands {
			fmt.Fprintf(&b, "  %-11s %s\n", c.name, c.does)
		}
	}
	if len(options) > 0 {
		b.WriteString("\n")
	}
	for _, o := range options {
		word := "--" + o.name
		if o.short != "" {
			word = "-" + o.short + ", " + word
		}
		if o.value != "" {
			word += " " + o.value
		}
		fmt.Fprintf(&b, "  %-30s %s\n", word, o.does)
	}
	if inv.command == nil {
		b.WriteString(example)
	}
	return b.String()
}

const example = `
See vitro-oci COMMAND --help.

Example: mkdir -p b/rootfs/bin; cp /bin/busybox b/rootfs/bin/sh
         cd b; vitro-oci spec; vitro-oci run demo
`
