// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// imageName is the sealed program's name: its argv[0], its comm, and that of
// the file that it is in (/proc/PID/exe: "/memfd:vitro (deleted)").
const imageName = "vitro"

// machines are the numbers of the architectures in ELF files (elf(5), e_machine).
var machines = [...]struct {
	arch string
	elf  uint16
}{{"amd64", 62}, {"arm64", 183}}

// front is the first page of the image's file: the ELF header, the three
// program headers, head, and the interpreter (elf(5)).
func front(h *head, dataSize int) ([]byte, error) {
	text := interpreter()
	start := (headOff + headSize + 15) &^ 15
	size := start + len(text)
	if size > dataOff {
		return nil, fmt.Errorf("make program: the interpreter's %d bytes do not fit", len(text))
	}
	le := binary.NativeEndian
	b := make([]byte, dataOff)
	copy(b, "\x7fELF\x02\x01\x01")                      // 64 bits, little endian
	le.PutUint16(b[16:], 2)                             // ET_EXEC
	le.PutUint32(b[20:], 1)                             // version
	le.PutUint64(b[24:], imageAt+uint64(start))         // entry
	le.PutUint64(b[32:], 64)                            // program headers: offset,
	le.PutUint16(b[52:], 64)                            // (size of this header)
	le.PutUint16(b[54:], 56)                            // size,
	le.PutUint16(b[56:], 3)                             // number
	const load, stack, x, w, r = 1, 0x6474e551, 1, 2, 4 // PT_LOAD, PT_GNU_STACK, PF_*
	segments := [3]struct{ kind, flags, offset, address, size int }{
		{load, r | x, 0, imageAt, size},
		{load, r, dataOff, dataAt, dataSize},
		{stack, r | w, 0, 0, 0},
	}
	for i, s := range segments {
		p := b[64+56*i:]
		le.PutUint32(p, uint32(s.kind))
		le.PutUint32(p[4:], uint32(s.flags))
		for k, v := range [...]int{s.offset, s.address, s.address, s.size, s.size, segment} {
			le.PutUint64(p[8+8*k:], uint64(v))
		}
	}
	for _, m := range machines {
		if m.arch == runtime.GOARCH {
			le.PutUint16(b[18:], m.elf)
		}
	}
	putHead(b[headOff:], h)
	copy(b[start:], text)
	return b, nil
}

// pieces are the bytes of the image's file, one after the other. The
// instructions that begin the program are known last.
func (l *linker) pieces(h head, m *machine, first []op) ([][]byte, error) {
	l.align()
	ops := bytesOf(first)
	size := len(l.data) + len(ops) + len(bytesOf(l.ops))
	h.ops, h.count = l.end(), uint64(len(first)+len(l.ops))
	h.page, h.size, h.file = (dataAt+uint64(size)+2*segment-1)&^(segment-1), uint64(len(m.mem)), uint64(m.fd)
	h.regs, h.times, h.errs = h.page+uint64(m.regsAt()), h.page+uint64(m.timesAt()), h.page+uint64(m.errsAt())
	f, err := front(&h, size)
	if err != nil {
		return nil, err
	}
	return [][]byte{f, l.data, ops, bytesOf(l.ops)}, nil
}

// A store is a place for the image's file.
type store struct {
	name string
	make func(folder string, pieces [][]byte) (fd int, err error)
}

// stores are tried in turn, until the image can be executed from one.
var stores = [...]store{{"file in memory", inMemory}, {"file in a folder", inFolder}}

var errNoFolder = errors.New("no folder for it is named")

// inMemory makes a file of the image in memory, which nobody can change any more.
func inMemory(_ string, pieces [][]byte) (int, error) {
	fd, err := memfd(unix.MFD_ALLOW_SEALING, unix.MFD_EXEC)
	if err != nil {
		return -1, err
	}
	if err = writeAll(fd, pieces); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// inFolder makes a file of the image in a folder, without a name: for systems
// where memory is not to be executed (vm.memfd_noexec=2). It is no seal that
// keeps it as it is: while it runs the kernel lets nobody write to it, and it
// is made for one start.
func inFolder(folder string, pieces [][]byte) (int, error) {
	if folder == "" {
		return -1, errNoFolder
	}
	w, err := unnamed(folder, 0o555)
	if err != nil {
		return -1, err
	}
	defer unix.Close(w)
	if err := writeAll(w, pieces); err != nil {
		return -1, err
	}
	// what is open for writing is not executed (ETXTBSY)
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", w), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// unnamed makes a file without a name in a folder.
func unnamed(folder string, mode uint32) (int, error) {
	return unix.Open(folder, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, mode)
}

// memfd makes a file in memory. The second flag says whether it may ever be
// executed, to kernels that want to know (6.3).
func memfd(flags, exec int) (int, error) {
	fd, err := unix.MemfdCreate(imageName, flags|exec|unix.MFD_CLOEXEC)
	if err == unix.EINVAL {
		return unix.MemfdCreate(imageName, flags|unix.MFD_CLOEXEC)
	}
	return fd, err
}

// writeAll writes pieces to the beginning of an empty file.
func writeAll(fd int, pieces [][]byte) error {
	want := 0
	for _, p := range pieces {
		want += len(p)
	}
	n, err := unix.Writev(fd, pieces)
	if err == nil && n != want {
		err = unix.ENOSPC
	}
	return err
}

// notExecuted: the kernel refuses to execute the sealed program, from all stores.
type notExecuted struct{ errs []error }

func (e *notExecuted) Error() string {
	text := "execute the program that sets the child up"
	sep := ": "
	for _, err := range e.errs {
		text += sep + err.Error()
		sep = "; "
	}
	return text
}

func (e *notExecuted) Unwrap() []error { return e.errs }

// because is why that usually is so.
func (e *notExecuted) because() string {
	if memfdNoexec() == "2" {
		return "this system executes nothing from memory: the sysctl vm.memfd_noexec is 2"
	}
	return "a seccomp filter or a security module around this process forbids to execute a file in memory (memfd_create, execveat)"
}

// Hint is what to do about it.
func (e *notExecuted) Hint() string {
	if memfdNoexec() == "2" {
		return "sysctl -w vm.memfd_noexec=1, or keep the containers' folder on a file system without noexec, and with O_TMPFILE"
	}
	return "allow memfd_create and execveat there, or keep the containers' folder on a file system without noexec, and with O_TMPFILE"
}

func memfdNoexec() string {
	b, _ := os.ReadFile("/proc/sys/vm/memfd_noexec")
	return strings.TrimSpace(string(b))
}
