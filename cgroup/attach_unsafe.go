// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The first members of union bpf_attr (linux/bpf.h): the kernel takes the rest
// as zero.
type (
	loadAttr struct {
		progType, insnCount uint32
		insns, license      uint64
		logLevel, logSize   uint32
		logBuf              uint64
	}
	attachAttr struct {
		targetFD, progFD, attachType, flags uint32
	}
)

// loadProgram has the kernel check and keep the program. If it refuses, it is
// asked again for its reasons.
func loadProgram(p Program) (fd int, err error) {
	code := p.Bytes()
	license := []byte("Apache-2.0\x00")
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&code[0])
	pin.Pin(&license[0])
	attr := loadAttr{
		progType:  unix.BPF_PROG_TYPE_CGROUP_DEVICE,
		insnCount: uint32(len(p)),
		insns:     uint64(uintptr(unsafe.Pointer(&code[0]))),
		license:   uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	fd, errno := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if errno == 0 {
		return fd, nil
	}
	if errno == unix.EPERM {
		return -1, fmt.Errorf("load device filter: %w", errno)
	}
	log := make([]byte, 1<<16)
	pin.Pin(&log[0])
	attr.logLevel, attr.logSize, attr.logBuf = 1, uint32(len(log)), uint64(uintptr(unsafe.Pointer(&log[0])))
	if fd, again := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); again == 0 {
		return fd, nil
	}
	text, _, _ := strings.Cut(string(log), "\x00")
	return -1, fmt.Errorf("load device filter: %w: %s", errno, strings.TrimSpace(text))
}

// attachProgram adds the program to those of the cgroup and of the ones above:
// each of them has to agree.
func attachProgram(dir, prog int) error {
	attr := attachAttr{uint32(dir), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	if _, errno := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); errno != 0 {
		return errno
	}
	return nil
}

// bpf tries again while a signal interrupts the verifier.
func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, unix.Errno) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		if errno != unix.EAGAIN && errno != unix.EINTR {
			return int(n), errno
		}
	}
}
