// SPDX-License-Identifier: Apache-2.0

package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program of Go's touches some 300 pages before and in main, one after the
// other, and each is an exception: half a microsecond on bare metal, 10 to 30
// in a virtual machine without nested paging. These are what most of a short
// start consists of. So the pages that are going to be used are had in few calls.

// entry is where the program starts if it was linked with -E main.entry, as
// make build does; the Go runtime's own start follows. It has all of the
// program's text and data mapped, and one processor set for the runtime (a
// second one is a second thread, 20 pages, that does nothing here).
func entry()

// setting is what entry adds to the environment. It is behind all else, so the
// user's own setting is before it.
var setting = [...]byte{'G', 'O', 'M', 'A', 'X', 'P', 'R', 'O', 'C', 'S', '=', '0', '1', 0}

// widen readies the memory that a start uses: the stack in one step, since at
// each of many small ones all frames are looked up and copied, and the next
// pages of the heap, which lie behind what is allocated last.
func widen() {
	deepen()
	last = new([40 << 10]byte)
	_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, uintptr(unsafe.Pointer(last))&^uintptr(unix.Getpagesize()-1), heapUsed, unix.MADV_POPULATE_WRITE)
}

// last is too large to be put into a gap of the heap; it is not touched.
var last *[40 << 10]byte

// heapUsed is what a start takes of the heap from main on.
const heapUsed = 384 << 10

func deepen()

// unset takes the setting of entry back: it is not for programs that we start.
func unset() {
	if v, _ := syscall.Getenv("GOMAXPROCS"); v == "01" {
		_ = syscall.Unsetenv("GOMAXPROCS")
	}
}
