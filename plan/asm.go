// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A Call is one system call as data: what a child action is lowered to.
type Call struct {
	Step  int          // index of the step that it belongs to
	Sys   Sys          // which call
	Args  [6]Arg       // unused ones are zero
	Out   int          // register for the result, 0 for none
	Allow []unix.Errno // errors that are no failure
	// SkipErr calls are passed over after an allowed error, SkipOK after
	// success. Jumps go forward only and stay within the step.
	SkipErr, SkipOK int
	// Untimed: the filter that the step before has loaded might forbid
	// reading the clock.
	Untimed bool
}

// An Arg is one argument of a call. It is small, since a plan has thousands;
// what a person reads is put together only when somebody does.
type Arg struct {
	Kind ArgKind
	Form Form
	Num  uint64 // Number: the value; Register: its number
	// Text is a string's text, a handle's name; of the other kinds, what a
	// person reads, if that is more than the value.
	Text string
	Mem  *Mem // Bytes and Pointers
}

// Mem is what an argument points to.
type Mem struct {
	Data []byte  // Bytes
	Rel  []Reloc // pointers inside Data
	Ptrs []Arg   // Pointers: an array of pointers, ended by a null
}

// A Reloc is a pointer inside the bytes of an argument.
type Reloc struct {
	Offset int
	To     Arg
}

// ArgKind says what an Arg's value is.
type ArgKind uint8

// The kinds of arguments.
const (
	None     ArgKind = iota
	Number           // a constant
	String           // a pointer to a string, ended by a NUL
	Bytes            // a pointer to bytes made before the fork
	Pointers         // a pointer to pointers (argv, envp)
	Register         // the result of an earlier call
	Handle           // a descriptor that the host has opened
)

// Form says how a number is printed.
type Form uint8

// The forms of numbers.
const (
	Decimal Form = iota
	Octal
	Namespaces // CLONE_NEW*
	Attributes // MOUNT_ATTR_*
	Capability
)

// AtFDCWD is the descriptor that stands for the working directory.
var AtFDCWD = Arg{Kind: Number, Num: 0xffffffffffffff9c, Text: "AT_FDCWD"}

// Num is a constant argument. The text is what a person reads in place of it.
func Num(n uint64, text string) Arg { return Arg{Kind: Number, Num: n, Text: text} }

// Int is a constant argument that is printed as a number.
func Int(n int) Arg { return Arg{Kind: Number, Num: uint64(n)} }

// As is a constant argument that is printed in a form.
func (f Form) As(n uint64) Arg { return Arg{Kind: Number, Num: n, Form: f} }

// Str is a pointer to a string.
func Str(s string) Arg { return Arg{Kind: String, Text: s} }

// Buf is a pointer to bytes, with pointers inside it.
func Buf(b []byte, text string, rel ...Reloc) Arg {
	return Arg{Kind: Bytes, Text: text, Mem: &Mem{Data: b, Rel: rel}}
}

// Strs is a pointer to a null-terminated array of strings.
func Strs(ss []string) Arg {
	m := &Mem{Ptrs: make([]Arg, len(ss))}
	for i, s := range ss {
		m.Ptrs[i] = Str(s)
	}
	return Arg{Kind: Pointers, Mem: m}
}

// Asm collects the calls of a plan's child steps. Registers are numbered from
// 1; a name is bound to one by As.
type Asm struct {
	Calls []Call

	step    int
	regs    int
	names   map[string]int
	untimed bool
}

// Lower returns the calls of all child steps of p, the steps' indexes in them.
func (p *Plan) Lower() []Call {
	a := &Asm{names: make(map[string]int)}
	a.Calls = make([]Call, 0, 4*len(p.Steps))
	for i, s := range p.Steps {
		if c, ok := s.Action.(Child); ok {
			a.step = i
			c.Lower(a)
		}
	}
	return a.Calls
}

// Do adds a call and returns its place, for And and As to refine.
func (a *Asm) Do(sys Sys, args ...Arg) *Call {
	c := Call{Step: a.step, Sys: sys, Untimed: a.untimed}
	copy(c.Args[:], args)
	a.Calls = append(a.Calls, c)
	return &a.Calls[len(a.Calls)-1]
}

// Get adds a call whose result is kept, and returns the argument that stands
// for it in later calls. The allowed errors leave -errno in it: see Do and Allow.
func (a *Asm) Get(sys Sys, args ...Arg) Arg {
	a.regs++
	a.Do(sys, args...).Out = a.regs
	return Arg{Kind: Register, Num: uint64(a.regs)}
}

// Last is the call that was added last.
func (a *Asm) Last() *Call { return &a.Calls[len(a.Calls)-1] }

// Len is the number of calls so far, to count the length of a jump with.
func (a *Asm) Len() int { return len(a.Calls) }

// As binds a name to the result of a call, for later steps.
func (a *Asm) As(name string, r Arg) { a.names[name] = int(r.Num) }

// Use is the argument for a handle: the result of an earlier step of the
// child, or else a descriptor that the host opened.
func (a *Asm) Use(name string) Arg {
	if r, ok := a.names[name]; ok {
		return Arg{Kind: Register, Num: uint64(r), Text: name}
	}
	return Arg{Kind: Handle, Text: name}
}

// Allow marks errors of the last call as no failure.
func (a *Asm) Allow(errs ...unix.Errno) { c := a.Last(); c.Allow = append(c.Allow, errs...) }

// Untimed: from here on the child reads no clock.
func (a *Asm) Untimed() { a.untimed = true }

// String shows the call as strace(1) would, with what becomes of its result
// and the errors that are no failure.
func (c Call) String() string {
	var b strings.Builder
	b.WriteString(c.Text())
	if c.Out != 0 {
		fmt.Fprintf(&b, " = r%d", c.Out)
	}
	for i, e := range c.Allow {
		sep := "|"
		if i == 0 {
			sep = "  or "
		}
		b.WriteString(sep + unix.ErrnoName(e))
	}
	return b.String()
}

// Text is the call with its arguments alone.
func (c Call) Text() string {
	var b strings.Builder
	b.WriteString(c.Sys.String())
	b.WriteByte('(')
	last := len(c.Args)
	for last > 0 && c.Args[last-1].Kind == None {
		last--
	}
	for i, arg := range c.Args[:last] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(arg.String())
	}
	b.WriteByte(')')
	return b.String()
}

// String shows the argument as a person reads it.
func (a Arg) String() string {
	switch a.Kind {
	case None:
		return "0"
	case String:
		return fmt.Sprintf("%q", a.Text)
	case Number:
		return a.number()
	case Register:
		if a.Text == "" {
			return fmt.Sprintf("r%d", a.Num)
		}
	case Pointers:
		if a.Text == "" {
			return fmt.Sprint(a.Mem.Ptrs)
		}
	case Bytes:
		if a.Text == "" {
			return fmt.Sprintf("[%d bytes]", len(a.Mem.Data))
		}
	}
	return a.Text
}

func (a Arg) number() string {
	if a.Text != "" {
		return a.Text
	}
	switch a.Form {
	case Octal:
		return fmt.Sprintf("%#o", a.Num)
	case Namespaces:
		return cloneFlags(a.Num)
	case Attributes:
		return Attr(a.Num).kernel()
	case Capability:
		return "CAP_" + CapName(int(a.Num))
	}
	return fmt.Sprint(int64(a.Num))
}
