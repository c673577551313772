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
		kernVersion, flags  uint32
		name                [16]byte
	}
	attachAttr struct {
		targetFD, progFD, attachType, flags uint32
		replaceFD                           uint32
	}
	queryAttr struct {
		targetFD, attachType, queryFlags, attachFlags uint32
		ids                                           uint64
		count                                         uint32
	}
	infoAttr struct {
		fd, size uint32
		info     uint64
	}
	// progInfo is the start of struct bpf_prog_info.
	progInfo struct {
		_    [64]byte
		name [16]byte
	}
)

// filterName is how a filter of ours is known from those of systemd or a plugin.
var filterName = [16]byte{'v', 'i', 't', 'r', 'o', '_', 'd', 'e', 'v', 'i', 'c', 'e', 's'}

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
		name:      filterName,
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
	attr := attachAttr{uint32(dir), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI, 0}
	if _, errno := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)-4); errno != 0 {
		return errno
	}
	return nil
}

// replaceProgram puts the program in the place of another, in one step: at no
// time is there both, or none. Since Linux 5.6.
func replaceProgram(dir, old, prog int) error {
	attr := attachAttr{uint32(dir), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI | unix.BPF_F_REPLACE, uint32(old)}
	if _, errno := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); errno != 0 {
		return errno
	}
	return nil
}

// detachProgram takes a program off the cgroup.
func detachProgram(dir, prog int) error {
	attr := attachAttr{uint32(dir), uint32(prog), unix.BPF_CGROUP_DEVICE, 0, 0}
	if _, errno := bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)-4); errno != 0 {
		return errno
	}
	return nil
}

// attachedProgram opens the filter of ours that is attached to the cgroup itself;
// -1 if there is none.
func attachedProgram(dir int) (fd int, err error) {
	var ids [64]uint32 // as many as the kernel lets be attached (BPF_CGROUP_MAX_PROGS)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&ids)
	q := queryAttr{targetFD: uint32(dir), attachType: unix.BPF_CGROUP_DEVICE, ids: uint64(uintptr(unsafe.Pointer(&ids))), count: uint32(len(ids))}
	if _, errno := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&q), unsafe.Sizeof(q)); errno != 0 {
		return -1, errno
	}
	for _, id := range ids[:q.count] {
		fd, errno := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&id), unsafe.Sizeof(id))
		if errno == unix.ENOENT {
			continue // it has gone meanwhile
		}
		if errno != 0 {
			return -1, errno
		}
		info := new(progInfo)
		pin.Pin(info)
		a := infoAttr{fd: uint32(fd), size: uint32(unsafe.Sizeof(*info)), info: uint64(uintptr(unsafe.Pointer(info)))}
		_, errno = bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&a), unsafe.Sizeof(a))
		if errno == 0 && info.name == filterName {
			return fd, nil
		}
		unix.Close(fd)
		if errno != 0 {
			return -1, errno
		}
	}
	return -1, nil
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
