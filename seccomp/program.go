// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// span is a range of numbers that share a leaf: from start to the next span.
type span struct {
	start uint32
	leaf  leafRef
}

// program places everything, last things first:
//
//	load arch, and find the section of the caller's architecture, or kill
//	each section: load nr, and search it by halves
//	each section: the rules that look at arguments
func (c *compiler) program() ([]unix.SockFilter, error) {
	c.code = make([]unix.SockFilter, 0, 512)
	c.rets = make([]ret, 0, 8)
	spans := make([]span, 0, 256)

	// Sections in order of address: the native one, tables[0], comes first, as
	// it is the hottest; so it is placed last.
	type section struct {
		audit uint32
		at    label
	}
	var sections [maxTables]section
	n := 0
	for i := c.used - 1; i >= 0; i-- {
		t := &c.tables[i]
		if t.arch == X32 {
			continue // lives in x86-64's section
		}
		var err error
		if spans, err = c.section(spans[:0], t); err != nil {
			return nil, err
		}
		at := c.then(opLoad, offNr, c.search(spans))
		sections[n] = section{archs[t.arch].audit, at}
		n++
	}
	next := c.ret(retBadArch)
	for _, s := range sections[:n] {
		next = c.branch(opEqual, s.audit, s.at, next)
	}
	c.then(opLoad, offArch, next)

	if len(c.code) > maxProgram {
		return nil, fmt.Errorf("%w: %d instructions, the kernel takes %d", ErrTooLong, len(c.code), maxProgram)
	}
	slices.Reverse(c.code)
	return c.code, nil
}

// section places the rules of a table and returns its spans. On x86-64 the x32
// table is its upper part; and there -1 is the one number without an ABI, which
// a tracer uses to skip a call, so it must not be killed.
func (c *compiler) section(spans []span, t *table) ([]span, error) {
	if err := c.placeRules(t); err != nil {
		return nil, err
	}
	spans = c.spans(spans, t)
	if t.arch != X8664 {
		return spans, nil
	}
	x32 := slices.IndexFunc(c.tables[:c.used], func(t table) bool { return t.arch == X32 })
	if x32 < 0 {
		return append(spans, span{x32Bit, c.actionLeaf(retBadArch)}, span{^uint32(0), 0}), nil
	}
	if err := c.placeRules(&c.tables[x32]); err != nil {
		return nil, err
	}
	return c.spans(spans, &c.tables[x32]), nil
}

// spans appends a table's numbers as ranges.
func (c *compiler) spans(list []span, t *table) []span {
	base := archs[t.arch].base
	add := func(start uint32, l leafRef) {
		if n := len(list); n == 0 || list[n-1].leaf != l {
			list = append(list, span{start, l})
		}
	}
	for slot := range t.top + 1 {
		add(base+uint32(slot), t.leafs[slot])
	}
	var above leafRef
	if c.nosys && t.top >= 0 {
		above = c.actionLeaf(retNosys)
	}
	add(base+uint32(t.top+1), above)
	if t.arch == ARM {
		for i, l := range t.leafs[privateSlots:] {
			add(armPrivate+uint32(i), l)
		}
		add(armPrivate+numPrivate, above)
	}
	return list
}

// search places a search by halves over spans, with the number loaded.
func (c *compiler) search(spans []span) label {
	switch n := len(spans); {
	case n == 1:
		return c.leafLabel(spans[0].leaf)
	case n == 3 && spans[0].leaf == spans[2].leaf && spans[1].start+1 == spans[2].start:
		return c.branch(opEqual, spans[1].start, c.leafLabel(spans[1].leaf), c.leafLabel(spans[0].leaf))
	default:
		upper := c.search(spans[n/2:])
		lower := c.search(spans[:n/2])
		return c.branch(opFrom, spans[n/2].start, upper, lower)
	}
}

// leafLabel returns where a leaf is.
func (c *compiler) leafLabel(ref leafRef) label {
	if l := &c.leafs[ref]; l.first >= 0 {
		return l.at
	}
	return c.ret(c.leafs[ref].action)
}

// placeRules places the code of each leaf of t that looks at arguments.
func (c *compiler) placeRules(t *table) error {
	var buf [16]rule
	for slot, ref := range t.leafs {
		if ref == 0 || c.leafs[ref].first < 0 || c.leafs[ref].at >= 0 {
			continue
		}
		if same, ok := c.twin(ref); ok {
			t.leafs[slot] = same
			continue
		}
		list, err := c.ruleList(buf[:0], ref)
		if err != nil {
			return err
		}
		at := c.ret(c.def)
		for i := len(list) - 1; i >= 0; i-- {
			at = c.placeRule(&list[i], c.leafs[ref].wide, at)
		}
		c.leafs[ref].at = at
	}
	return nil
}

// twin finds a leaf already placed that does the same: two names of one rule.
func (c *compiler) twin(ref leafRef) (leafRef, bool) {
	for i := range c.leafs {
		l := &c.leafs[i]
		if l.at < 0 || l.wide != c.leafs[ref].wide {
			continue
		}
		a, b := l.first, c.leafs[ref].first
		for a >= 0 && b >= 0 && c.links[a].rule == c.links[b].rule {
			a, b = c.links[a].next, c.links[b].next
		}
		if a < 0 && b < 0 {
			return leafRef(i), true
		}
	}
	return 0, false
}

// ruleList returns a leaf's rules in the order in which they are asked, each
// once.
func (c *compiler) ruleList(list []rule, ref leafRef) ([]rule, error) {
	l := &c.leafs[ref]
	for i := l.first; i >= 0; i = c.links[i].next {
		r := c.rules[c.links[i].rule]
		if !l.wide {
			from := len(c.conds)
			for _, cd := range r.conds {
				c.conds = append(c.conds, cd.narrowed())
			}
			r.conds = c.conds[from:len(c.conds):len(c.conds)]
		}
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b rule) int { return compareRules(&a, &b) })
	out := list[:1]
	for _, r := range list[1:] {
		// Rules that compare equal stand together, but an equal condition may
		// be a few places away: x == 5 and x != 5 compare equal too.
		prev := len(out) - 1
		for prev >= 0 && compareRules(&out[prev], &r) == 0 && !slices.Equal(out[prev].conds, r.conds) {
			prev--
		}
		switch {
		case prev < 0 || !slices.Equal(out[prev].conds, r.conds):
			out = append(out, r)
		case out[prev].action == r.action:
		case r.muxed || out[prev].muxed:
			out[prev].action = stricter(out[prev].action, r.action)
		default:
			return nil, fmt.Errorf("system call %q: two rules with the same arguments contradict each other: %s, %s",
				c.names[ref], Action(out[prev].action), Action(r.action))
		}
	}
	return out, nil
}

// placeRule places one rule: its action if all conditions match, else no.
func (c *compiler) placeRule(r *rule, wide bool, no label) label {
	at := c.ret(r.action)
	for i := len(r.conds) - 1; i >= 0; i-- {
		at = c.placeCond(&r.conds[i], wide, at, no)
	}
	return at
}

// placeCond places one condition.
func (c *compiler) placeCond(cd *cond, wide bool, yes, no label) label {
	low, high := offArgs+8*uint32(cd.arg), offArgs+8*uint32(cd.arg)+4
	switch cd.op {
	case opNE:
		return c.placeEqual(low, high, cd, wide, no, yes)
	case opEQ, opMasked:
		return c.placeEqual(low, high, cd, wide, yes, no)
	case opGT:
		return c.placeOrder(low, high, opAbove, cd.value, wide, yes, no)
	case opGE:
		return c.placeOrder(low, high, opFrom, cd.value, wide, yes, no)
	case opLE:
		return c.placeOrder(low, high, opAbove, cd.value, wide, no, yes)
	default: // opLT
		return c.placeOrder(low, high, opFrom, cd.value, wide, no, yes)
	}
}

// placeEqual places argument&mask == value, a word at a time.
func (c *compiler) placeEqual(low, high uint32, cd *cond, wide bool, yes, no label) label {
	at := c.placeWord(low, uint32(cd.mask), uint32(cd.value), yes, no)
	if wide {
		at = c.placeWord(high, uint32(cd.mask>>32), uint32(cd.value>>32), at, no)
	}
	return at
}

func (c *compiler) placeWord(off, mask, value uint32, yes, no label) label {
	if mask == 0 {
		return yes
	}
	at := c.branch(opEqual, value, yes, no)
	if at == yes { // yes and no are the same place: nothing to ask
		return at
	}
	if mask != ^uint32(0) {
		at = c.then(opAnd, mask, at)
	}
	return c.then(opLoad, off, at)
}

// placeOrder places argument > value or argument >= value, after op.
func (c *compiler) placeOrder(low, high uint32, op uint16, value uint64, wide bool, yes, no label) label {
	at := c.branch(op, uint32(value), yes, no)
	if at == yes {
		return at
	}
	at = c.then(opLoad, low, at)
	if !wide {
		return at
	}
	// The high words decide unless they are equal. Two of their values leave
	// only one side to be on.
	switch h := uint32(value >> 32); h {
	case 0:
		at = c.branch(opEqual, h, at, yes)
	case ^uint32(0):
		at = c.branch(opEqual, h, at, no)
	default:
		at = c.branch(opEqual, h, at, no)
		at = c.branch(opAbove, h, yes, at)
	}
	return c.then(opLoad, high, at)
}
