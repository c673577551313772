// SPDX-License-Identifier: Apache-2.0

package seccomp

import "golang.org/x/sys/unix"

// The instructions that a filter needs. The accumulator is the only register.
const (
	opLoad  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opAnd   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opRet   = unix.BPF_RET | unix.BPF_K
	opJump  = unix.BPF_JMP | unix.BPF_JA
	opEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAbove = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opFrom  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
)

// Offsets in struct seccomp_data (linux/seccomp.h). Both supported kernels are
// little-endian, so an argument's low word comes first.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// farthest is the highest number of instructions that a conditional jump skips.
const farthest = 255

// label is the place of an instruction, counted from the program's end.
type label int

// assembler builds a program backwards, from its last instruction to its first.
// BPF jumps go forward only, so whatever an instruction wants to jump to is
// there already, and the distance is known: there is nothing to patch, and a
// jump too far for its eight bits gets a stepping stone on the spot.
type assembler struct {
	code []unix.SockFilter // in reverse
	rets []ret
}

// ret remembers the nearest return of a value.
type ret struct {
	value uint32
	at    label
}

func (a *assembler) emit(op uint16, k uint32, jt, jf uint8) label {
	a.code = append(a.code, unix.SockFilter{Code: op, Jt: jt, Jf: jf, K: k})
	return label(len(a.code) - 1)
}

// skip returns how many instructions lie between the next one and to.
func (a *assembler) skip(to label) int { return len(a.code) - int(to) - 1 }

// ret returns a place that returns value: a near one, or a new one.
func (a *assembler) ret(value uint32) label {
	for i := range a.rets {
		r := &a.rets[i]
		if r.value != value {
			continue
		}
		if a.skip(r.at) > farthest {
			r.at = a.emit(opRet, value, 0, 0)
		}
		return r.at
	}
	at := a.emit(opRet, value, 0, 0)
	a.rets = append(a.rets, ret{value, at})
	return at
}

// stone returns a place right here that leads to the same end as to. A return
// needs no jump: it is as short as the jump to it.
func (a *assembler) stone(to label) label {
	if in := a.code[to]; in.Code == opRet {
		at := a.emit(opRet, in.K, 0, 0)
		for i := range a.rets {
			if a.rets[i].value == in.K {
				a.rets[i].at = at
			}
		}
		return at
	}
	return a.emit(opJump, uint32(a.skip(to)), 0, 0)
}

// then places an instruction that doesn't jump before next.
func (a *assembler) then(op uint16, k uint32, next label) label {
	if a.skip(next) > 0 {
		a.stone(next)
	}
	return a.emit(op, k, 0, 0)
}

// branch places a conditional jump.
func (a *assembler) branch(op uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	if a.skip(no) > farthest-1 { // one less: a stone for yes may come between
		no = a.stone(no)
	}
	if a.skip(yes) > farthest {
		yes = a.stone(yes)
	}
	return a.emit(op, k, uint8(a.skip(yes)), uint8(a.skip(no)))
}
