// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Snapshot is what was found: a value that can be written down as JSON, and
// read back.
type Snapshot struct {
	Namespaces []*Namespace `json:"namespaces"` // by kind, then by ID
	// Processes are those that somebody is going to read about, by PID: the
	// first of each namespace, or all (Options.All).
	Processes []*Process `json:"processes"`
	Hidden    Hidden     `json:"hidden"`
}

// Hidden is what could not be looked at, and why.
type Hidden struct {
	UID       int `json:"uid"`                 // who looked
	Processes int `json:"processes,omitempty"` // their namespaces may not be read
	Files     int `json:"files,omitempty"`     // their descriptors may not
	Mounts    int `json:"mounts,omitempty"`    // mount namespaces whose mounts may not
	Relations int `json:"relations,omitempty"` // namespaces whose owner may not, or is outside of ours
}

// A Namespace is one namespace, with all that holds it.
type Namespace struct {
	ID      uint64 `json:"id"` // the inode number
	Kind    Kind   `json:"kind"`
	Initial bool   `json:"initial,omitempty"` // the machine's first
	// Owner is the user namespace that owns it, whose capabilities count here;
	// of a user namespace that is its parent. 0: not to be seen from here.
	Owner  uint64 `json:"owner,omitempty"`
	Parent uint64 `json:"parent,omitempty"` // of PID and user namespaces

	// Of a user namespace: who made it, and what IDs mean in it, as seen from ours.
	UID    *uint32 `json:"uid,omitempty"`
	UIDMap []Range `json:"uidMap,omitempty"`
	GIDMap []Range `json:"gidMap,omitempty"`

	Processes   []int        `json:"processes,omitempty"`
	Next        []int        `json:"next,omitempty"` // processes whose children will be in it
	Threads     []Thread     `json:"threads,omitempty"`
	Mounts      []Place      `json:"mounts,omitempty"`
	Descriptors []Descriptor `json:"descriptors,omitempty"`
	Sockets     []Descriptor `json:"sockets,omitempty"`
}

// A Range maps Size IDs from Inside on to those from Outside on.
type Range struct {
	Inside  uint32 `json:"inside"`
	Outside uint32 `json:"outside"`
	Size    uint32 `json:"size"`
}

// A Thread is one that is in another namespace than its process.
type Thread struct {
	PID int `json:"pid"`
	TID int `json:"tid"`
}

// A Place is where a namespace is mounted.
type Place struct {
	In   uint64 `json:"in"` // the mount namespace
	Path string `json:"path"`
}

// A Descriptor is one that a process has open.
type Descriptor struct {
	PID int `json:"pid"`
	FD  int `json:"fd"`
}

// A Process is a member of namespaces.
type Process struct {
	PID       int        `json:"pid"`
	Name      string     `json:"name"`           // comm: what it calls itself, at most 15 bytes
	Args      []string   `json:"args,omitempty"` // of kernel threads there are none
	UID       uint32     `json:"uid"`            // effective, as seen from our user namespace
	PIDs      []int      `json:"pids,omitempty"` // its numbers, from our PID namespace inwards
	Container *Container `json:"container,omitempty"`
}

// A Container is what an engine calls a group of processes.
type Container struct {
	Engine string `json:"engine"`
	ID     string `json:"id,omitempty"`
	Name   string `json:"name,omitempty"`
}

// String is "name (engine)".
func (c *Container) String() string {
	name := c.Name
	if name == "" {
		name = c.ID
		if len(name) == 64 {
			name = name[:12]
		}
	}
	if name == "" {
		return "(" + c.Engine + ")"
	}
	return name + " (" + c.Engine + ")"
}

// Command is the process's command line, or its name in brackets, as ps(1) has
// it. It may hold anything: see Printable.
func (p *Process) Command() string {
	if len(p.Args) == 0 {
		return "[" + p.Name + "]"
	}
	return strings.Join(p.Args, " ")
}

// Find is the namespace with an ID, nil if there is none.
func (s *Snapshot) Find(id uint64) *Namespace {
	for _, n := range s.Namespaces {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// Process is one of the processes, nil if it is not among them.
func (s *Snapshot) Process(pid int) *Process {
	i, ok := slices.BinarySearchFunc(s.Processes, pid, func(p *Process, pid int) int { return p.PID - pid })
	if !ok {
		return nil
	}
	return s.Processes[i]
}

// Printable is foreign text as it may be shown: what would move a terminal's
// cursor, change its colours, or turn the direction of writing is escaped, and
// so is what is not UTF-8.
func Printable(text string) string {
	clean := true
	for _, r := range text {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			b.WriteString(hex(`\x`, uint32(text[i]), 2))
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			b.WriteString(hex(`\x`, uint32(r), 2))
		case r < 0x10000:
			b.WriteString(hex(`\u`, uint32(r), 4))
		default:
			b.WriteString(hex(`\U`, uint32(r), 8))
		}
		i += size
	}
	return b.String()
}

func hex(prefix string, n uint32, digits int) string {
	const alphabet = "0123456789abcdef"
	out := []byte(prefix)
	for i := digits - 1; i >= 0; i-- {
		out = append(out, alphabet[n>>(4*i)&15])
	}
	return string(out)
}
