// SPDX-License-Identifier: Apache-2.0

// Package entry has a program of Go's start fast, where it was linked for that:
//
//	GOEXPERIMENT=norandomizedheapbase64 go build -ldflags '-E vitro/internal/entry.entry'
//
// Otherwise Unset finds nothing to do, and Widen helps a little. Such a program touches 150 to
// 700 pages before and in main, one after the other, and each is an
// exception: half a microsecond on bare metal, 12 to 30 in a virtual machine
// with shadowed page tables, where these are most of what a short start
// consists of. So the pages that are going to be used are had in few calls.
//
// Not for a program that stays: what was populated is its own until it gives it back.
package entry

import (
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// entry is where the program starts if it was linked with -E main.entry, as
// make build does; the Go runtime's own start follows. It has all of the
// program's text and data mapped (but for what has no pointers and is zero: the standard
// library's random generator keeps 32 MB there), and has the runtime use one processor (a second one is a
// second thread, 20 pages; package processors has all of them) and send no signals to itself.
//
//lint:ignore U1000 the linker is told of it
func entry()

// What entry adds to the environment. It is behind all else, so the user's own
// settings are before it.
var (
	processors = [...]byte{'G', 'O', 'M', 'A', 'X', 'P', 'R', 'O', 'C', 'S', '=', '0', '1', 0}
	preemption = [...]byte{'G', 'O', 'D', 'E', 'B', 'U', 'G', '=', 'a', 's', 'y', 'n', 'c', 'p', 'r', 'e', 'e', 'm', 'p', 't', 'o', 'f', 'f', '=', '1', 0}
)

// Widen readies the memory that a start uses. The stack grows in one step:
// at each of many small ones all frames are looked up and copied. Where an
// exception is dear the heap, of which the runtime's start has used a part
// already, becomes one large page: that costs as much as eight of them; and so
// does what follows, if it is ever used: the runtime maps 4 MB at once. make
// build has the heap begin at a round address, so that all of it is in that page.
func Widen() {
	deepen()
	ahead = new([40 << 10]byte)
	before := time.Now()
	ahead[len(ahead)/2] = 1
	if time.Since(before) > dear {
		page := uintptr(unsafe.Pointer(ahead)) &^ (largePage - 1)
		_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, page, largePage, unix.MADV_COLLAPSE)
		_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, page+largePage, largePage, unix.MADV_HUGEPAGE)
	}
}

const (
	dear      = 4 * time.Microsecond
	largePage = 2 << 20
)

// ahead is too large to be put into a gap of the heap: nothing of it has been touched.
var ahead *[40 << 10]byte

func deepen()

// Unset takes the settings of entry back: they are not for programs that we start.
func Unset() {
	for _, e := range [...][]byte{processors[:], preemption[:]} {
		name, value, _ := strings.Cut(string(e[:len(e)-1]), "=")
		if v, _ := syscall.Getenv(name); v == value {
			_ = syscall.Unsetenv(name)
		}
	}
}
