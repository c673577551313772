// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/seccomp"
)

// dockerCaps is what Docker gives a container that asks for nothing.
var dockerCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
	"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// verdict compiles a profile and asks about one call.
func verdict(t *testing.T, p *specs.LinuxSeccomp, name string, args ...uint64) string {
	t.Helper()
	f, err := seccomp.Compile(p, seccomp.Native())
	if err != nil {
		t.Fatal(err)
	}
	nr, ok := seccomp.Syscall(seccomp.Native(), name)
	if !ok {
		t.Fatalf("no system call %s", name)
	}
	var all [6]uint64
	copy(all[:], args)
	return seccomp.Action(f.Verdict(uint32(nr), seccomp.Native().AuditArch(), all))
}

func TestDefault(t *testing.T) {
	admin := append(slices.Clone(dockerCaps), "CAP_SYS_ADMIN")
	tests := []struct {
		caps []string
		call string
		args []uint64
		want string
	}{
		{dockerCaps, "openat", nil, "allow"},
		{dockerCaps, "chroot", nil, "allow"},
		{nil, "chroot", nil, "errno EPERM"},
		{dockerCaps, "mount", nil, "errno EPERM"},
		{admin, "mount", nil, "allow"},
		{dockerCaps, "clone", []uint64{unix.CLONE_NEWUSER}, "errno EPERM"},
		{dockerCaps, "clone", []uint64{unix.CLONE_VM}, "allow"},
		{dockerCaps, "clone3", nil, "errno ENOSYS"},
		{admin, "clone3", nil, "allow"},
		{dockerCaps, "socket", []uint64{unix.AF_INET}, "allow"},
		{dockerCaps, "socket", []uint64{unix.AF_ALG}, "errno EPERM"},
		{dockerCaps, "socket", []uint64{unix.AF_VSOCK}, "errno EPERM"},
		{dockerCaps, "personality", []uint64{8}, "allow"},
		{dockerCaps, "personality", []uint64{9}, "errno EPERM"},
	}
	for _, tt := range tests {
		p, err := Default(tt.caps)
		if err != nil {
			t.Fatal(err)
		}
		if got := verdict(t, p, tt.call, tt.args...); got != tt.want {
			t.Errorf("%s(%#x) with %d capabilities: %s; want %s", tt.call, tt.args, len(tt.caps), got, tt.want)
		}
	}
}

func TestDefaultIsFresh(t *testing.T) {
	a, err := Default(dockerCaps)
	if err != nil {
		t.Fatal(err)
	}
	a.Syscalls[0].Names[0] = "changed by a caller"
	b, err := Default(dockerCaps)
	if err != nil {
		t.Fatal(err)
	}
	if b.Syscalls[0].Names[0] == a.Syscalls[0].Names[0] {
		t.Error("two calls of Default share their rules")
	}
}

func TestLoad(t *testing.T) {
	const docker = `{"defaultAction":"SCMP_ACT_ERRNO",
		"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
		"syscalls":[
			{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
			{"name":"mkdirat","action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
			{"names":["sync"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"3.0"}},
			{"names":["acct"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"250.0"}},
			{"names":["reboot"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}},
			{"names":["setns"],"action":"SCMP_ACT_ERRNO","errnoRet":18}]}`
	const plain = `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
		"flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"names":["mount"],"action":"SCMP_ACT_KILL_PROCESS"}]}`
	tests := []struct {
		name, file string
		caps       []string
		call, want string
	}{
		{"CapMissing", docker, nil, "mount", "errno EPERM"},
		{"CapPresent", docker, []string{"CAP_SYS_ADMIN"}, "mount", "allow"},
		{"ExcludedByCap", docker, []string{"CAP_SYS_ADMIN"}, "mkdirat", "errno EPERM"},
		{"OldFieldName", docker, nil, "mkdirat", "allow"},
		{"KernelNewEnough", docker, nil, "sync", "allow"},
		{"KernelTooOld", docker, nil, "acct", "errno EPERM"},
		{"OtherArch", docker, nil, "reboot", "errno EPERM"},
		{"Errno", docker, nil, "setns", "errno EXDEV"},
		{"Plain", plain, nil, "mount", "kill process"},
		{"PlainDefault", plain, nil, "openat", "allow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Load([]byte(tt.file), tt.caps)
			if err != nil {
				t.Fatal(err)
			}
			if got := verdict(t, p, tt.call); got != tt.want {
				t.Errorf("%s: %s; want %s", tt.call, got, tt.want)
			}
		})
	}
	p, err := Load([]byte(plain), nil)
	if err != nil || !slices.Equal(p.Flags, []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog}) {
		t.Errorf("flags %v, %v; want the file's", p.Flags, err)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"Empty", "", "read seccomp profile: empty"},
		{"Syntax", "{\n\"defaultAction\": SCMP\n}", "read seccomp profile: line 2: invalid character 'S'"},
		{"Trailing", `{"defaultAction":"SCMP_ACT_ALLOW"} {}`, "more than one JSON value"},
		{"NotObject", `["SCMP_ACT_ALLOW"]`, "cannot unmarshal array"},
		{"Nothing", `{}`, "neither defaultAction nor syscalls"},
		{"NullRule", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[null]}`, "rule 0 is null"},
		{"Action", `{"defaultAction":"SCMP_ACT_ALOW"}`, `unknown action "SCMP_ACT_ALOW"`},
		{"BothNames", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_LOG"}]}`, "'name' and 'names'"},
		{"BothArchs", `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}`, "'archMap'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Load([]byte(tt.file), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want %q", p, err, tt.want)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8","arches":["amd64"]}}]}`))
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_KILL","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X32"]}],"syscalls":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Load(data, dockerCaps)
		if err != nil {
			return
		}
		if _, err := seccomp.Compile(p, seccomp.Native()); err != nil {
			t.Errorf("Load accepts what Compile refuses: %v", err)
		}
	})
}
