// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzCompile feeds sections as they come from a config.json.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86","SCMP_ARCH_ARM"],
		"syscalls":[{"names":["read","set_tls"],"action":"SCMP_ACT_ALLOW"}]}`))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["socket","ipc"],"action":"SCMP_ACT_TRAP",
		"args":[{"index":0,"value":1,"op":"SCMP_CMP_LE"},{"index":0,"value":9,"valueTwo":8,"op":"SCMP_CMP_MASKED_EQ"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := new(specs.LinuxSeccomp)
		if json.Unmarshal(text, p) != nil {
			return
		}
		for _, native := range []Arch{X8664, AArch64} {
			filter, err := Compile(p, native)
			if err != nil || filter == nil {
				continue
			}
			if err := check(filter.Prog); err != nil {
				t.Fatalf("%v: %v\n%s", native, err, filter)
			}
		}
	})
}

// FuzzRules makes a section of each input, so that every one gets as far as the
// assembler: rules of one action, judged by the plain reading, or of several,
// which may contradict but must not break.
func FuzzRules(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 4, 5, 6, 7, 8}, true)
	f.Add([]byte{9, 200, 1, 2, 255, 1, 4, 0, 3, 33, 66, 99, 128, 3, 2, 1}, false)
	f.Fuzz(func(t *testing.T, data []byte, one bool) {
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b)
		}
		if len(data) > 400 {
			return
		}
		native := []Arch{X8664, AArch64}[next()%2]
		acts := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActTrap, specs.ActErrno, specs.ActKillProcess}
		p := &specs.LinuxSeccomp{DefaultAction: acts[next()%len(acts)], Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32, specs.ArchARM}}
		action := acts[next()%len(acts)]
		for len(data) > 0 {
			if !one {
				action = acts[next()%len(acts)]
			}
			s := specs.LinuxSyscall{Action: action, Names: []string{syscalls[(next()<<8|next())%len(syscalls)].name}}
			for range next() % 4 {
				s.Args = append(s.Args, specs.LinuxSeccompArg{Index: uint(next() % maxArgs), Op: operators[next()%len(operators)].name,
					Value: uint64(next()) << (next() % 60), ValueTwo: uint64(next()) << (next() % 60)})
			}
			p.Syscalls = append(p.Syscalls, s)
		}
		filter, err := Compile(p, native)
		if err != nil {
			if one {
				t.Fatal(err)
			}
			return
		}
		if err := check(filter.Prog); err != nil {
			t.Fatalf("%v\n%s", err, filter)
		}
		if one {
			p.Architectures = slices.DeleteFunc(p.Architectures, func(a specs.Arch) bool { return (a == specs.ArchARM) != (native == AArch64) })
			for _, d := range compareModel(filter, p, native) {
				t.Error(d)
			}
		}
	})
}
