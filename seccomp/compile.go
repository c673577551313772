// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxProgram is how many instructions the kernel takes (linux/bpf_common.h,
// BPF_MAXINSNS).
const maxProgram = 4096

// ErrTooLong says that a profile has too many distinct conditions to fit into
// one filter of the kernel's.
var ErrTooLong = errors.New("seccomp filter is too long")

// A Filter is a program that the kernel runs before each system call, and the
// flags that it wants to be installed with. A kernel that doesn't know a flag
// answers EINVAL: SPEC_ALLOW came with Linux 4.17, LOG with 4.14, NEW_LISTENER
// with 5.0, WAIT_KILLABLE_RECV with 5.19. With NEW_LISTENER the call returns the
// descriptor that is meant for the section's listenerPath.
type Filter struct {
	Prog  []unix.SockFilter
	Flags uint // SECCOMP_FILTER_FLAG_*, for seccomp(SECCOMP_SET_MODE_FILTER)
}

// Numbers are kept in slots: the common table's as they are, ARM's private ones
// behind it.
const (
	numSlots     = 640
	numPrivate   = 8
	privateSlots = numSlots - numPrivate
	maxTables    = 3
)

func slotOf(nr int32) int {
	if nr >= armPrivate {
		return privateSlots + int(nr&(numPrivate-1))
	}
	return int(nr)
}

// table is what a profile says about one architecture.
type table struct {
	arch  Arch
	top   int               // the highest slot below privateSlots that it names, or -1
	leafs [numSlots]leafRef // zero: the default
}

// leafRef is an index into compiler.leafs.
type leafRef uint16

// maxLeafs bounds what a profile may ask for before it is known which of it is
// used. A leaf takes an instruction at least; and one rule adds no more leafs
// than there are slots, so a leafRef never overflows.
const maxLeafs = 4 * maxProgram

// leaf is the end of the search for a number: an action, or rules that look at
// arguments first.
type leaf struct {
	action uint32
	first  int32 // into compiler.links, or -1: no rules
	last   int32 // of that list
	wide   bool
	at     label // of the rules' code, once it is placed; -1 before
}

// link is a rule in a leaf's list.
type link struct {
	rule int32
	next int32
}

// compiler holds a compilation. Everything in it is found by index, so that a
// profile costs a handful of allocations, not a few for each rule.
type compiler struct {
	assembler
	def    uint32
	nosys  bool
	tables [maxTables]table
	used   int
	rules  []rule
	conds  []cond
	leafs  []leaf
	links  []link
	names  []string // parallel to leafs: a name that leads there, for errors
}

// Compile turns a seccomp section into a filter for kernels of the given
// architecture, X8664 or AArch64. A section that says nothing (nil, or neither
// a default action nor system calls) yields a nil Filter: none is wanted.
//
// Errors name the rule. ErrTooLong is the only one that a correct section can
// meet.
func Compile(p *specs.LinuxSeccomp, arch Arch) (*Filter, error) {
	if p == nil || p.DefaultAction == "" && len(p.Syscalls) == 0 {
		return nil, nil
	}
	f, err := compile(p, arch)
	if err != nil {
		return nil, fmt.Errorf("compile seccomp: %w", err)
	}
	return f, nil
}

func compile(p *specs.LinuxSeccomp, arch Arch) (*Filter, error) {
	c := new(compiler)
	if err := c.setArchs(p.Architectures, arch); err != nil {
		return nil, err
	}
	if err := c.setDefault(p); err != nil {
		return nil, err
	}
	notify, err := c.addAll(p)
	if err != nil {
		return nil, err
	}
	flags, err := parseFlags(p.Flags, notify)
	if err != nil {
		return nil, err
	}
	prog, err := c.program()
	if err != nil {
		return nil, err
	}
	return &Filter{Prog: prog, Flags: flags}, nil
}

// setArchs makes a table for the native architecture, and for each of the list
// that the same kernel serves.
func (c *compiler) setArchs(list []specs.Arch, native Arch) error {
	if native != X8664 && native != AArch64 {
		return fmt.Errorf("architecture %v is not a kernel's own", native)
	}
	var want [numArch]bool
	want[native] = true
	for _, name := range list {
		i := slices.IndexFunc(archs[:], func(a archInfo) bool { return a.scmp == name })
		switch {
		case i >= 0:
			want[i] = want[i] || archs[i].host == native
		case !slices.Contains(foreign[:], name):
			return fmt.Errorf("unknown architecture %q", name)
		}
	}
	for a, ok := range want {
		if ok {
			c.tables[c.used].arch = Arch(a)
			c.tables[c.used].top = -1
			c.used++
		}
	}
	return nil
}

// setDefault takes the default action: leaf 0.
func (c *compiler) setDefault(p *specs.LinuxSeccomp) error {
	def, err := parseAction(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return fmt.Errorf("default action: %w", err)
	}
	if def == unix.SECCOMP_RET_USER_NOTIF {
		return errors.New("default action: SCMP_ACT_NOTIFY cannot be used for the write syscall, which hands over the listener")
	}
	c.def, c.nosys = def, !lenient(def)
	c.leafs = make([]leaf, 0, 32)
	c.names = make([]string, 0, 32)
	c.actionLeaf(def)
	return nil
}

// addAll adds every rule and reports whether any asks an agent.
func (c *compiler) addAll(p *specs.LinuxSeccomp) (notify bool, err error) {
	rules, conds := 0, 0
	for i := range p.Syscalls {
		n := len(p.Syscalls[i].Args)
		rules += max(1, n)
		conds += n
	}
	// i386's multiplexed calls add some, narrowed conditions too.
	c.rules = make([]rule, 0, rules+40)
	c.conds = make([]cond, 0, 3*conds+40)
	c.links = make([]link, 0, 3*conds+40)
	for i := range p.Syscalls {
		if len(c.leafs) > maxLeafs {
			return false, fmt.Errorf("%w: %d rules in, there are %d different ends", ErrTooLong, i, len(c.leafs))
		}
		s := &p.Syscalls[i]
		if err := c.addSyscall(s); err != nil {
			return false, fmt.Errorf("rule %d: %w", i, err)
		}
		notify = notify || s.Action == specs.ActNotify
	}
	if notify && p.ListenerPath == "" {
		return false, errors.New("SCMP_ACT_NOTIFY needs a listenerPath: no one would answer")
	}
	return notify, nil
}

// addSyscall adds one entry of the section: its rules, for all its names.
func (c *compiler) addSyscall(s *specs.LinuxSyscall) error {
	action, err := parseAction(s.Action, s.ErrnoRet)
	if err != nil {
		return err
	}
	end := c.actionLeaf(action)
	if len(s.Names) == 0 {
		return errors.New("no system call names")
	}
	from := len(c.conds)
	conds, twice, err := parseConds(c.conds, s.Args)
	if err != nil {
		return err
	}
	c.conds = conds
	first := len(c.rules)
	if mine := conds[from:len(conds):len(conds)]; twice {
		for i := range mine {
			c.rules = append(c.rules, rule{action: action, leaf: end, conds: mine[i : i+1 : i+1]})
		}
	} else {
		c.rules = append(c.rules, rule{action: action, leaf: end, conds: mine})
	}
	last, hint := len(c.rules), -1
	for _, name := range s.Names {
		if name == "" {
			return errors.New("empty system call name")
		}
		if name == "write" && action == unix.SECCOMP_RET_USER_NOTIF {
			return errors.New("SCMP_ACT_NOTIFY cannot be used for the write syscall, which hands over the listener")
		}
		// Profiles are mostly sorted: the next name is often the next row.
		hint++
		if hint >= len(syscalls) || syscalls[hint].name != name {
			i, ok := lookup(name)
			if !ok {
				continue // newer than the tables, or of another architecture
			}
			hint = i
		}
		call := &syscalls[hint]
		for r := first; r < last; r++ {
			c.addRow(call, r, action == c.def)
		}
	}
	return nil
}

// addRow adds one rule for one system call, to all tables.
func (c *compiler) addRow(call *row, r int, redundant bool) {
	for i := range c.tables[:c.used] {
		t := &c.tables[i]
		if t.arch == X86 && call.mux != 0 && !redundant {
			c.addMuxed(t, call, r)
		}
		nr := call.nr[t.arch]
		if nr < 0 {
			continue
		}
		slot := slotOf(nr)
		if slot < privateSlots {
			t.top = max(t.top, slot)
		}
		if !redundant {
			c.addRule(t, slot, call.name, r)
		}
	}
}

// The calls that multiplex others, on i386.
const (
	nrSocketcall = 102
	nrIPC        = 117
)

// addMuxed adds a rule for the form of a call that goes through socketcall(2)
// or ipc(2): the same, but argument 0 is the code.
func (c *compiler) addMuxed(t *table, call *row, r int) {
	slot, code := nrSocketcall, uint64(call.mux)
	if code > 100 {
		slot, code = nrIPC, code-100
	}
	if l := t.leafs[slot]; l != 0 && c.leafs[l].first < 0 {
		return // decided for all codes
	}
	from := len(c.conds)
	c.conds = append(c.conds, cond{arg: 0, op: opEQ, value: code, mask: ^uint64(0)})
	for _, cd := range c.rules[r].conds {
		if cd.arg != 0 {
			c.conds = append(c.conds, cd)
		}
	}
	mine := c.conds[from:len(c.conds):len(c.conds)]
	t.top = max(t.top, slot)
	c.rules = append(c.rules, rule{action: c.rules[r].action, leaf: c.rules[r].leaf, muxed: true, conds: mine})
	c.addRule(t, slot, call.name, len(c.rules)-1)
}

// addRule adds one rule to one slot.
func (c *compiler) addRule(t *table, slot int, name string, r int) {
	ref := &t.leafs[slot]
	switch {
	case *ref != 0 && c.leafs[*ref].first < 0: // decided
	case c.rules[r].always(archs[t.arch].wide):
		*ref = c.rules[r].leaf
	default:
		at := int32(len(c.links))
		c.links = append(c.links, link{rule: int32(r), next: -1})
		if *ref == 0 {
			*ref = c.newLeaf(leaf{action: c.def, first: at, wide: archs[t.arch].wide}, name)
		} else {
			c.links[c.leafs[*ref].last].next = at
		}
		c.leafs[*ref].last = at
	}
}

// newLeaf adds a leaf.
func (c *compiler) newLeaf(l leaf, name string) leafRef {
	l.at = -1
	c.leafs = append(c.leafs, l)
	c.names = append(c.names, name)
	return leafRef(len(c.leafs) - 1)
}

// actionLeaf returns the leaf of an action.
func (c *compiler) actionLeaf(action uint32) leafRef {
	for i := range c.leafs {
		if l := &c.leafs[i]; l.first < 0 && l.action == action {
			return leafRef(i)
		}
	}
	return c.newLeaf(leaf{action: action, first: -1}, "")
}
