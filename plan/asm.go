// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
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
	Bytes            // a pointer to bytes that the linker puts into the program
	Pointers         // a pointer to pointers (argv, envp)
	Register         // the result of an earlier call
	Handle           // a descriptor that the host has opened
)

// Form says how a number, or a block of memory, is printed.
type Form uint8

// The forms of numbers and of memory.
const (
	Decimal Form = iota
	Octal
	Namespaces // CLONE_NEW*
	Attributes // MOUNT_ATTR_*
	Capability

	MountAttr // of bytes: struct mount_attr
	Pair64    // of bytes: two numbers, as struct rlimit64
	Pair16    // of bytes: two numbers, as the beginning of struct winsize
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

// Of is a pointer to bytes that are printed in a form.
func (f Form) Of(b []byte) Arg { return Arg{Kind: Bytes, Form: f, Mem: &Mem{Data: b}} }

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
	names   []binding
	untimed bool
}

// binding is a name for the result of a call.
type binding struct {
	name string
	reg  int
}

// Lower returns the calls of all child steps of p, the steps' indexes in them.
func (p *Plan) Lower() []Call {
	a := &Asm{Calls: make([]Call, 0, 6*len(p.Steps))}
	for i := range p.Steps {
		a.lower(p, i)
	}
	return a.Calls
}

// Step returns the calls of step i of p. They are good until the next Step:
// whoever goes through a plan once has its calls in a memory that is small. The
// steps are to be lowered in order, and each of them, since later ones may use
// what earlier ones have named.
func (a *Asm) Step(p *Plan, i int) []Call {
	if a.Calls == nil {
		a.Calls = make([]Call, 0, 48) // the bounding set has most
	}
	a.Calls = a.Calls[:0]
	a.lower(p, i)
	return a.Calls
}

func (a *Asm) lower(p *Plan, i int) {
	if c, ok := p.Steps[i].Action.(Child); ok {
		a.step = i
		c.Lower(a)
	}
}

// Do adds a call and returns its place, for And and As to refine.
func (a *Asm) Do(sys Sys, args ...Arg) *Call {
	a.Calls = append(a.Calls, Call{Step: a.step, Sys: sys, Untimed: a.untimed})
	c := a.Last()
	copy(c.Args[:], args)
	return c
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
func (a *Asm) As(name string, r Arg) { a.names = append(a.names, binding{name, int(r.Num)}) }

// Use is the argument for a handle: the result of an earlier step of the
// child, or else a descriptor that the host opened.
func (a *Asm) Use(name string) Arg {
	for i := len(a.names) - 1; i >= 0; i-- {
		if a.names[i].name == name {
			return Arg{Kind: Register, Num: uint64(a.names[i].reg), Text: name}
		}
	}
	return Arg{Kind: Handle, Text: name}
}

// Allow marks errors of the last call as no failure.
func (a *Asm) Allow(errs ...unix.Errno) { c := a.Last(); c.Allow = append(c.Allow, errs...) }

// Untimed: from here on the child reads no clock.
func (a *Asm) Untimed() { a.untimed = true }

// Filtered reports whether what comes next is Untimed.
func (a *Asm) Filtered() bool { return a.untimed }

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
			return a.memory()
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

// memory shows the bytes of an argument.
func (a Arg) memory() string {
	b, ne := a.Mem.Data, binary.NativeEndian
	switch a.Form {
	case MountAttr:
		return mountAttr(b)
	case Pair64:
		return fmt.Sprintf("{%d, %d}", ne.Uint64(b), ne.Uint64(b[8:]))
	case Pair16:
		return fmt.Sprintf("{%d, %d}", ne.Uint16(b), ne.Uint16(b[2:]))
	}
	return fmt.Sprintf("[%d bytes]", len(b))
}
