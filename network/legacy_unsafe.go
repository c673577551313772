// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/netfilter_ipv4/ip_tables.h and its twin for IPv6, which have the
// same numbers.
const (
	iptSoGetInfo    = 64
	iptSoGetEntries = 65
	hookForward     = 2  // NF_INET_FORWARD
	verdictDrop     = -1 // -NF_DROP-1, as a standard target has it
)

// legacyForwardDrops reports whether the policy of the chain FORWARD is to drop:
// the standard target at the end of the chain, which the kernel calls its underflow.
func legacyForwardDrops(ipv6 bool) (bool, error) {
	domain, level := unix.AF_INET, unix.IPPROTO_IP
	if ipv6 {
		domain, level = unix.AF_INET6, unix.IPPROTO_IPV6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)

	// struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5], num_entries, size
	const nameLen = 32
	info := make([]byte, nameLen+13*4)
	copy(info, "filter")
	if err := getsockopt(fd, level, iptSoGetInfo, info); err != nil {
		return false, fmt.Errorf("read iptables: %w", err)
	}
	word := func(b []byte, i int) int { return int(binary.NativeEndian.Uint32(b[i:])) }
	underflow, size := word(info, nameLen+4+5*4+hookForward*4), word(info, nameLen+12*4)

	// struct ipt_get_entries: name, size, then, aligned to 8 bytes, the entries
	const head = nameLen + 8
	entries := make([]byte, head+size)
	copy(entries, "filter")
	binary.NativeEndian.PutUint32(entries[nameLen:], uint32(size))
	if err := getsockopt(fd, level, iptSoGetEntries, entries); err != nil {
		return false, fmt.Errorf("read iptables: %w", err)
	}
	return entryDrops(entries[head:], underflow, ipv6)
}

// entryDrops reports whether the entry at an offset has a standard target with
// the verdict to drop.
func entryDrops(entries []byte, at int, ipv6 bool) (bool, error) {
	// struct ipt_entry begins with struct ipt_ip (84 bytes), or ip6t_ip6 (136), and nfcache;
	// then comes the target's offset. A target is a header of 32 bytes and the verdict.
	target := 84 + 4
	if ipv6 {
		target = 136 + 4
	}
	if at < 0 || at+target+2 > len(entries) {
		return false, errors.New("read iptables: the table is too short")
	}
	verdict := at + int(binary.NativeEndian.Uint16(entries[at+target:])) + 32
	if verdict+4 > len(entries) {
		return false, errors.New("read iptables: the table is too short")
	}
	return int32(binary.NativeEndian.Uint32(entries[verdict:])) == verdictDrop, nil
}

// getsockopt has the kernel read what it is asked for in b, and answer there.
func getsockopt(fd, level, option int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
