// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// model is the plain reading of a profile whose rules have one action: the
// verdict on one call, without tables, trees or jumps.
func model(p *specs.LinuxSeccomp, arch Arch, nr uint32, args [6]uint64) uint32 {
	def, _ := parseAction(p.DefaultAction, p.DefaultErrnoRet)
	for _, s := range p.Syscalls {
		action, _ := parseAction(s.Action, s.ErrnoRet)
		if action == def {
			continue
		}
		for _, name := range s.Names {
			if got, ok := Syscall(arch, name); ok && uint32(got) == nr && matches(s.Args, arch, args) {
				return action
			}
			if arch == X86 && muxMatches(&s, name, nr, args) {
				return action
			}
		}
	}
	if !lenient(def) && unheardOf(arch, nr, p) {
		return retNosys
	}
	return def
}

// muxMatches reads a rule for i386's multiplexed form of a call.
func muxMatches(s *specs.LinuxSyscall, name string, nr uint32, args [6]uint64) bool {
	i, ok := lookup(name)
	if !ok || syscalls[i].mux == 0 {
		return false
	}
	call, code := uint32(102), uint32(syscalls[i].mux)
	if code > 100 {
		call, code = 117, code-100
	}
	if nr != call || uint32(args[0]) != code {
		return false
	}
	rest := slices.DeleteFunc(slices.Clone(s.Args), func(a specs.LinuxSeccompArg) bool { return a.Index == 0 })
	if twice(s.Args) && len(rest) < len(s.Args) {
		return true // one of the alternatives was on argument 0 only
	}
	if twice(s.Args) {
		return slices.ContainsFunc(rest, func(a specs.LinuxSeccompArg) bool { return holdsArg(a, X86, args) })
	}
	return matches(rest, X86, args)
}

func twice(args []specs.LinuxSeccompArg) bool {
	seen := map[uint]bool{}
	for _, a := range args {
		if seen[a.Index] {
			return true
		}
		seen[a.Index] = true
	}
	return false
}

func matches(list []specs.LinuxSeccompArg, arch Arch, args [6]uint64) bool {
	if twice(list) {
		return slices.ContainsFunc(list, func(a specs.LinuxSeccompArg) bool { return holdsArg(a, arch, args) })
	}
	return !slices.ContainsFunc(list, func(a specs.LinuxSeccompArg) bool { return !holdsArg(a, arch, args) })
}

func holdsArg(a specs.LinuxSeccompArg, arch Arch, args [6]uint64) bool {
	got, v, two := args[a.Index], a.Value, a.ValueTwo
	if arch == X86 || arch == X32 || arch == ARM {
		got, v, two = got&0xffffffff, v&0xffffffff, two&0xffffffff
	}
	switch c := cmp.Compare(got, v); a.Op {
	case specs.OpEqualTo:
		return c == 0
	case specs.OpNotEqual:
		return c != 0
	case specs.OpLessThan:
		return c < 0
	case specs.OpLessEqual:
		return c <= 0
	case specs.OpGreaterThan:
		return c > 0
	case specs.OpGreaterEqual:
		return c >= 0
	default:
		return got&v == two&v
	}
}

// TestModel compares compiled filters with the plain reading.
func TestModel(t *testing.T) {
	for _, native := range []Arch{X8664, AArch64} {
		for seed := range uint64(300) {
			p := randomProfile(rand.New(rand.NewPCG(seed, uint64(native))), native, false)
			f, err := Compile(p, native)
			if err != nil {
				t.Fatalf("%v seed %d: %v", native, seed, err)
			}
			if diffs := compareModel(f, p, native); len(diffs) > 0 {
				t.Errorf("%v seed %d:\n%s\nprofile %+v", native, seed, strings.Join(diffs, "\n"), p)
			}
		}
	}
}

func compareModel(f *Filter, p *specs.LinuxSeccomp, native Arch) (diffs []string) {
	vectors := argVectors(p)
	for arch := range numArch {
		if arch != native && !slices.Contains(p.Architectures, archs[arch].scmp) {
			continue
		}
		for _, nr := range numbers(arch) {
			name, _ := Name(arch, int(nr))
			for _, args := range vectors {
				got, want := f.Verdict(nr, arch.AuditArch(), args), model(p, arch, nr, args)
				if got != want && len(diffs) < 3 {
					diffs = append(diffs, fmt.Sprintf("%v %#x %s(%#x): %s; want %s", arch, nr, name, args, Action(got), Action(want)))
				}
				if !hasArgs(p, name) {
					break
				}
			}
		}
	}
	return diffs
}
