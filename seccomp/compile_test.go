// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite golden files")

// section reads a profile from JSON, as a config.json has it.
func section(t testing.TB, text string) *specs.LinuxSeccomp {
	t.Helper()
	p := new(specs.LinuxSeccomp)
	if err := json.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustCompile(t testing.TB, p *specs.LinuxSeccomp, arch Arch) *Filter {
	t.Helper()
	f, err := Compile(p, arch)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(f.Prog); err != nil {
		t.Fatal(err)
	}
	return f
}

// check is what the kernel demands of a program (net/core/filter.c,
// bpf_check_classic, and seccomp_check_filter): known instructions, jumps that
// end inside, a return at the end.
func check(prog []unix.SockFilter) error {
	if len(prog) == 0 || len(prog) > maxProgram {
		return fmt.Errorf("%d instructions", len(prog))
	}
	for pc, in := range prog {
		switch in.Code {
		case opRet, opAnd:
		case opLoad:
			if in.K%4 != 0 || in.K >= offArgs+8*maxArgs {
				return fmt.Errorf("%d: load of %d", pc, in.K)
			}
		case opJump:
			if in.K >= uint32(len(prog)-pc-1) {
				return fmt.Errorf("%d: jump leaves the program", pc)
			}
		case opEqual, opAbove, opFrom:
			if pc+1+int(max(in.Jt, in.Jf)) >= len(prog) {
				return fmt.Errorf("%d: branch leaves the program", pc)
			}
		default:
			return fmt.Errorf("%d: code %#x", pc, in.Code)
		}
	}
	if prog[len(prog)-1].Code != opRet {
		return errors.New("does not end with a return")
	}
	return nil
}

// dockerDefault is Docker's default profile without capabilities, with the
// architectures of one kernel.
func dockerDefault(t testing.TB, native Arch) *specs.LinuxSeccomp {
	t.Helper()
	p, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Architectures = nil
	for _, a := range archs {
		if a.host == native {
			p.Architectures = append(p.Architectures, a.scmp)
		}
	}
	return p
}

// TestOperators has every operator on both sides of each word of its value.
func TestOperators(t *testing.T) {
	const big = 5<<32 | 7
	tests := []struct {
		op         specs.LinuxSeccompOperator
		value, two uint64
		yes, no    []uint64
	}{
		{specs.OpEqualTo, big, 0, []uint64{big}, []uint64{7, 5 << 32, big + 1, big - 1, big + 1<<32}},
		{specs.OpNotEqual, big, 0, []uint64{7, 5 << 32, big + 1, big - 1}, []uint64{big}},
		{specs.OpLessThan, big, 0, []uint64{0, big - 1, 4<<32 | 9}, []uint64{big, big + 1, 6 << 32}},
		{specs.OpLessEqual, big, 0, []uint64{0, big - 1, big, 4<<32 | 9}, []uint64{big + 1, 6 << 32}},
		{specs.OpGreaterThan, big, 0, []uint64{big + 1, 6 << 32}, []uint64{big, 4<<32 | 9}},
		{specs.OpGreaterEqual, big, 0, []uint64{big, big + 1, 6 << 32}, []uint64{big - 1, 4<<32 | 9}},
		{specs.OpMaskedEqual, 1<<32 | 0xf0, 0x30, []uint64{0x30, 0x3f, 2<<32 | 0x30}, []uint64{0x70, 1<<32 | 0x30, 0}},
		// What lies outside of the mask can't be asked for.
		{specs.OpMaskedEqual, 0xf0, 0x3f, []uint64{0x30, 0x3f}, []uint64{0x40}},
		{specs.OpMaskedEqual, 0, 9, []uint64{0, 9, 1 << 40}, nil},
		// High words at the ends.
		{specs.OpGreaterThan, 3, 0, []uint64{4, 1 << 32}, []uint64{0, 3}},
		{specs.OpLessThan, 3, 0, []uint64{0, 2}, []uint64{3, 1 << 32}},
		{specs.OpLessThan, ^uint64(0), 0, []uint64{0, ^uint64(1)}, []uint64{^uint64(0)}},
		{specs.OpGreaterEqual, ^uint64(0), 0, []uint64{^uint64(0)}, []uint64{0, ^uint64(1)}},
		{specs.OpGreaterEqual, 0, 0, []uint64{0, 1, 1 << 32}, nil},
	}
	for _, tt := range tests {
		for index := range uint(maxArgs) {
			f := mustCompile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{
				Names: []string{"openat"}, Action: specs.ActErrno,
				Args: []specs.LinuxSeccompArg{{Index: index, Value: tt.value, ValueTwo: tt.two, Op: tt.op}}}}}, X8664)
			ask := func(v uint64, want uint32) {
				var args [6]uint64
				args[index] = v
				if got := f.Verdict(unix.SYS_OPENAT, X8664.AuditArch(), args); got != want {
					t.Errorf("%s %#x %#x, argument %d is %#x: %s; want %s", tt.op, tt.value, tt.two, index, v, Action(got), Action(want))
				}
			}
			for _, v := range tt.yes {
				ask(v, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
			}
			for _, v := range tt.no {
				ask(v, unix.SECCOMP_RET_ALLOW)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"DefaultAction", `{"defaultAction":"SCMP_ACT_MAYBE"}`, `compile seccomp: default action: unknown action "SCMP_ACT_MAYBE"`},
		{"NoDefault", `{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`, `default action: unknown action ""`},
		{"Action", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"allow"}]}`, `rule 0: unknown action "allow"`},
		{"Arch", `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_VAX"]}`, `unknown architecture "SCMP_ARCH_VAX"`},
		{"Flag", `{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_MAGIC"]}`, `unknown flag "SECCOMP_FILTER_FLAG_MAGIC"`},
		{"ErrnoForKill", `{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}`, `action SCMP_ACT_KILL takes no errno, got 1`},
		{"ErrnoTooHigh", `{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}`, `errno 4096 of action SCMP_ACT_ERRNO is above 4095`},
		{"NoNames", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_LOG"}]}`, `rule 0: no system call names`},
		{"EmptyName", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[""],"action":"SCMP_ACT_LOG"}]}`, `rule 0: empty system call name`},
		{"Operator", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":1,"op":"=="}]}]}`, `rule 0: argument 1: unknown operator "=="`},
		{"Index", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}`, `rule 0: argument index 6`},
		{"Contradiction", `{"defaultAction":"SCMP_ACT_KILL","syscalls":[
			{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"op":"SCMP_CMP_EQ","value":3}]},
			{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ","value":3}]}]}`,
			`system call "read": two rules with the same arguments contradict each other: log, allow`},
		{"NotifyDefault", `{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/a"}`, `default action: SCMP_ACT_NOTIFY`},
		{"NotifyWrite", `{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}`, `rule 0: SCMP_ACT_NOTIFY cannot be used for the write`},
		{"NotifyWithoutListener", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}`, `SCMP_ACT_NOTIFY needs a listenerPath`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Compile(section(t, tt.json), X8664)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want %q", f, err, tt.want)
			}
		})
	}
	if _, err := Compile(section(t, `{"defaultAction":"SCMP_ACT_ALLOW"}`), ARM); err == nil {
		t.Error("compiled for a kernel that does not exist")
	}
}

func TestNothingWanted(t *testing.T) {
	for _, p := range []*specs.LinuxSeccomp{nil, {}, {Architectures: []specs.Arch{specs.ArchX86}}} {
		if f, err := Compile(p, X8664); f != nil || err != nil {
			t.Errorf("Compile(%v) = %v, %v; want no filter", p, f, err)
		}
	}
}

func TestFlags(t *testing.T) {
	const notify = `"listenerPath":"/a","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]`
	tests := []struct {
		name, json string
		want       uint
	}{
		{"NoList", `"syscalls":[]`, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"EmptyList", `"flags":[]`, 0},
		{"Log", `"flags":["SECCOMP_FILTER_FLAG_LOG"]`, unix.SECCOMP_FILTER_FLAG_LOG},
		{"Tsync", `"flags":["SECCOMP_FILTER_FLAG_TSYNC"]`, 0},
		{"WaitWithoutNotify", `"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]`, 0},
		{"WaitNotify", `"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],` + notify,
			unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
	}
	for _, tt := range tests {
		f := mustCompile(t, section(t, `{"defaultAction":"SCMP_ACT_ALLOW",`+tt.json+`}`), X8664)
		if f.Flags != tt.want {
			t.Errorf("%s: flags %#x; want %#x", tt.name, f.Flags, tt.want)
		}
	}
}

// TestForeignArch has calls of architectures that are not listed, and lists
// with architectures of other machines.
func TestForeignArch(t *testing.T) {
	const text = `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_S390X","SCMP_ARCH_AARCH64","SCMP_ARCH_ARM","SCMP_ARCH_X86_64"]}`
	tests := []struct {
		native, caller Arch
		want           string
	}{
		{X8664, X8664, "allow"}, {X8664, X86, "kill thread"}, {X8664, X32, "kill thread"}, {X8664, AArch64, "kill thread"},
		{AArch64, AArch64, "allow"}, {AArch64, ARM, "allow"}, {AArch64, X8664, "kill thread"},
	}
	for _, tt := range tests {
		f := mustCompile(t, section(t, text), tt.native)
		nr, _ := Syscall(tt.caller, "read")
		if got := Action(f.Verdict(uint32(nr), tt.caller.AuditArch(), [6]uint64{})); got != tt.want {
			t.Errorf("kernel %v, caller %v: %s; want %s", tt.native, tt.caller, got, tt.want)
		}
	}
}

// TestLong has a profile whose program needs long jumps, and one that is too
// long for the kernel.
func TestLong(t *testing.T) {
	many := func(values int) *specs.LinuxSeccomp {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32}}
		for v := range values {
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"ioctl"}, Action: specs.ActAllow,
				Args: []specs.LinuxSeccompArg{{Index: 1, Value: uint64(v) * 0x100000007, Op: specs.OpEqualTo}}})
		}
		return p
	}
	p := many(300)
	f := mustCompile(t, p, X8664)
	for _, d := range compareModel(f, p, X8664) {
		t.Error(d)
	}
	if _, err := Compile(many(3000), X8664); !errors.Is(err, ErrTooLong) {
		t.Errorf("3000 conditions: %v; want ErrTooLong", err)
	}
	ends := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	for v := range uint(maxLeafs + 2) {
		ends.Syscalls = append(ends.Syscalls, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActTrace, ErrnoRet: &v})
	}
	if _, err := Compile(ends, X8664); !errors.Is(err, ErrTooLong) {
		t.Errorf("%d different ends: %v; want ErrTooLong", len(ends.Syscalls), err)
	}
}

func TestGolden(t *testing.T) {
	p := section(t, `{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[
		{"names":["read","write","exit_group","socket"],"action":"SCMP_ACT_ALLOW"},
		{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
		{"names":["kill"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]}]}`)
	got := mustCompile(t, p, X8664).String()
	const golden = "testdata/small.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("disassembly differs from %s (-update rewrites it):\n%s", golden, got)
	}
}

// TestKnown compiles a section of every word that the package says it knows.
func TestKnown(t *testing.T) {
	v := Known()
	if len(v.Actions) != 9 || len(v.Operators) != 7 || len(v.Archs) != 23 || len(v.Flags) != 4 {
		t.Errorf("unexpected vocabulary: %+v", v)
	}
	for _, a := range v.Archs {
		mustCompile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.Arch(a)}}, X8664)
	}
	for _, action := range v.Actions {
		for _, op := range v.Operators {
			mustCompile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/a",
				Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.LinuxSeccompAction(action),
					Args: []specs.LinuxSeccompArg{{Op: specs.LinuxSeccompOperator(op), Value: 1}}}}}, X8664)
		}
	}
	for _, f := range v.Flags {
		mustCompile(t, &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlag(f)}}, X8664)
	}
}

func TestBytes(t *testing.T) {
	f := &Filter{Prog: []unix.SockFilter{{Code: 0x0102, Jt: 3, Jf: 4, K: 0x05060708}}}
	if got, want := f.Bytes(), []byte{2, 1, 3, 4, 8, 7, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("Bytes() = %x; want %x", got, want)
	}
}

func TestTable(t *testing.T) {
	if !slices.IsSortedFunc(syscalls[:], func(a, b row) int { return strings.Compare(a.name, b.name) }) {
		t.Error("syscalls is not sorted")
	}
	for _, s := range syscalls {
		for a, nr := range s.nr {
			if nr >= privateSlots && (Arch(a) != ARM || nr < armPrivate || nr >= armPrivate+numPrivate) {
				t.Errorf("%s: number %d of %v has no slot", s.name, nr, Arch(a))
			}
		}
	}
	for _, tt := range []struct {
		arch Arch
		name string
		nr   int
	}{
		{X8664, "openat", 257}, {X86, "openat", 295}, {AArch64, "openat", 56}, {ARM, "openat", 322},
		{X32, "openat", 257 | x32Bit}, {X32, "ioctl", 514 | x32Bit}, {ARM, "set_tls", 0xf0005},
	} {
		if nr, ok := Syscall(tt.arch, tt.name); !ok || nr != tt.nr {
			t.Errorf("Syscall(%v, %q) = %d, %t; want %d", tt.arch, tt.name, nr, ok, tt.nr)
		}
		if name, ok := Name(tt.arch, tt.nr); !ok || name != tt.name {
			t.Errorf("Name(%v, %d) = %q, %t; want %q", tt.arch, tt.nr, name, ok, tt.name)
		}
	}
	for _, name := range []string{"uselib", "no_such_call"} {
		if nr, ok := Syscall(X32, name); ok {
			t.Errorf("Syscall(x32, %q) = %d; want none", name, nr)
		}
	}
}

func TestTableFresh(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command to check that zsyscalls.go is fresh")
	}
	offline := append(os.Environ(), "GOPROXY=off")
	list := exec.Command(goTool, "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys")
	list.Env = offline
	if dir, err := list.Output(); err != nil || len(dir) < 2 {
		t.Skip("needs golang.org/x/sys in the module cache to check that zsyscalls.go is fresh")
	}
	gen := exec.Command(goTool, "run", "gen.go", "-check")
	gen.Env = offline
	if out, err := gen.CombinedOutput(); err != nil {
		t.Errorf("go run gen.go -check: %v\n%s", err, out)
	}
}

// TestAllocs keeps the compiler's promise of a few allocations.
func TestAllocs(t *testing.T) {
	p := dockerDefault(t, X8664)
	if n := testing.AllocsPerRun(20, func() { _, _ = Compile(p, X8664) }); n > 12 {
		t.Errorf("Compile of Docker's default: %v allocations; want at most 12", n)
	}
}

func BenchmarkCompile(b *testing.B) {
	p := dockerDefault(b, X8664)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(p, X8664); err != nil {
			b.Fatal(err)
		}
	}
}
