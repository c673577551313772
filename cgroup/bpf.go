// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// An Insn is an instruction of eBPF (Documentation/bpf/standardization/
// instruction-set.rst), of those few that a device filter needs.
type Insn struct {
	Op       uint8
	Dst, Src uint8
	Off      int16
	Imm      int32
}

// The opcodes: class, source and operation together.
const (
	opLoad   = 0x61 // dst = *(u32 *)(src + off)
	opMov    = 0xbf // dst = src
	opMovImm = 0xb7 // dst = imm
	opAnd    = 0x57 // dst &= imm
	opShr    = 0x77 // dst >>= imm
	opJeq    = 0x15 // if dst == imm goto +off
	opJne    = 0x55 // if dst != imm goto +off
	opExit   = 0x95 // return r0
)

// The registers, as the program below uses them.
const (
	rResult  = iota
	rContext // at entry; afterwards scratch
	rType
	rAccess // what is asked for and no rule has decided yet
	rMajor
	rMinor
)

// A Program is a device filter: for a cgroup of version 2 it is what the files
// devices.allow and devices.deny are in version 1.
type Program []Insn

// DeviceProgram compiles rules (linux/bpf.h, struct bpf_cgroup_dev_ctx: the
// access in the upper half of its first word and the type in the lower, then
// major and minor). It goes from the last rule to the first. A rule that denies
// ends it, if it names something undecided; one that allows takes what it names
// off, and ends it when nothing is left.
func DeviceProgram(rules []Device) Program {
	p := Program{
		{Op: opLoad, Dst: rType, Src: rContext, Off: 0},
		{Op: opLoad, Dst: rMajor, Src: rContext, Off: 4},
		{Op: opLoad, Dst: rMinor, Src: rContext, Off: 8},
		{Op: opMov, Dst: rAccess, Src: rType},
		{Op: opShr, Dst: rAccess, Imm: 16},
		{Op: opAnd, Dst: rType, Imm: 0xffff},
	}
	for i := len(rules) - 1; i >= 0; i-- {
		p = append(p, rules[i].compile()...)
		if rules[i].everything() {
			return p // the verifier refuses what can't be reached
		}
	}
	return p.end(false)
}

func (p Program) end(allow bool) Program {
	n := int32(0)
	if allow {
		n = 1
	}
	return append(p, Insn{Op: opMovImm, Dst: rResult, Imm: n}, Insn{Op: opExit})
}

// compile is one rule; where it does not apply, the end of it is jumped to.
func (d Device) compile() Program {
	var p Program
	if d.everything() {
		return p.end(d.Allow)
	}
	switch d.Type {
	case 'b':
		p = append(p, Insn{Op: opJne, Dst: rType, Imm: 1})
	case 'c':
		p = append(p, Insn{Op: opJne, Dst: rType, Imm: 2})
	}
	if d.Major != anyNumber {
		p = append(p, Insn{Op: opJne, Dst: rMajor, Imm: int32(d.Major)})
	}
	if d.Minor != anyNumber {
		p = append(p, Insn{Op: opJne, Dst: rMinor, Imm: int32(d.Minor)})
	}
	if d.Allow {
		p = append(p, Insn{Op: opAnd, Dst: rAccess, Imm: int32(fullAccess &^ d.Access)}, Insn{Op: opJne, Dst: rAccess})
	} else {
		p = append(p, Insn{Op: opMov, Dst: rContext, Src: rAccess}, Insn{Op: opAnd, Dst: rContext, Imm: int32(d.Access)}, Insn{Op: opJeq, Dst: rContext})
	}
	p = p.end(d.Allow)
	for i := range p {
		if p[i].Op == opJne || p[i].Op == opJeq {
			p[i].Off = int16(len(p) - i - 1)
		}
	}
	return p
}

// Bytes is the program as the kernel takes it.
func (p Program) Bytes() []byte {
	b := make([]byte, 0, 8*len(p))
	for _, in := range p {
		// both architectures are little-endian: the first nibble is the destination
		b = append(b, in.Op, in.Dst|in.Src<<4)
		b = binary.NativeEndian.AppendUint16(b, uint16(in.Off))
		b = binary.NativeEndian.AppendUint32(b, uint32(in.Imm))
	}
	return b
}

// String is the program as the kernel's verifier prints one.
func (p Program) String() string {
	var b strings.Builder
	for i, in := range p {
		fmt.Fprintf(&b, "%3d: %s\n", i, in)
	}
	return b.String()
}

func (in Insn) String() string {
	switch in.Op {
	case opLoad:
		return fmt.Sprintf("r%d = *(u32 *)(r%d +%d)", in.Dst, in.Src, in.Off)
	case opMov:
		return fmt.Sprintf("r%d = r%d", in.Dst, in.Src)
	case opMovImm:
		return fmt.Sprintf("r%d = %d", in.Dst, in.Imm)
	case opAnd:
		return fmt.Sprintf("r%d &= %d", in.Dst, in.Imm)
	case opShr:
		return fmt.Sprintf("r%d >>= %d", in.Dst, in.Imm)
	case opJeq:
		return fmt.Sprintf("if r%d == %d goto +%d", in.Dst, in.Imm, in.Off)
	case opJne:
		return fmt.Sprintf("if r%d != %d goto +%d", in.Dst, in.Imm, in.Off)
	case opExit:
		return "exit"
	}
	return fmt.Sprintf("op %#x", in.Op)
}
