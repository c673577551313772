// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// scmpArch has libseccomp's names, by Arch.
var scmpArch = [numArch]string{"x86_64", "x86", "x32", "aarch64", "arm"}

// scmpOp has the numbers of libseccomp's enum scmp_compare.
var scmpOp = map[operator]int{opNE: 1, opLT: 2, opLE: 3, opEQ: 4, opGE: 5, opGT: 6, opMasked: 7}

// buildOracle compiles testdata/oracle.c.
func buildOracle(t *testing.T) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc to build the libseccomp oracle")
	}
	if _, err := os.Stat("/usr/include/seccomp.h"); err != nil {
		t.Skip("needs /usr/include/seccomp.h (libseccomp-dev) to build the libseccomp oracle")
	}
	bin := filepath.Join(t.TempDir(), "oracle")
	if out, err := exec.Command(gcc, "-O1", "-o", bin, "testdata/oracle.c", "-lseccomp").CombinedOutput(); err != nil {
		t.Fatalf("build oracle: %v\n%s", err, out)
	}
	return bin
}

// An oracle's answer to one profile.
type answer struct {
	filter  Filter
	unknown []string // names that this libseccomp doesn't have
}

var errRefused = errors.New("libseccomp refuses the profile")

// askOracle does with libseccomp what runc does with a section.
func askOracle(bin string, p *specs.LinuxSeccomp, native Arch) (*answer, error) {
	def, err := parseAction(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	var in bytes.Buffer
	fmt.Fprintf(&in, "default %d\nonly %s\n", def, scmpArch[native])
	for _, a := range p.Architectures {
		for i := range archs {
			if archs[i].scmp == a && archs[i].host == native {
				fmt.Fprintf(&in, "arch %s\n", scmpArch[i])
			}
		}
	}
	for _, s := range p.Syscalls {
		action, err := parseAction(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, err
		}
		if action == def {
			continue
		}
		for _, name := range s.Names {
			writeRules(&in, action, name, s.Args)
		}
	}
	cmd := exec.Command(bin)
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		return nil, errRefused
	}
	if err != nil {
		return nil, fmt.Errorf("run oracle: %w: %s", err, stderr.Bytes())
	}
	a := new(answer)
	for line := range strings.Lines(stderr.String()) {
		a.unknown = append(a.unknown, strings.TrimSpace(strings.TrimPrefix(line, "unknown ")))
	}
	for ; len(out) >= 8; out = out[8:] {
		a.filter.Prog = append(a.filter.Prog, unix.SockFilter{
			Code: binary.LittleEndian.Uint16(out), Jt: out[2], Jf: out[3], K: binary.LittleEndian.Uint32(out[4:])})
	}
	return a, nil
}

// writeRules writes the rules of one name, as runc splits them.
func writeRules(in *bytes.Buffer, action uint32, name string, args []specs.LinuxSeccompArg) {
	seen := map[uint]bool{}
	twice := false
	for _, a := range args {
		twice = twice || seen[a.Index]
		seen[a.Index] = true
	}
	start := func() { fmt.Fprintf(in, "rule %d %s", action, name) }
	start()
	for i, a := range args {
		if twice && i > 0 {
			in.WriteByte('\n')
			start()
		}
		for _, o := range operators {
			if o.name == a.Op {
				fmt.Fprintf(in, " %d %d %d %d", a.Index, scmpOp[o.op], a.Value, a.ValueTwo)
			}
		}
	}
	in.WriteByte('\n')
}

// compare asks both filters about every number and the interesting arguments,
// and returns the first differences in words.
func compare(f *Filter, a *answer, p *specs.LinuxSeccomp, native Arch) (diffs []string) {
	def, _ := parseAction(p.DefaultAction, p.DefaultErrnoRet)
	vectors := argVectors(p)
	var listed [numArch]bool
	listed[native] = true
	for _, name := range p.Architectures {
		for i := range archs {
			listed[i] = listed[i] || archs[i].scmp == name && archs[i].host == native
		}
	}
	for arch := range numArch {
		for _, nr := range numbers(arch) {
			name, _ := Name(arch, int(nr))
			if slices.Contains(a.unknown, name) {
				continue
			}
			for _, args := range vectors {
				got := f.Verdict(nr, arch.AuditArch(), args)
				want := a.filter.Verdict(nr, arch.AuditArch(), args)
				if listed[arch] && !lenient(def) && unheardOf(arch, nr, p) {
					want = retNosys
				}
				if got != want {
					diffs = append(diffs, fmt.Sprintf("%v %#x %s(%#x): %s; want %s", arch, nr, name, args, Action(got), Action(want)))
				}
				if len(diffs) >= 3 {
					return diffs
				}
				if !hasArgs(p, name) {
					break // the verdict can't depend on arguments
				}
			}
		}
	}
	return diffs
}

// hasArgs reports whether a rule of a name looks at arguments, or the name
// multiplexes others.
func hasArgs(p *specs.LinuxSeccomp, name string) bool {
	if name == "socketcall" || name == "ipc" {
		return true
	}
	return slices.ContainsFunc(p.Syscalls, func(s specs.LinuxSyscall) bool {
		return len(s.Args) > 0 && slices.Contains(s.Names, name)
	})
}

// unheardOf reports whether a number is above all that a profile names.
func unheardOf(a Arch, nr uint32, p *specs.LinuxSeccomp) bool {
	top := highest(a, p)
	private := a == ARM && nr >= armPrivate && nr < armPrivate+numPrivate
	return top >= 0 && int64(nr) > top && !private
}

// highest is the highest number that a profile names for an architecture.
func highest(a Arch, p *specs.LinuxSeccomp) int64 {
	top := int64(-1)
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			if a == X86 {
				top = max(top, muxCall(p, &s, name))
			}
			if nr, ok := Syscall(a, name); ok && (a != ARM || nr < armPrivate) {
				top = max(top, int64(nr))
			}
		}
	}
	return top
}

// muxCall is the call that multiplexes another on i386, if a rule asks for it.
func muxCall(p *specs.LinuxSeccomp, s *specs.LinuxSyscall, name string) int64 {
	def, _ := parseAction(p.DefaultAction, p.DefaultErrnoRet)
	action, _ := parseAction(s.Action, s.ErrnoRet)
	i, ok := lookup(name)
	switch {
	case !ok || syscalls[i].mux == 0 || action == def:
		return -1
	case syscalls[i].mux > 100:
		return 117
	}
	return 102
}

// numbers has every number of an architecture that could make a difference.
func numbers(a Arch) []uint32 {
	var list []uint32
	for nr := range uint32(600) {
		list = append(list, nr|archs[a].base)
	}
	for nr := range uint32(8) {
		list = append(list, armPrivate+nr|archs[a].base)
	}
	if a == X8664 {
		return append(list, x32Bit-1)
	}
	return append(list, 1<<31|x32Bit, ^uint32(0)-1, ^uint32(0))
}

// argVectors has arguments around every value of a profile's conditions.
func argVectors(p *specs.LinuxSeccomp) [][6]uint64 {
	values := []uint64{0, 1, 5, 1 << 32, 1<<32 | 5, ^uint64(0)}
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			values = append(values, a.Value-1, a.Value, a.Value+1, a.ValueTwo, ^a.Value, a.Value|1<<40, a.Value&0xffffffff)
		}
	}
	slices.Sort(values)
	values = slices.Compact(values)
	r := rand.New(rand.NewPCG(1, 2))
	var list [][6]uint64
	for _, v := range values {
		list = append(list, [6]uint64{v, v, v, v, v, v}, [6]uint64{v, 0, 5})
	}
	for range 60 {
		var args [6]uint64
		for i := range args {
			args[i] = values[r.IntN(len(values))]
		}
		list = append(list, args)
	}
	return list
}

// randomProfile makes a profile of few names and many conditions. All rules have
// one action, so that overlaps can't contradict each other.
//
// A tame profile keeps off what libseccomp 2.5 gets wrong: when it merges the
// rules of one system call into a tree, it loses some matches if a rule has
// several arguments or if bounds meet other conditions on the same high word;
// and on ARM it may forget to load the number if a name is unknown there. Those
// have the plain reading (see TestModel) as their judge.
func randomProfile(r *rand.Rand, native Arch, tame bool) *specs.LinuxSeccomp {
	names := []string{"read", "write", "openat", "clone", "clone3", "personality", "socket", "connect",
		"accept", "send", "shmget", "semop", "ioctl", "mmap", "mmap2", "cacheflush", "set_tls", "preadv2",
		"faccessat2", "socketcall", "ipc", "no_such_call"}
	acts := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActTrap, specs.ActLog}
	ops := operators[:]
	if tame {
		ops = operators[opEQ:]
	}
	if tame && native == AArch64 {
		names = slices.DeleteFunc(names, func(name string) bool {
			_, here := Syscall(AArch64, name)
			_, there := Syscall(ARM, name)
			return !here || !there
		})
	}
	values := []uint64{0, 1, 2, 5, 6, 0x10000, 1<<32 - 1, 1 << 32, 1<<32 | 5, ^uint64(0)}
	pick := func() uint64 { return values[r.IntN(len(values))] }
	p := &specs.LinuxSeccomp{DefaultAction: acts[r.IntN(len(acts))]}
	for i := range archs {
		if archs[i].host == native && r.IntN(3) > 0 {
			p.Architectures = append(p.Architectures, archs[i].scmp)
		}
	}
	action := acts[r.IntN(len(acts))]
	for range 1 + r.IntN(12) {
		s := specs.LinuxSyscall{Action: action}
		for range 1 + r.IntN(3) {
			s.Names = append(s.Names, names[r.IntN(len(names))])
		}
		args := r.IntN(4)
		if tame {
			args = r.IntN(2)
		}
		for range args {
			s.Args = append(s.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(3)),
				Op: ops[r.IntN(len(ops))].name, Value: pick(), ValueTwo: pick()})
		}
		p.Syscalls = append(p.Syscalls, s)
	}
	return p
}

func TestOracleRandom(t *testing.T) {
	bin := buildOracle(t)
	for _, native := range []Arch{X8664, AArch64} {
		compared := 0
		for seed := range uint64(150) {
			p := randomProfile(rand.New(rand.NewPCG(seed, uint64(native))), native, true)
			a, err := askOracle(bin, p, native)
			if errors.Is(err, errRefused) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := Compile(p, native)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if diffs := compare(f, a, p, native); len(diffs) > 0 {
				t.Errorf("%v seed %d:\n%s\nprofile %+v", native, seed, strings.Join(diffs, "\n"), p)
			}
			compared++
		}
		if compared < 100 {
			t.Errorf("%v: only %d profiles were compared", native, compared)
		}
	}
}

func TestOracleDocker(t *testing.T) {
	bin := buildOracle(t)
	for _, native := range []Arch{X8664, AArch64} {
		p := dockerDefault(t, native)
		a, err := askOracle(bin, p, native)
		if err != nil {
			t.Fatal(err)
		}
		f := mustCompile(t, p, native)
		for _, d := range compare(f, a, p, native) {
			t.Errorf("%v: %s", native, d)
		}
		if len(f.Prog) >= len(a.filter.Prog) {
			t.Errorf("%v: %d instructions, libseccomp makes %d", native, len(f.Prog), len(a.filter.Prog))
		}
	}
}
