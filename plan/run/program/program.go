// SPDX-License-Identifier: Apache-2.0

// Package program reads from a file's bytes what execve(2) makes of it: what
// kind of program it is, for which machine, and which other file it needs to
// be started. It reads as the kernel does (fs/binfmt_script.c, fs/binfmt_elf.c),
// so that it can tell why the kernel would not.
//
// It is for explaining an exec that has failed. It doesn't say that one would
// succeed, and to look into a program's symbols or sections use debug/elf.
package program

import (
	"bytes"
	"errors"
	"io"
)

// A Kind is what the first bytes of a file say that it is.
type Kind uint8

// The kinds. Linux executes the first two.
const (
	ELF     Kind = iota + 1 // what compilers for Linux make
	Script                  // a text that begins with "#!"
	Empty                   // no bytes at all
	Text                    // readable, with no "#!"
	Windows                 // a PE program
	MacOS                   // a Mach-O program
	Java                    // a class file
	Archive                 // compressed, or a zip or tar file
	Unknown                 // anything else
)

// A Program is what there is to know of a file that is to be executed.
type Program struct {
	Kind Kind

	// Interpreter is the file that the kernel starts in the program's place:
	// the path after a script's "#!", or an ELF program's loader (PT_INTERP).
	// Empty for a static program, and for a script that names none. The bytes
	// are the file's: quote them.
	Interpreter string

	// Of a script.
	CR  bool // the first line ends in a carriage return, which the kernel takes for a part of the name
	Cut bool // the first line is longer than the kernel reads

	// Of a text.
	BOM bool // it begins with a byte order mark and then "#!"

	// Of an ELF program.
	Machine string // as OCI names architectures: "arm64"; "machine 42" if not known
	Broken  string // why the kernel takes it for no program: "it is an object file"
}

// lineSize is how much of a file the kernel looks at to tell what it is
// (BINPRM_BUF_SIZE in linux/binfmts.h).
const lineSize = 256

// Read tells what kind of program a file is. An error is one of reading: there
// is no file that is wrong.
func Read(r io.ReaderAt) (Program, error) {
	head := make([]byte, lineSize)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Program{}, err
	}
	head = head[:n]
	switch {
	case n == 0:
		return Program{Kind: Empty}, nil
	case bytes.HasPrefix(head, []byte("#!")):
		return script(head), nil
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return readELF(r, head)
	}
	return other(head), nil
}

// script reads the line after "#!" (load_script in fs/binfmt_script.c).
func script(head []byte) Program {
	p := Program{Kind: Script}
	line, _, whole := bytes.Cut(head[2:], []byte{'\n'})
	p.CR = whole && bytes.HasSuffix(line, []byte{'\r'})
	line = bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(line, " \t\x00")
	if end < 0 {
		end = len(line)
		p.Cut = !whole && len(head) == lineSize
	}
	p.Interpreter = string(line[:end])
	if p.CR && end < len(line) {
		p.CR = false // it ends the argument, not the name: the interpreter's affair
	}
	return p
}

// magics are the first bytes of what is no program for Linux.
var magics = [...]struct {
	magic string
	kind  Kind
}{
	{"MZ", Windows},
	{"\xcf\xfa\xed\xfe", MacOS}, {"\xce\xfa\xed\xfe", MacOS}, {"\xfe\xed\xfa\xcf", MacOS}, {"\xfe\xed\xfa\xce", MacOS},
	{"\xca\xfe\xba\xbe\x00\x00\x00\x02", MacOS}, {"\xca\xfe\xba\xbe\x00\x00\x00\x01", MacOS}, // for several machines
	{"\xca\xfe\xba\xbe", Java},
	{"PK\x03\x04", Archive}, {"\x1f\x8b", Archive}, {"BZh", Archive}, {"\xfd7zXZ\x00", Archive}, {"\x28\xb5\x2f\xfd", Archive},
}

func other(head []byte) Program {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return Program{Kind: m.kind}
		}
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf#!")) {
		return Program{Kind: Text, BOM: true}
	}
	for _, b := range head {
		if b < ' ' && b != '\n' && b != '\r' && b != '\t' && b != '\f' && b != '\x1b' || b == 0x7f {
			return Program{Kind: Unknown}
		}
	}
	return Program{Kind: Text}
}
