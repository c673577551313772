// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"strings"
)

// place is what is known when an instruction is reached.
type place struct {
	seen  bool
	mixed bool   // reached with different words loaded
	audit uint32 // the architecture, once it was compared; 0 before
	off   uint32 // the word loaded
	mask  uint32 // and masked
}

// String returns the program in words, an instruction a line, with the names of
// system calls and architectures beside their numbers:
//
//	0  load arch
//	1  if arch == 0xc000003e goto 2 else 9     ; SCMP_ARCH_X86_64
//	2  load nr
//	3  if nr >= 57 goto 6 else 4               ; fork
func (f *Filter) String() string {
	var b strings.Builder
	at := make([]place, len(f.Prog)+1)
	at[0] = place{seen: true, mask: ^uint32(0)}
	for pc, in := range f.Prog {
		here := at[pc]
		text, comment := "", ""
		reach := func(skip int, p place) int {
			to := min(pc+1+skip, len(f.Prog))
			at[to] = at[to].join(p)
			return to
		}
		switch in.Code {
		case opRet:
			text = "return " + Action(in.K)
		case opJump:
			text = fmt.Sprintf("goto %d", reach(int(in.K), here))
		case opLoad:
			here.off, here.mask, here.mixed = in.K, ^uint32(0), false
			reach(0, here)
			text = "load " + wordName(in.K)
		case opAnd:
			here.mask &= in.K
			reach(0, here)
			text = fmt.Sprintf("and %#x", in.K)
		case opEqual, opAbove, opFrom:
			yes := here
			if here.off == offArch && in.Code == opEqual {
				yes.audit = in.K
			}
			text, comment = here.compare(in.Code, in.K)
			text = fmt.Sprintf("if %s goto %d else %d", text, reach(int(in.Jt), yes), reach(int(in.Jf), here))
		default:
			text = fmt.Sprintf("code %#x %d %d %#x", in.Code, in.Jt, in.Jf, in.K)
		}
		line := fmt.Sprintf("%4d  %s", pc, text)
		if comment != "" {
			line = fmt.Sprintf("%-52s; %s", line, comment)
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// join is what is known where two ways meet.
func (p place) join(q place) place {
	if !p.seen {
		q.seen = true
		return q
	}
	if p.audit != q.audit {
		p.audit = 0
	}
	p.mixed = p.mixed || q.mixed || p.off != q.off || p.mask != q.mask
	return p
}

// compare words a comparison, and names what the number stands for.
func (p place) compare(op uint16, k uint32) (text, comment string) {
	sign := "=="
	switch op {
	case opAbove:
		sign = ">"
	case opFrom:
		sign = ">="
	}
	if p.mixed {
		return fmt.Sprintf("word %s %#x", sign, k), ""
	}
	word := wordName(p.off)
	if p.mask != ^uint32(0) {
		word = fmt.Sprintf("%s & %#x", word, p.mask)
	}
	switch p.off {
	case offNr:
		if k >= x32Bit {
			text = fmt.Sprintf("nr %s %#x", sign, k)
		} else {
			text = fmt.Sprintf("nr %s %d", sign, k)
		}
		comment = callName(p.audit, k)
		if comment != "" && op == opFrom {
			comment = "from " + comment
		}
		return text, comment
	case offArch:
		for a := range numArch {
			if archs[a].audit == k {
				comment = a.String()
				break
			}
		}
	}
	return fmt.Sprintf("%s %s %#x", word, sign, k), comment
}

// callName names a number that stands in a comparison.
func callName(audit, nr uint32) string {
	for a := range numArch {
		if archs[a].audit == audit {
			if name, ok := Name(a, int(nr)); ok {
				if a == X32 {
					name += " (x32)"
				}
				return name
			}
		}
	}
	if nr == x32Bit {
		return "x32"
	}
	return ""
}

// wordName names a word of struct seccomp_data.
func wordName(off uint32) string {
	switch {
	case off == offNr:
		return "nr"
	case off == offArch:
		return "arch"
	case off >= offArgs && off < offArgs+8*maxArgs:
		half := "low"
		if off%8 != 0 {
			half = "high"
		}
		return fmt.Sprintf("arg%d.%s", (off-offArgs)/8, half)
	}
	return fmt.Sprintf("data+%d", off)
}
