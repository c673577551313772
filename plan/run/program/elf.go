// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// machines are the architectures that images are made for, by the number in
// the file (e_machine, linux/elf-em.h). A number that stands for several has
// them in the order 32 bits little and big endian, 64 bits little and big endian.
var machines = [...]struct {
	number uint16
	names  [4]string
}{
	{3, [4]string{"386", "386", "386", "386"}},
	{8, [4]string{"mipsle", "mips", "mips64le", "mips64"}},
	{20, [4]string{"ppc", "ppc", "ppc", "ppc"}},
	{21, [4]string{"ppc64le", "ppc64", "ppc64le", "ppc64"}},
	{22, [4]string{"s390", "s390", "s390x", "s390x"}},
	{40, [4]string{"arm", "armbe", "arm", "armbe"}},
	{43, [4]string{"sparc64", "sparc64", "sparc64", "sparc64"}},
	{62, [4]string{"amd64p32", "amd64p32", "amd64", "amd64"}}, // the 32-bit form is x32
	{183, [4]string{"arm64", "arm64be", "arm64", "arm64be"}},
	{243, [4]string{"riscv", "riscv", "riscv64", "riscv64"}},
	{258, [4]string{"loong", "loong", "loong64", "loong64"}},
}

// layout is where the fields of the file header and of a program header are,
// which differs between 32 and 64 bits (elf(5)).
type layout struct {
	header             int // size of the file header
	phoff, phnum, size int // place of e_phoff, e_phnum; size of a program header
	offset, length     int // place of p_offset, p_filesz in a program header
	wide               bool
}

var (
	layout32 = layout{header: 52, phoff: 28, phnum: 44, size: 32, offset: 4, length: 16}
	layout64 = layout{header: 64, phoff: 32, phnum: 56, size: 56, offset: 8, length: 32, wide: true}
)

// number reads an address or offset.
func (l *layout) number(o binary.ByteOrder, b []byte) uint64 {
	if l.wide {
		return o.Uint64(b)
	}
	return uint64(o.Uint32(b))
}

// The types of file and of program header that the kernel looks for.
const (
	typeExec, typeDyn = 2, 3
	headerInterp      = 3
	maxHeaders        = 65536 / 32 // the kernel reads no more than 64 KiB of them
	maxPath           = 4096
)

// readELF reads the headers of an ELF file (load_elf_binary in fs/binfmt_elf.c).
func readELF(r io.ReaderAt, head []byte) (Program, error) {
	p := Program{Kind: ELF}
	if len(head) < layout32.header {
		p.Broken = "it ends within its header"
		return p, nil
	}
	l, class := &layout32, 0
	if head[4] == 2 {
		l, class = &layout64, 2
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order, class = binary.BigEndian, class+1
	}
	p.Machine = machine(order.Uint16(head[18:]), class)
	if len(head) < l.header {
		p.Broken = "it ends within its header"
		return p, nil
	}
	switch t := order.Uint16(head[16:]); t {
	case typeExec, typeDyn:
	case 1:
		p.Broken = "it is an object file, not yet linked"
		return p, nil
	case 4:
		p.Broken = "it is a core dump"
		return p, nil
	default:
		p.Broken = fmt.Sprintf("it is of the unknown type %d", t)
		return p, nil
	}
	return p, p.headers(r, l, order, l.number(order, head[l.phoff:]), int(order.Uint16(head[l.phnum:])))
}

func machine(number uint16, class int) string {
	for _, m := range machines {
		if m.number == number {
			return m.names[class]
		}
	}
	return fmt.Sprintf("machine %d", number)
}

// headers looks for the loader among the program headers.
func (p *Program) headers(r io.ReaderAt, l *layout, order binary.ByteOrder, at uint64, count int) error {
	switch {
	case count == 0:
		p.Broken = "it has no program headers"
		return nil
	case count > maxHeaders || at > 1<<62:
		p.Broken = "its program headers are out of bounds"
		return nil
	}
	table := make([]byte, count*l.size)
	if ok, err := readAll(r, table, at); !ok {
		p.Broken = "it ends before its program headers"
		return err
	}
	for ; len(table) > 0; table = table[l.size:] {
		if order.Uint32(table) != headerInterp {
			continue
		}
		offset, length := l.number(order, table[l.offset:]), l.number(order, table[l.length:])
		if length < 2 || length > maxPath || offset > 1<<62 {
			p.Broken = "the name of its loader is out of bounds"
			return nil
		}
		name := make([]byte, length)
		if ok, err := readAll(r, name, offset); !ok {
			p.Broken = "it ends before the name of its loader"
			return err
		}
		name, _, _ = bytes.Cut(name, []byte{0})
		p.Interpreter = string(name)
		return nil
	}
	return nil
}

// readAll reports whether there are that many bytes at that place.
func readAll(r io.ReaderAt, b []byte, at uint64) (bool, error) {
	n, err := r.ReadAt(b, int64(at))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n == len(b), err
}
