// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"math"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Device is a rule for devices, checked. Of each of the accesses that a
// process asks for, the last rule that matches decides; without any it is
// denied. All of them have to be allowed.
type Device struct {
	Allow  bool   `json:"allow"`
	Type   byte   `json:"type,omitempty"` // 'c', 'b', or 0 for both
	Major  int64  `json:"major"`          // any: -1
	Minor  int64  `json:"minor"`
	Access Access `json:"access"`
}

// Access is what a process does with a device.
type Access uint8

// The accesses, with the numbers of the kernel's BPF_DEVCG_ACC_*.
const (
	Mknod Access = 1 << iota
	Read
	Write

	fullAccess = Mknod | Read | Write
)

// anyNumber stands for every number.
const anyNumber = -1

func (a Access) String() string {
	var b [3]byte
	s := b[:0]
	for _, x := range [...]struct {
		bit    Access
		letter byte
	}{{Read, 'r'}, {Write, 'w'}, {Mknod, 'm'}} {
		if a&x.bit != 0 {
			s = append(s, x.letter)
		}
	}
	return string(s)
}

// String is the rule's line in the files of version 1: "c 1:3 rwm".
func (d Device) String() string {
	if d.everything() {
		return "a"
	}
	t := "a"
	if d.Type != 0 {
		t = string(rune(d.Type))
	}
	return t + " " + number(d.Major) + ":" + number(d.Minor) + " " + d.Access.String()
}

func number(n int64) string {
	if n == anyNumber {
		return "*"
	}
	return itoa(n)
}

// everything reports whether the rule is for every device and access.
func (d Device) everything() bool {
	return d.Type == 0 && d.Major == anyNumber && d.Minor == anyNumber && d.Access == fullAccess
}

// DefaultDevices are the rules that every container has besides its own: the
// devices without hardware behind them, its terminals, and the making of any
// device file, which is of no use without the right to open it. They belong
// behind config.json's own rules, as runc has it.
func DefaultDevices() []specs.LinuxDeviceCgroup {
	rules := make([]specs.LinuxDeviceCgroup, 0, 12)
	for _, d := range [...]struct {
		kind         string
		major, minor int64
		access       string
	}{
		{"c", anyNumber, anyNumber, "m"},
		{"b", anyNumber, anyNumber, "m"},
		{"c", 1, 3, "rwm"},           // null
		{"c", 1, 5, "rwm"},           // zero
		{"c", 1, 7, "rwm"},           // full
		{"c", 1, 8, "rwm"},           // random
		{"c", 1, 9, "rwm"},           // urandom
		{"c", 5, 0, "rwm"},           // tty
		{"c", 5, 1, "rwm"},           // console
		{"c", 5, 2, "rwm"},           // ptmx
		{"c", 136, anyNumber, "rwm"}, // pts/*
	} {
		major, minor := d.major, d.minor
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: d.kind, Major: &major, Minor: &minor, Access: d.access})
	}
	return rules
}

// Devices checks the rules of config.json. Of a rule for type "a" (or none)
// without numbers, a missing access means all.
func Devices(rules []specs.LinuxDeviceCgroup) ([]Device, error) {
	out := make([]Device, 0, len(rules))
	for i, r := range rules {
		d, bad := checkDevice(r)
		if bad != "" {
			return nil, &Invalid{fmt.Sprintf("devices[%d]", i), fmt.Sprintf("%s %s:%s %s", r.Type, pointed(r.Major), pointed(r.Minor), r.Access), bad}
		}
		out = append(out, d)
	}
	return out, nil
}

func pointed(n *int64) string {
	if n == nil {
		return "*"
	}
	return number(*n)
}

func checkDevice(r specs.LinuxDeviceCgroup) (d Device, bad string) {
	d = Device{Allow: r.Allow, Major: anyNumber, Minor: anyNumber}
	switch r.Type {
	case "c", "b":
		d.Type = r.Type[0]
	case "u": // unbuffered: mknod(1)'s other word for c
		d.Type = 'c'
	case "a", "":
	default:
		return d, "the type is none of a, b, c"
	}
	for _, n := range [...]struct {
		from *int64
		to   *int64
	}{{r.Major, &d.Major}, {r.Minor, &d.Minor}} {
		if n.from != nil {
			*n.to = *n.from
		}
		if *n.to < anyNumber || *n.to > math.MaxInt32 {
			return d, "a device number out of range"
		}
	}
	for _, c := range strings.ReplaceAll(r.Access, "a", "") { // which adds nothing for runc, and some write
		i := strings.IndexRune("mrw", c)
		if i < 0 {
			return d, "the access is not made of r, w, m"
		}
		d.Access |= 1 << i
	}
	if r.Access == "" {
		if d.Type != 0 || d.Major != anyNumber || d.Minor != anyNumber {
			return d, "no access"
		}
		d.Access = fullAccess
	}
	return d, ""
}

// allowsAll reports whether the rules let everything through.
func allowsAll(rules []Device) bool {
	for i := len(rules) - 1; i >= 0 && rules[i].Allow; i-- {
		if rules[i].everything() {
			return true
		}
	}
	return false
}
