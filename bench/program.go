// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"runtime"
)

// The containers' programs, as machine code for amd64 and for arm64. What a
// container costs is then not hidden behind what is run in it.
var (
	// mov $60,%eax; xor %edi,%edi; syscall — mov x8,#93; mov x0,#0; svc #0
	exits = [2]string{"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05", "\xa8\x0b\x80\xd2\x00\x00\x80\xd2\x01\x00\x00\xd4"}
	// pause, again and again — ppoll(0, 0, 0, 0), again and again
	sleeps = [2]string{
		"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7",
		"\x28\x09\x80\xd2\x00\x00\x80\xd2\x01\x00\x80\xd2\x02\x00\x80\xd2\x03\x00\x80\xd2\x01\x00\x00\xd4\xfa\xff\xff\x17",
	}
)

// program is a static program that is nothing but a few instructions.
func program(codes [2]string) []byte {
	machine, code := uint16(62), codes[0]
	if runtime.GOARCH == "arm64" {
		machine, code = 183, codes[1]
	}
	const base, header = 0x400000, 64 + 56
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 15: 0}
	le := binary.LittleEndian
	for _, v := range [...]uint16{2, machine, 1, 0} { // executable, machine, version
		b = le.AppendUint16(b, v)
	}
	for _, v := range [...]uint64{base + header, 64, 0} { // entry, program headers, sections
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	for _, v := range [...]uint16{64, 56, 1, 0, 0, 0} { // sizes and numbers of headers
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 5) // load, readable and executable
	size := uint64(header + len(code))
	for _, v := range [...]uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}
