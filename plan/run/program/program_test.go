// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"runtime"
	"strings"
	"testing"
)

// elfFile makes a file of headers: enough for the kernel to start to read it.
func elfFile(machine uint16, order binary.ByteOrder, wide bool, typ uint16, interp string) []byte {
	l, class := layout32, byte(1)
	if wide {
		l, class = layout64, 2
	}
	b := make([]byte, l.header+2*l.size)
	copy(b, "\x7fELF")
	b[4], b[5], b[6] = class, 1, 1
	if order == binary.ByteOrder(binary.BigEndian) {
		b[5] = 2
	}
	put := func(at int, n uint64) {
		if wide {
			order.PutUint64(b[at:], n)
		} else {
			order.PutUint32(b[at:], uint32(n))
		}
	}
	order.PutUint16(b[16:], typ)
	order.PutUint16(b[18:], machine)
	put(l.phoff, uint64(l.header))
	order.PutUint16(b[l.phnum:], 2)
	if interp != "" {
		h := l.header + l.size // the second
		order.PutUint32(b[h:], headerInterp)
		put(h+l.offset, uint64(len(b)))
		put(h+l.length, uint64(len(interp)+1))
		b = append(append(b, interp...), 0)
	}
	return b
}

func TestRead(t *testing.T) {
	little, big := binary.LittleEndian, binary.BigEndian
	long := "#!/" + strings.Repeat("x", 300)
	for _, c := range []struct {
		name string
		data string
		want Program
	}{
		{"empty", "", Program{Kind: Empty}},
		{"text", "echo hello\n", Program{Kind: Text}},
		{"text in UTF-8", "echo grüße\n", Program{Kind: Text}},
		{"script", "#!/bin/sh\n", Program{Kind: Script, Interpreter: "/bin/sh"}},
		{"script without a newline", "#!/bin/sh", Program{Kind: Script, Interpreter: "/bin/sh"}},
		{"script with blanks and an argument", "#! \t/usr/bin/env  sh -x\n", Program{Kind: Script, Interpreter: "/usr/bin/env"}},
		{"script with a carriage return", "#!/bin/sh\r\n", Program{Kind: Script, Interpreter: "/bin/sh\r", CR: true}},
		{"carriage return after an argument", "#!/usr/bin/env sh\r\n", Program{Kind: Script, Interpreter: "/usr/bin/env"}},
		{"script that names nothing", "#!\n", Program{Kind: Script}},
		{"script with a line that is too long", long, Program{Kind: Script, Interpreter: long[2:256], Cut: true}},
		{"byte order mark", "\xef\xbb\xbf#!/bin/sh\n", Program{Kind: Text, BOM: true}},
		{"Windows", "MZ\x90\x00", Program{Kind: Windows}},
		{"macOS", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01", Program{Kind: MacOS}},
		{"macOS for two machines", "\xca\xfe\xba\xbe\x00\x00\x00\x02", Program{Kind: MacOS}},
		{"Java", "\xca\xfe\xba\xbe\x00\x00\x00\x41", Program{Kind: Java}},
		{"gzip", "\x1f\x8b\x08", Program{Kind: Archive}},
		{"bytes", "\x01\x02\x03", Program{Kind: Unknown}},
		{"amd64", string(elfFile(62, little, true, 3, "/lib64/ld-linux-x86-64.so.2")), Program{Kind: ELF, Machine: "amd64", Interpreter: "/lib64/ld-linux-x86-64.so.2"}},
		{"static arm64", string(elfFile(183, little, true, 2, "")), Program{Kind: ELF, Machine: "arm64"}},
		{"arm", string(elfFile(40, little, false, 2, "/lib/ld-musl-armhf.so.1")), Program{Kind: ELF, Machine: "arm", Interpreter: "/lib/ld-musl-armhf.so.1"}},
		{"s390x", string(elfFile(22, big, true, 2, "/lib/ld64.so.1")), Program{Kind: ELF, Machine: "s390x", Interpreter: "/lib/ld64.so.1"}},
		{"mips", string(elfFile(8, big, false, 2, "")), Program{Kind: ELF, Machine: "mips"}},
		{"ppc64le", string(elfFile(21, little, true, 2, "")), Program{Kind: ELF, Machine: "ppc64le"}},
		{"unknown machine", string(elfFile(4242, little, true, 2, "")), Program{Kind: ELF, Machine: "machine 4242"}},
		{"object file", string(elfFile(62, little, true, 1, "")), Program{Kind: ELF, Machine: "amd64", Broken: "it is an object file, not yet linked"}},
		{"core dump", string(elfFile(62, little, true, 4, "")), Program{Kind: ELF, Machine: "amd64", Broken: "it is a core dump"}},
		{"only a magic", "\x7fELF", Program{Kind: ELF, Broken: "it ends within its header"}},
		{"cut in the header", string(elfFile(62, little, true, 2, "")[:60]), Program{Kind: ELF, Machine: "amd64", Broken: "it ends within its header"}},
		{"cut in the program headers", string(elfFile(62, little, true, 2, "")[:100]), Program{Kind: ELF, Machine: "amd64", Broken: "it ends before its program headers"}},
		{"cut in the loader's name", string(elfFile(62, little, true, 2, "/lib/ld")[:180]), Program{Kind: ELF, Machine: "amd64", Broken: "it ends before the name of its loader"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Read(strings.NewReader(c.data))
			if err != nil || got != c.want {
				t.Errorf("Read = %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

// The program that runs this is one that the kernel takes.
func TestReadSelf(t *testing.T) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Read(f)
	if err != nil || p.Kind != ELF || p.Machine != runtime.GOARCH || p.Broken != "" {
		t.Errorf("Read = %+v, %v; want an ELF program for %s", p, err, runtime.GOARCH)
	}
}

// FuzzRead compares with debug/elf where both find a loader.
func FuzzRead(f *testing.F) {
	f.Add([]byte("#!/bin/sh\r\n"))
	f.Add(elfFile(62, binary.LittleEndian, true, 3, "/lib64/ld-linux-x86-64.so.2"))
	f.Add(elfFile(40, binary.LittleEndian, false, 2, "/lib/ld-musl-armhf.so.1"))
	f.Add(elfFile(22, binary.BigEndian, true, 2, "/lib/ld64.so.1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Read(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		if p.Kind == 0 {
			t.Fatal("no kind")
		}
		if p.Kind != ELF || p.Interpreter == "" {
			return
		}
		e, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			return // it asks for more than the kernel does: sections
		}
		for _, h := range e.Progs {
			if h.Type != elf.PT_INTERP {
				continue
			}
			name := make([]byte, h.Filesz)
			if _, err := h.ReadAt(name, 0); err == nil {
				if name, _, _ := bytes.Cut(name, []byte{0}); string(name) != p.Interpreter {
					t.Errorf("interpreter %q; debug/elf finds %q", p.Interpreter, name)
				}
			}
			return
		}
	})
}
