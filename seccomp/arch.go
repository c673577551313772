// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go run gen.go

// Arch is a system call table that a filter can meet.
type Arch uint8

// The tables. X8664 and AArch64 are kernels; the others are the older ABIs
// that those kernels also serve.
const (
	X8664 Arch = iota
	X86
	X32
	AArch64
	ARM
	numArch
)

// x32Bit marks a system call of the x32 ABI, which shares x86-64's audit
// architecture (asm/unistd.h, __X32_SYSCALL_BIT).
const x32Bit = 0x40000000

// armPrivate is where ARM keeps the calls that are no part of the common table
// (asm/unistd.h, __ARM_NR_BASE).
const armPrivate = 0x0f0000

// archInfo is what the compiler must know of a table.
type archInfo struct {
	scmp  specs.Arch
	audit uint32 // AUDIT_ARCH_* in seccomp_data.arch
	host  Arch   // the kernel that serves it
	wide  bool   // arguments have 64 bits
	base  uint32 // is added to each number
}

var archs = [numArch]archInfo{
	X8664:   {specs.ArchX86_64, unix.AUDIT_ARCH_X86_64, X8664, true, 0},
	X86:     {specs.ArchX86, unix.AUDIT_ARCH_I386, X8664, false, 0},
	X32:     {specs.ArchX32, unix.AUDIT_ARCH_X86_64, X8664, false, x32Bit},
	AArch64: {specs.ArchAARCH64, unix.AUDIT_ARCH_AARCH64, AArch64, true, 0},
	ARM:     {specs.ArchARM, unix.AUDIT_ARCH_ARM, AArch64, false, 0},
}

// foreign lists the architectures of the runtime specification that no kernel
// known to this package serves. A profile may list them, for it is written for
// many machines; they are passed over, because no process of theirs can run.
var foreign = [...]specs.Arch{
	specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL,
	specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64,
	specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC,
	specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K,
	specs.ArchSH, specs.ArchSHEB,
}

// Native returns the architecture of the kernel that this program was built
// for: X8664 or AArch64. Others are not supported and also yield X8664, whose
// filters such a kernel answers by killing: closed, not open.
func Native() Arch {
	if runtime.GOARCH == "arm64" {
		return AArch64
	}
	return X8664
}

// String returns the name that the runtime specification has for a.
func (a Arch) String() string {
	if a >= numArch {
		return "SCMP_ARCH_UNKNOWN"
	}
	return string(archs[a].scmp)
}

// AuditArch returns the AUDIT_ARCH_* value that the kernel hands to a filter
// for calls of a. X8664 and X32 share one.
func (a Arch) AuditArch() uint32 { return archs[a].audit }

// A row is one line of the table that gen.go makes.
type row struct {
	name string
	mux  uint8          // its code behind i386's socketcall, or 100 + that behind ipc
	nr   [numArch]int32 // by Arch; -1 where the architecture lacks it; x32 without x32Bit
}

// lookup finds the row of a name.
func lookup(name string) (i int, ok bool) {
	lo, hi := 0, len(syscalls)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if syscalls[mid].name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(syscalls) && syscalls[lo].name == name
}

// Syscall returns the number of a system call as seccomp_data.nr has it (with
// x32's bit set for X32), and whether the architecture has that call.
func Syscall(a Arch, name string) (nr int, ok bool) {
	i, ok := lookup(name)
	if !ok || a >= numArch || syscalls[i].nr[a] < 0 {
		return 0, false
	}
	return int(uint32(syscalls[i].nr[a]) | archs[a].base), true
}

// Name is the reverse of Syscall. It walks the whole table: it is for people's
// eyes, not for a hot path.
func Name(a Arch, nr int) (name string, ok bool) {
	if a >= numArch || nr < 0 {
		return "", false
	}
	for i := range syscalls {
		call := &syscalls[i]
		if call.nr[a] >= 0 && int(uint32(call.nr[a])|archs[a].base) == nr {
			return call.name, true
		}
	}
	return "", false
}
