// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Bytes returns the program as the kernel wants it in memory: an array of
// struct sock_filter in native byte order (little-endian on every supported
// machine), for the raw call of a plan.
func (f *Filter) Bytes() []byte {
	b := make([]byte, 0, 8*len(f.Prog))
	for _, in := range f.Prog {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.Jt, in.Jf)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b
}

// Verdict runs the program as the kernel would and returns its value, a
// SECCOMP_RET_* with data (Action puts it in words). The number carries x32's
// bit where the caller is x32; auditArch is an AUDIT_ARCH_* (see
// Arch.AuditArch). A program that the kernel would not have taken yields
// SECCOMP_RET_KILL_PROCESS.
func (f *Filter) Verdict(nr, auditArch uint32, args [6]uint64) uint32 {
	var acc uint32
	for pc := 0; pc < len(f.Prog); pc++ {
		in := f.Prog[pc]
		switch in.Code {
		case opRet:
			return in.K
		case opJump:
			pc += int(in.K)
		case opLoad:
			acc = dataWord(in.K, nr, auditArch, args)
		case opAnd:
			acc &= in.K
		case opEqual, opAbove, opFrom:
			if holds(in.Code, acc, in.K) {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		default:
			return unix.SECCOMP_RET_KILL_PROCESS
		}
	}
	return unix.SECCOMP_RET_KILL_PROCESS
}

// holds evaluates a comparison of the accumulator.
func holds(op uint16, acc, k uint32) bool {
	switch op {
	case opEqual:
		return acc == k
	case opAbove:
		return acc > k
	default:
		return acc >= k
	}
}

// dataWord returns the word of struct seccomp_data at an offset.
func dataWord(off, nr, auditArch uint32, args [6]uint64) uint32 {
	switch {
	case off == offNr:
		return nr
	case off == offArch:
		return auditArch
	case off >= offArgs && off < offArgs+8*maxArgs:
		word := args[(off-offArgs)/8]
		if off%8 != 0 {
			word >>= 32
		}
		return uint32(word)
	}
	return 0 // the instruction pointer: no filter of ours looks at it
}
