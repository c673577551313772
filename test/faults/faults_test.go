// SPDX-License-Identifier: Apache-2.0

// Package faults has every step of real containers fail once, and has the
// program that makes them stop dead after every step. Each time everything
// that a container could leave behind on the machine is compared with before.
//
// As root the tests run in network and mount namespaces of their own, with
// cgroups below one that is made for them; as an ordinary user they run
// containers as one does.
package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/engine"
	"vitro/network"
	"vitro/plan"
	"vitro/plan/run"
)

const (
	inside  = "VITRO_FAULTS_INSIDE"  // the test that this process runs, in its namespaces
	parent  = "VITRO_FAULTS_CGROUP"  // the cgroup that all of its containers are below
	command = "VITRO_FAULTS_COMMAND" // this process is to run a container, and maybe to die
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == engine.HelperVerb:
		if err := engine.Helper(os.Args[2:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	case len(os.Args) > 1 && os.Args[1] == engine.BesideVerb:
		if err := engine.Beside(os.Args[2:], nil); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(command) != "":
		os.Exit(obey(os.Getenv(command)))
	}
	os.Exit(m.Run())
}

// An order is what a process is told that may die over it.
type order struct {
	Dir   string
	Flags engine.Flags
	After int // the step after which it kills itself; -1: none
}

// obey runs a container.
func obey(text string) int {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Println(err)
		return 2
	}
	e, err := engine.Open(o.Dir)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	hooks := engine.Hooks{Tune: func(_ *engine.Prepared, ro *run.Options) {
		if o.After < 0 {
			return
		}
		ro.After = func(step, _ int) {
			if step == o.After {
				_ = unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			}
		}
	}}
	exit, err := e.Run(context.Background(), &o.Flags, hooks)
	if err != nil {
		run.Report(os.Stdout, "faults", err)
		return 1
	}
	return exit.Code
}

// sets are the containers whose steps fail. Dir is a folder of the test's.
func sets(root bool, dir string) []struct {
	name  string
	flags engine.Flags
} {
	type set = struct {
		name  string
		flags engine.Flags
	}
	files := engine.Flags{ReadOnly: true, Tmpfs: []string{"/run:size=1m"}, Volumes: []string{dir + ":/data:ro"}, Network: "none",
		Sysctl: map[string]string{"net.ipv4.ping_group_range": "0 0", "kernel.msgmax": "4096"}, Workdir: "/work/here", User: "7:8", Hostname: "faulty"}
	all := []set{
		{"plain", engine.Flags{}},
		{"none", engine.Flags{Network: "none", Ulimits: []string{"nofile=100:200"}, OOMScoreAdj: 100}},
		{"terminal", engine.Flags{Network: "none", Terminal: true}},
		{"files", files},
		{"memory-root", engine.Flags{Network: "none", RootfsSize: "8m"}},
	}
	if root {
		all = append(all,
			set{"limits", engine.Flags{Network: "none", Memory: "64m", CPUs: "0.5", PidsLimit: 20}},
			set{"users", engine.Flags{Network: "none", Userns: "auto"}},
			set{"networks", engine.Flags{Network: "web", Networks: []string{"inside:alias=x"}, Publish: []string{"8080:80", "127.0.0.1:5353:53/udp", "9000-9002:9000-9002"}}})
	}
	for i := range all {
		f := &all[i].flags
		f.Image, f.Command = "busybox", []string{"sleep", "1000"}
		if p := os.Getenv(parent); p != "" {
			f.CgroupParent = p
		}
	}
	return all
}

// each has a container of each set run to its end first, and hands over what
// the machine looks like then, and how many steps there are.
func each(t *testing.T, do func(t *testing.T, w *world, f engine.Flags)) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // for the users of --userns=auto
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/volume", 0o755); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(dir + "/root")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for _, d := range []network.Definition{{Name: "web", IPv6: true}, {Name: "inside", Internal: true}} {
			if _, _, err := e.CreateNetwork(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range sets(os.Geteuid() == 0, dir+"/volume") {
		t.Run(s.name, func(t *testing.T) {
			w := &world{engine: e, dir: dir}
			for range 2 { // the first one ever makes the image
				warm := s.flags
				warm.Command = []string{"true"}
				_, err := e.Run(context.Background(), &warm, engine.Hooks{Tune: func(p *engine.Prepared, _ *run.Options) { w.plan = p.Plan }})
				if f := new(run.Fault); errors.As(err, &f) && f.Step.Action.Verb() == "clone" {
					t.Skipf("needs new namespaces: %v", err)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			do(t, w, s.flags)
		})
	}
}

// steps are those of the plan that no set before it has: what is the same in
// all of them has its turn once. VITRO_LONG=1 takes them all.
func (w *world) steps(seen map[string]bool) iter.Seq2[int, plan.Step] {
	return func(yield func(int, plan.Step) bool) {
		for k, step := range w.plan.Steps {
			line := ids.ReplaceAllString(step.Action.Line(), "ID")
			if seen[line] && os.Getenv("VITRO_LONG") == "" {
				continue
			}
			seen[line] = true
			if !yield(k, step) {
				return
			}
		}
	}
}

// ids are what differs between any two containers.
var ids = regexp.MustCompile(`[0-9a-f]{12,64}`)

// TestFailEveryStep: the error names the step that failed, and nothing is left.
func TestFailEveryStep(t *testing.T) {
	if !fresh(t) {
		return
	}
	seen := make(map[string]bool)
	each(t, func(t *testing.T, w *world, f engine.Flags) {
		w.before = w.look(t)
		for k, step := range w.steps(seen) {
			t.Run(fmt.Sprintf("%03d-%s", k, step.Action.Verb()), func(t *testing.T) {
				errno := []unix.Errno{unix.EPERM, unix.EIO, unix.ENOSPC}[k%3]
				line := ""
				flags := f
				_, err := w.engine.Run(context.Background(), &flags, engine.Hooks{Tune: func(p *engine.Prepared, o *run.Options) {
					o.Fail = map[int]unix.Errno{k: errno}
					line = p.Plan.Steps[k].Action.Line()
				}})
				var fault *run.Fault
				switch {
				case !errors.As(err, &fault):
					t.Errorf("the error is no fault: %v", err)
				case fault.Index != k || !errors.Is(fault, errno):
					t.Errorf("step %d failed with %v: %v; want step %d with %v", fault.Index, fault.Err, err, k, errno)
				case err.Error() != line+": "+errno.Error():
					t.Errorf("the error is %q; want the step and the kernel's answer, %q", err, line+": "+errno.Error())
				}
				w.same(t)
			})
		}
	})
}

// TestStopAfterEveryStep: the process that makes a container is killed after
// each step. What was not yet a container has ended with it, a container goes
// on; whoever comes next looks after either, and can remove it.
func TestStopAfterEveryStep(t *testing.T) {
	if !fresh(t) {
		return
	}
	seen := make(map[string]bool)
	each(t, func(t *testing.T, w *world, f engine.Flags) {
		w.before = w.look(t)
		for k, step := range w.steps(seen) {
			t.Run(fmt.Sprintf("%03d-%s", k, step.Action.Verb()), func(t *testing.T) {
				cmd := w.command(t, order{Dir: w.engine.Dir, Flags: f, After: k})
				out, err := cmd.CombinedOutput()
				if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
					t.Errorf("it was to die: %v\n%s", err, out)
				}
				if err := w.clear(t); err != nil {
					t.Error(err)
				}
				w.same(t)
			})
		}
	})
}

// TestKillAnytime kills the process that makes, runs or removes a container at
// random moments.
func TestKillAnytime(t *testing.T) {
	if !fresh(t) {
		return
	}
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	each(t, func(t *testing.T, w *world, f engine.Flags) {
		w.before = w.look(t)
		f.Command = []string{"sleep", "0.01"}
		for i := range 12 {
			cmd := w.command(t, order{Dir: w.engine.Dir, Flags: f, After: -1})
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			wait := time.Duration(random.IntN(90_000)) * time.Microsecond
			timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			timer.Stop()
			w.age(t)
			if err := w.clear(t); err != nil {
				t.Errorf("seed %d, try %d, killed after %v: %v", seed, i, wait, err)
			}
			w.same(t)
			if t.Failed() {
				t.Fatalf("seed %d, try %d, killed after %v", seed, i, wait)
			}
		}
	})
}

// command is this program again, with an order.
func (w *world) command(t *testing.T, o order) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), command+"="+string(text))
	return cmd
}

// fresh runs the rest of the test in a new process that has what a container
// could change to itself. The caller returns if it says false.
func fresh(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		// A process whose parent has died comes to us, and not to process 1.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			linkUp(t, "lo")
		}
		runtime.LockOSThread() // whoever makes a container stays on its thread
		return true
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox, for an image")
	}
	t.Parallel() // each has a machine of its own, and waits for the kernel most of the time
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.timeout=300s", "-test.v="+strconv.FormatBool(testing.Verbose()))
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		name := fmt.Sprintf("/vitro-%s-%d", t.Name(), os.Getpid())
		makeCgroups(t, name)
		cmd.Env = append(cmd.Env, parent+"="+name)
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // which makes all mounts private
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("needs CAP_SYS_ADMIN, which this root lacks: %v", err)
	}
	if text := strings.TrimSpace(string(out)); err != nil || testing.Verbose() {
		t.Logf("%s", text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return false
}
