// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Values of flags that the flag set has no kind for: those whose absence means
// something else than any value, and Docker's forms.

type optionalIntValue struct{ to **int }

func (v optionalIntValue) String() string { return "" }
func (v optionalIntValue) Type() string   { return "int" }
func (v optionalIntValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("%q is no number", s)
	}
	*v.to = &n
	return nil
}

type optionalStringValue struct{ to **string }

func (v optionalStringValue) String() string     { return "" }
func (v optionalStringValue) Type() string       { return "string" }
func (v optionalStringValue) Set(s string) error { *v.to = &s; return nil }

// secondsValue is a number of seconds.
type secondsValue struct{ to *time.Duration }

func (v secondsValue) String() string { return "" }
func (v secondsValue) Type() string   { return "seconds" }
func (v secondsValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf("%q is no number of seconds", s)
	}
	*v.to = time.Duration(n) * time.Second
	return nil
}

// labelsValue is NAME=VALUE, or NAME alone for an empty value, several times.
type labelsValue struct{ to *map[string]string }

func (v labelsValue) String() string { return "" }
func (v labelsValue) Type() string   { return "list" }
func (v labelsValue) Set(s string) error {
	name, value, _ := strings.Cut(s, "=")
	if name == "" {
		return fmt.Errorf("%q has no name", s)
	}
	if *v.to == nil {
		*v.to = make(map[string]string)
	}
	(*v.to)[name] = value
	return nil
}
