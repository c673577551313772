// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxArgs is how many arguments a system call has, and a filter sees.
const maxArgs = 6

// operator is a comparison. The order is that of rank.
type operator uint8

const (
	opGT operator = iota
	opGE
	opLT
	opLE
	opEQ
	opNE
	opMasked
)

// cond is one condition on one argument.
type cond struct {
	arg   uint8
	op    operator
	value uint64
	mask  uint64 // opMasked only, else all ones
}

// rule is conditions that must all match, sorted by argument, and what then
// happens. Without conditions it always matches.
type rule struct {
	action uint32
	leaf   leafRef // of that action
	muxed  bool    // the condition on argument 0 was made here: see compiler.addMuxed
	conds  []cond
}

// always reports whether r has no condition that could fail: a mask without bits
// is none.
func (r *rule) always(wide bool) bool {
	for i := range r.conds {
		cd := &r.conds[i]
		if cd.op != opMasked || uint32(cd.mask) != 0 || wide && cd.mask != 0 {
			return false
		}
	}
	return true
}

// operators names the comparisons.
var operators = [...]struct {
	name specs.LinuxSeccompOperator
	op   operator
}{
	opGT:     {specs.OpGreaterThan, opGT},
	opGE:     {specs.OpGreaterEqual, opGE},
	opLT:     {specs.OpLessThan, opLT},
	opLE:     {specs.OpLessEqual, opLE},
	opEQ:     {specs.OpEqualTo, opEQ},
	opNE:     {specs.OpNotEqual, opNE},
	opMasked: {specs.OpMaskedEqual, opMasked},
}

func parseCond(a *specs.LinuxSeccompArg) (cond, error) {
	if a.Index >= maxArgs {
		return cond{}, fmt.Errorf("argument index %d: a system call has %d arguments, 0 to %d", a.Index, maxArgs, maxArgs-1)
	}
	for _, o := range operators {
		if o.name != a.Op {
			continue
		}
		c := cond{arg: uint8(a.Index), op: o.op, value: a.Value, mask: ^uint64(0)}
		if o.op == opMasked {
			// The specification's value is the mask, its valueTwo the value.
			c.mask, c.value = a.Value, a.ValueTwo&a.Value
		}
		return c, nil
	}
	return cond{}, fmt.Errorf("argument %d: unknown operator %q", a.Index, a.Op)
}

// parseConds appends a rule's conditions to list and reports whether two of
// them look at the same argument.
func parseConds(list []cond, args []specs.LinuxSeccompArg) (_ []cond, twice bool, err error) {
	var seen uint8
	from := len(list)
	for i := range args {
		c, err := parseCond(&args[i])
		if err != nil {
			return nil, false, err
		}
		twice = twice || seen&(1<<c.arg) != 0
		seen |= 1 << c.arg
		list = append(list, c)
	}
	if !twice && len(args) > 1 {
		slices.SortFunc(list[from:], func(a, b cond) int { return cmp.Compare(a.arg, b.arg) })
	}
	return list, twice, nil
}

// rank groups the operators by how specific they are.
func (c *cond) rank() int {
	switch c.op {
	case opGT, opGE:
		return 0
	case opLT, opLE:
		return 1
	}
	return 2
}

// narrowed is the condition as a 32-bit architecture sees it.
func (c cond) narrowed() cond {
	c.value, c.mask = uint64(uint32(c.value)), uint64(uint32(c.mask))
	return c
}

// compareConds puts the condition that is to be asked first in front.
func compareConds(a, b *cond) int {
	if a.arg != b.arg {
		return cmp.Compare(b.arg, a.arg)
	}
	if a.rank() != b.rank() {
		return cmp.Compare(b.rank(), a.rank())
	}
	if a.rank() == 1 { // upper bounds: the lowest is the tightest
		return cmp.Compare(a.value, b.value)
	}
	return cmp.Compare(b.value, a.value)
}

// compareRules orders the rules of one system call; see the package's doc.
func compareRules(a, b *rule) int {
	for i := range min(len(a.conds), len(b.conds)) {
		if c := compareConds(&a.conds[i], &b.conds[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a.conds), len(b.conds))
}

// stricter is the one of two return values that the kernel itself would prefer:
// the order of actions is that of their values, read as signed (seccomp(2)).
func stricter(a, b uint32) uint32 {
	if int32(b) < int32(a) {
		return b
	}
	return a
}
