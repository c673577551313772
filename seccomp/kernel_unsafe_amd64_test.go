// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The tests below run under filters that the real kernel enforces. The test
// binary starts itself again; the copy installs the filter and executes a tiny
// program, a hundred bytes of ELF, which makes one system call and exits with
// its errno. So nothing of Go's runtime stands between the filter and the call.
const childEnv = "VITRO_SECCOMP_CHILD"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(childEnv); mode {
	case "":
		os.Exit(m.Run())
	case "notify":
		childNotify()
	default:
		childExec(mode)
	}
}

// childExec installs the filter of the profile on standard input and becomes
// the program at path.
func childExec(path string) {
	runtime.LockOSThread()
	install(readFilter(), 0)
	err := unix.Exec(path, []string{path}, nil)
	if errors.Is(err, unix.ENOEXEC) {
		os.Exit(98)
	}
	fatal("exec", err)
}

func fatal(what string, err error) {
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(99)
}

func readFilter() *Filter {
	var p specs.LinuxSeccomp
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		fatal("decode", err)
	}
	f, err := Compile(&p, Native())
	if err != nil {
		fatal("compile", err)
	}
	return f
}

// install does what a container's child does, from the program's bytes.
func install(f *Filter, extra uint) int {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fatal("no_new_privs", err)
	}
	code := f.Bytes()
	prog := unix.SockFprog{Len: uint16(len(code) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(f.Flags|extra), uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(code)
	if errno != 0 {
		fatal("seccomp", errno)
	}
	return int(fd)
}

// tiny writes the program that makes one call.
func tiny(t *testing.T, arch Arch, nr int, a0, a1 uint32) string {
	t.Helper()
	le := binary.LittleEndian
	var code []byte
	mov := func(op byte, v uint32) { code = le.AppendUint32(append(code, op), v) }
	if arch == X86 {
		mov(0xb8, uint32(nr)) // eax
		mov(0xbb, a0)         // ebx
		mov(0xb9, a1)         // ecx
		// int 0x80; mov ebx, eax; neg ebx; mov eax, exit; int 0x80
		code = append(code, 0xcd, 0x80, 0x89, 0xc3, 0xf7, 0xdb, 0xb8, 1, 0, 0, 0, 0xcd, 0x80)
	} else {
		mov(0xb8, uint32(nr)) // eax
		mov(0xbf, a0)         // edi
		mov(0xbe, a1)         // esi
		// syscall; mov edi, eax; neg edi; mov eax, exit_group; syscall
		code = append(code, 0x0f, 0x05, 0x89, 0xc7, 0xf7, 0xdf, 0xb8, 231, 0, 0, 0, 0x0f, 0x05)
	}
	const base = 0x400000
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, le, v); err != nil {
			t.Fatal(err)
		}
	}
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', 0, byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	if arch == X86 {
		ident[elf.EI_CLASS] = byte(elf.ELFCLASS32)
		put(elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_386), Version: 1,
			Entry: base + 84, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 1})
		put(elf.Prog32{Type: uint32(elf.PT_LOAD), Vaddr: base, Filesz: 84 + uint32(len(code)),
			Memsz: 84 + uint32(len(code)), Flags: uint32(elf.PF_R | elf.PF_X), Align: 4096})
	} else {
		ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
		put(elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
			Entry: base + 120, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1})
		put(elf.Prog64{Type: uint32(elf.PT_LOAD), Vaddr: base, Filesz: 120 + uint64(len(code)),
			Memsz: 120 + uint64(len(code)), Flags: uint32(elf.PF_R | elf.PF_X), Align: 4096})
	}
	b.Write(code)
	path := filepath.Join(t.TempDir(), "tiny")
	if err := os.WriteFile(path, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// runUnder runs a tiny program under a profile and says how it ended: "0" or an
// errno's name, or a signal's.
//
// Between the filter and the exec another thread of the child's Go runtime may
// make a call that the filter denies, and end it all by SIGTRAP: once more then.
func runUnder(t *testing.T, p *specs.LinuxSeccomp, path string) (got string) {
	t.Helper()
	for range 20 {
		if got = runOnce(t, p, path); got != "SIGTRAP" {
			break
		}
	}
	return got
}

func runOnce(t *testing.T, p *specs.LinuxSeccomp, path string) string {
	t.Helper()
	in, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		return unix.SignalName(status.Signal())
	case status.ExitStatus() == 98:
		t.Skip("needs a kernel that runs i386 programs (CONFIG_IA32_EMULATION)")
	case status.ExitStatus() == 99:
		t.Fatalf("child: %s", out)
	case status.ExitStatus() != 0:
		return unix.ErrnoName(unix.Errno(status.ExitStatus()))
	}
	return "0"
}

// kernelRules gives each of some harmless calls its own end.
func kernelRules() []specs.LinuxSyscall {
	errno := func(e unix.Errno) *uint { u := uint(e); return &u }
	eq := func(v uint64) []specs.LinuxSeccompArg {
		return []specs.LinuxSeccompArg{{Index: 0, Value: v, Op: specs.OpEqualTo}}
	}
	return []specs.LinuxSyscall{
		{Names: []string{"sync"}, Action: specs.ActErrno, ErrnoRet: errno(unix.EXDEV)},
		{Names: []string{"getppid"}, Action: specs.ActKillProcess},
		{Names: []string{"getpgrp"}, Action: specs.ActKillThread},
		{Names: []string{"sched_yield"}, Action: specs.ActTrap},
		{Names: []string{"munlockall"}, Action: specs.ActTrace},
		{Names: []string{"close"}, Action: specs.ActLog},
		{Names: []string{"dup"}, Action: specs.ActErrno, ErrnoRet: errno(unix.EMLINK), Args: eq(7)},
		{Names: []string{"dup"}, Action: specs.ActErrno, ErrnoRet: errno(unix.ENFILE),
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: 100, Op: specs.OpGreaterThan}}},
		{Names: []string{"socket"}, Action: specs.ActErrno, ErrnoRet: errno(unix.EAFNOSUPPORT)},
	}
}

func TestKernel(t *testing.T) {
	both := []specs.Arch{specs.ArchX86_64, specs.ArchX86}
	tests := []struct {
		name  string
		archs []specs.Arch
		arch  Arch
		call  string
		a0    uint32
		want  string
	}{
		{"Allow", both, X8664, "getuid", 0, "any"},
		{"Errno", both, X8664, "sync", 0, "EXDEV"},
		{"KillProcess", both, X8664, "getppid", 0, "SIGSYS"},
		{"KillThread", both, X8664, "getpgrp", 0, "SIGSYS"},
		{"Trap", both, X8664, "sched_yield", 0, "SIGSYS"},
		{"TraceWithoutTracer", both, X8664, "munlockall", 0, "ENOSYS"},
		{"LogRuns", both, X8664, "close", 1000, "EBADF"},
		{"ArgEqual", both, X8664, "dup", 7, "EMLINK"},
		{"ArgGreater", both, X8664, "dup", 101, "ENFILE"},
		{"ArgNeither", both, X8664, "dup", 99, "EBADF"},
		{"X32NotListed", both, X32, "getuid", 0, "SIGSYS"},
		{"X32Listed", []specs.Arch{specs.ArchX32}, X32, "sync", 0, "EXDEV"},
		{"I386Errno", both, X86, "sync", 0, "EXDEV"},
		{"I386Arg", both, X86, "dup", 7, "EMLINK"},
		{"I386Runs", both, X86, "close", 1000, "EBADF"},
		{"I386Socket", both, X86, "socket", 2, "EAFNOSUPPORT"},
		{"I386SocketThroughSocketcall", both, X86, "socketcall", 1, "EAFNOSUPPORT"},
		{"I386OtherSocketcall", both, X86, "socketcall", 99, "EINVAL"},
		{"I386NotListed", nil, X86, "getuid", 0, "SIGSYS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nr, ok := Syscall(tt.arch, tt.call)
			if !ok {
				t.Fatalf("no %s on %v", tt.call, tt.arch)
			}
			p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: tt.archs, Syscalls: kernelRules()}
			got := runUnder(t, p, tiny(t, tt.arch, nr, tt.a0, 0))
			if tt.want == "any" {
				if strings.HasPrefix(got, "SIG") {
					t.Errorf("ended by %s", got)
				}
				return
			}
			if got != tt.want {
				t.Errorf("ended with %s; want %s", got, tt.want)
			}
		})
	}
}

// TestKernelUnheardOf has a number above every one that the profile names: the
// kernel would say ENOSYS, and a strict profile must not make that EPERM.
func TestKernelUnheardOf(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"execve", "exit_group", "faccessat2"}, Action: specs.ActAllow}}}
	for _, tt := range []struct {
		nr   int
		want string
	}{{unix.SYS_GETPPID, "EPERM"}, {unix.SYS_FACCESSAT2 - 1, "EPERM"}, {unix.SYS_FACCESSAT2 + 1, "ENOSYS"}} {
		if got := runUnder(t, p, tiny(t, X8664, tt.nr, 0, 0)); got != tt.want {
			t.Errorf("call %d ended with %s; want %s", tt.nr, got, tt.want)
		}
	}
}

// childNotify installs a filter with a listener on one thread, makes a call
// there, and answers it from another thread, which has no filter.
func childNotify() {
	runtime.LockOSThread()
	fd := install(readFilter(), 0)
	answered := make(chan error)
	go func() { answered <- answer1(fd, -int32(unix.EXDEV)) }()
	_, _, errno := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if err := <-answered; err != nil {
		fatal("answer", err)
	}
	fmt.Print(unix.ErrnoName(errno))
	os.Exit(0)
}

// answer1 takes one call from a listener and gives it a result: struct
// seccomp_notif and seccomp_notif_resp of linux/seccomp.h.
func answer1(fd int, result int32) error {
	runtime.LockOSThread()
	var call struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		rip        uint64
		args       [6]uint64
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); errno != 0 {
		return errno
	}
	resp := struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}{id: call.id, error: result}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&resp))); errno != 0 {
		return errno
	}
	return nil
}

func TestKernelNotify(t *testing.T) {
	in, err := json.Marshal(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/run/agent",
		Flags:    []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"getppid"}, Action: specs.ActNotify}}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=notify")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "EXDEV" {
		t.Errorf("child: %v, %q; want the agent's EXDEV", err, out)
	}
}
