// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// catalogue has every child action, in all forms that are lowered differently.
func catalogue() []Child {
	return []Child{
		&EnterIDs{}, &EnterIDs{KeepGroups: true}, &EnterIDs{Joined: true},
		&JoinCgroup{Handle: "cgroup.pids", Path: "/sys/fs/cgroup/pids/c/tasks"},
		&Unshare{Flags: unix.CLONE_NEWCGROUP},
		&Session{}, &Session{Keyring: true},
		&Umask{Mask: 0o27},
		&Propagation{Flag: unix.MS_REC | unix.MS_SLAVE}, &Propagation{Flag: unix.MS_PRIVATE}, &Propagation{Flag: unix.MS_UNBINDABLE},
		&OpenRoot{At: "/run/c/root"}, &Chroot{}, &Scratch{At: "/run/c/scratch"}, &Scratch{At: "/run/c/scratch", Size: "64m"},
		&Overlay{Layers: []string{"/l/0", "/l/1"}, Upper: "/c/upper", Work: "/c/work", Options: []string{"userxattr"}, Append: true},
		&Overlay{Layers: []string{"/l/0", `/l/a:b,c\d`}, Upper: "/c/upper", Work: "/c/work", At: "/c/rootfs"},
		&SetRoot{At: "/c/rootfs"},
		&NewFS{Type: "tmpfs", Target: "/tmp", Options: []string{"size=64m", "noswap"}, Attr: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV},
		&NewFS{Type: "proc", Source: "proc", Target: "/proc"},
		&Bind{Source: "/srv", Target: "/data"},
		&Bind{Source: "/srv", Target: "/data", Recursive: true, Set: unix.MOUNT_ATTR_RDONLY, Share: unix.MS_PRIVATE | unix.MS_REC},
		&Bind{Source: "/srv", Target: "/data", Recursive: true, Set: unix.MOUNT_ATTR_RDONLY, AttrRec: true, Share: unix.MS_SHARED | unix.MS_REC},
		&Bind{Source: "/etc/hosts", Target: "/etc/hosts", File: true, Set: unix.MOUNT_ATTR_NOATIME, Clear: unix.MOUNT_ATTR_RDONLY},
		&Bind{Source: "/srv", Target: "/data", Below: "sub/dir"},
		&MaskSource{},
		&Pivot{},
		&Attach{Target: "/a/b"}, &Attach{Target: "/proc", Strict: true}, &Attach{Target: "/etc/hosts", File: true},
		&Dir{Path: "/srv/a", Mode: 0o750},
		&Node{Path: "/dev/null", Type: unix.S_IFCHR, Mode: 0o666, Major: 1, Minor: 3},
		&Node{Path: "/dev/disk", Type: unix.S_IFBLK, Mode: 0o660, Major: 8, Minor: 1, UID: 1, GID: 6},
		&Node{Path: "/pipe", Type: unix.S_IFIFO, Mode: 0o600},
		&Symlink{Target: "/proc/self/fd", Path: "/dev/fd"},
		&LinkUp{Name: "lo"},
		&Hostname{Name: "box"}, &Domainname{Name: "example"},
		&Sysctl{Path: "net/ipv4/ip_forward", Value: "1", Proc: "/proc"},
		&Console{Pts: "/dev/pts", Target: "/dev/console", Rows: 24, Cols: 80, UID: 1000}, &Console{Pts: "/dev/pts"},
		&Stdio{Handles: [3]string{"in", "", "err"}},
		&ReadOnly{Path: "/proc/sys"},
		&Mask{Path: "/proc/kcore"},
		&Seal{Target: "/"},
		&RootPropagation{Propagation{Flag: unix.MS_SHARED}},
		&NewFS{Type: "tmpfs", Target: "/tmp", As: "/tmp#2"},
		&Bind{Source: "/srv", Target: "/data", As: "/data#2"},
		&Attach{Target: "/tmp", As: "/tmp#2"},
		&MountFlags{Handle: "/tmp#2", Target: "/tmp", Set: unix.MOUNT_ATTR_RDONLY, Clear: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR__ATIME, Share: unix.MS_SHARED},
		&MountFlags{Handle: "/data#2", Target: "/data", Set: unix.MOUNT_ATTR_RDONLY, Share: unix.MS_SLAVE | unix.MS_REC},
		&MountFlags{Handle: "/data#2", Target: "/data", Share: unix.MS_UNBINDABLE | unix.MS_REC},
		&Remount{Target: "/tmp", Set: unix.MOUNT_ATTR_RDONLY, Options: []string{"size=1m"}, Share: unix.MS_PRIVATE | unix.MS_REC},
		&Remount{Target: "/data", Clear: unix.MOUNT_ATTR_RDONLY, Bind: true},
		&Label{File: "attr/exec", Value: "a:b:c", Option: []string{"--selinux-label", "a:b:c"}},
		&EnterTime{}, &EnterCgroup{Pidfd: "ns-a", PID: 7},
		&Scheduler{Policy: unix.SCHED_FIFO, Priority: 10, Flags: unix.SCHED_FLAG_RESET_ON_FORK},
		&Scheduler{Policy: unix.SCHED_DEADLINE, Runtime: 1, Deadline: 2, Period: 3}, &Scheduler{Nice: -5},
		&IOPriority{Class: 1, Priority: 7}, &IOPriority{Class: 2}, &IOPriority{Class: 3},
		&Affinity{CPUs: "0-3,64"},
		&MemoryPolicy{Mode: "MPOL_BIND|MPOL_F_STATIC_NODES", Num: unix.MPOL_BIND | unix.MPOL_F_STATIC_NODES, Nodes: "0-1,65"}, &MemoryPolicy{Mode: "MPOL_DEFAULT"},
		&Personality{}, &Personality{Persona: 8},
		&NoNewPrivs{},
		&Seccomp{Filter: make([]byte, 24), Flags: 1, Count: 3},
		&BoundingSet{Keep: AllCaps &^ (1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_BPF), Last: 40},
		&Chdir{Path: "/srv/a"},
		&User{UID: 1000, GID: 100, Groups: []uint32{4, 5}}, &User{KeepGroups: true},
		&Capabilities{Effective: 1 << unix.CAP_CHOWN, Permitted: 1<<unix.CAP_CHOWN | 1<<unix.CAP_BPF, Inheritable: 1 << unix.CAP_CHOWN, Ambient: 1 << unix.CAP_CHOWN},
		&DieWith{},
		&Nofile{Soft: 10, Hard: 20},
		&EnterRoot{},
		&Pivot{Move: true},
		&Lookup{Exec{Paths: []string{"/bin/prog", "/usr/bin/prog"}, Args: []string{"prog", "a"}}},
		&Await{In: "exec.fifo", Out: "started"},
		&CloseOthers{From: 3},
		&Exec{File: "self", Args: []string{"prog"}},
		&Keep{File: "terminal", Pidfd: "container", PID: 7},
		&Touch{Path: "/etc/a/b"},
		&Inherit{Path: "/proc/self/ns/net", FD: InheritFrom}, &Inherit{Handle: "status", FD: InheritFrom + 1},
		&Exec{Paths: []string{"/bin/prog", "/usr/bin/prog"}, Args: []string{"prog", "a b", "it's"}, Env: []string{"PATH=/bin", "A=b c"}, Cwd: "/srv"},
	}
}

func cataloguePlan() *Plan {
	p := &Plan{Title: "every child action"}
	for _, a := range catalogue() {
		p.Add("", a)
	}
	return p
}

// TestCatalogueIsWhole reads the package's source: an action that is not in the
// catalogue is in no test below.
func TestCatalogueIsWhole(t *testing.T) {
	var have []string
	for _, a := range catalogue() {
		name, _, _ := strings.Cut(strings.TrimPrefix(typeName(a), "*plan."), " ")
		have = append(have, name)
	}
	for _, name := range methodsNamed(t, "Lower") {
		if !slices.Contains(have, name) {
			t.Errorf("no %s in the catalogue", name)
		}
	}
}

// methodsNamed are the types of this package that have a method with a pointer receiver.
func methodsNamed(t *testing.T, method string) (types []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != method {
				continue
			}
			if star, ok := fn.Recv.List[0].Type.(*ast.StarExpr); ok && star.X.(*ast.Ident).Name != "Plan" {
				types = append(types, star.X.(*ast.Ident).Name)
			}
		}
	}
	if len(types) < 20 {
		t.Fatalf("only %d types found: %v", len(types), types)
	}
	return types
}

// TestJumpsStayInTheirStep: a jump past the end of a step would skip what
// another step has to do.
func TestJumpsStayInTheirStep(t *testing.T) {
	calls := cataloguePlan().Lower()
	jumps := 0
	for i, c := range calls {
		for _, n := range []int{c.SkipErr, c.SkipOK} {
			if n == 0 {
				continue
			}
			jumps++
			if n < 0 || i+n >= len(calls) || calls[i+n].Step != c.Step {
				t.Errorf("call %d of step %d, %s, jumps over %d calls: out of its step", i, c.Step, c, n)
			}
		}
		if c.SkipErr > 0 && len(c.Allow) == 0 {
			t.Errorf("%s jumps on an error, and allows none", c)
		}
	}
	if jumps < 4 {
		t.Errorf("%d jumps: the catalogue has lost those of Mask and ReadOnly", jumps)
	}
}

// TestRegistersAreSetBeforeUse: a register that nothing has written is 0, which
// is a descriptor.
func TestRegistersAreSetBeforeUse(t *testing.T) {
	set := make(map[int]bool)
	for _, c := range cataloguePlan().Lower() {
		for i, a := range c.Args {
			if a.Kind == Register && !set[int(a.Num)] {
				t.Errorf("%s: register %d is not set yet", c, a.Num)
			}
			if a.Kind == Register && i > 2 {
				t.Errorf("%s: the interpreter takes registers in the first three arguments only", c)
			}
		}
		if c.Out != 0 {
			set[c.Out] = true
		}
		if len(c.Allow) > 3 {
			t.Errorf("%s: the interpreter knows three allowed errors", c)
		}
		for _, e := range c.Allow {
			if e > 255 || e == 0 {
				t.Errorf("%s: allowed error %d does not fit a byte", c, e)
			}
		}
		if c.Sys.Nr() == 0 && c.Sys.String() != "read" {
			t.Errorf("%s has no number", c)
		}
	}
}
