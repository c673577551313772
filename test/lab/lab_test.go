// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	lessons "vitro/lab"
)

// asRoot is how an ordinary user begins, says each lesson.
var asRoot = strings.Fields("unshare --user --map-root-user --mount")

// terminals opens the two terminals of a lesson.
func terminals(t *testing.T) (byHand, withVitro *shell) {
	t.Helper()
	var wrap []string
	if os.Geteuid() != 0 {
		if out, err := exec.Command(asRoot[0], append(asRoot[1:], "true")...).CombinedOutput(); err != nil {
			t.Skipf("needs user namespaces for ordinary users: %s", out)
		}
		wrap = asRoot
	}
	byHand, withVitro = open(t, wrap...), open(t)
	for _, s := range []*shell{byHand, withVitro} {
		s.must(`sleep() { command sleep $(($1 * ` + st.slow + `)); }`)
	}
	return byHand, withVitro
}

// possible skips a lesson that this user or machine can't do.
func possible(t *testing.T, l lessons.Lesson) {
	t.Helper()
	if m := l.Missing(); len(m) > 0 {
		t.Skipf("needs the programs %s", strings.Join(m, ", "))
	}
	if l.Root && os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func list(t *testing.T) []lessons.Lesson {
	t.Helper()
	all, err := lessons.Lessons()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// applies says whether a block is for this machine.
func applies(b lessons.Block) bool { return b.Only == "" || b.Only == lessons.Version() }

// All lessons in order, as a student takes them.
func TestLessons(t *testing.T) {
	before := surroundings(t)
	one, two := terminals(t)
	for _, l := range list(t) {
		t.Run(l.Name, func(t *testing.T) {
			possible(t, l)
			one.t, two.t = t, t
			if out, status := one.do("vitro lab check " + l.Name); status != 1 && l.Name != "clean" {
				t.Fatalf("before the lesson, check says: %s", out)
			}
			for _, b := range l.Blocks() {
				for _, c := range b.Commands() {
					switch {
					case !applies(b):
					case b.Section == "By hand":
						one.try(c)
					default:
						two.try(c)
					}
				}
			}
			done := func() bool { _, status := one.do("cd; vitro lab check " + l.Name); return status == 0 }
			if !eventually(done, true) {
				t.Errorf("after the lesson, check says: %s", one.must("vitro lab check "+l.Name+"; true"))
			}
		})
	}
	one.t, two.t = t, t
	one.must("cd; vitro lab clean")
	if after := surroundings(t); after != before {
		t.Errorf("something is left; before:\n%s\nafter:\n%s", before, after)
	}
}

// What can be wrong with a lesson that was done, and how check tells of it.
func TestCheckSeesWhatIsWrong(t *testing.T) {
	one, _ := terminals(t)
	defer func() { one.must("cd; vitro lab clean") }()
	faults := []struct{ lesson, fault, want string }{
		{"root", "rm -r $LAB/root/sys", "root/sys: no such file"},
		{"root", "mkdir $LAB/root/sys; cp --remove-destination $(command -v ls) $LAB/root/bin/busybox", "dynamic"},
		{"overlay", "echo more >>$LAB/overlay/lower2/changed", "lower2/changed"},
		{"overlay", "rm $LAB/overlay/upper/hidden; echo here >$LAB/overlay/upper/hidden", "a file of its own"},
		{"overlay", "umount $LAB/overlay/merged", "nothing is mounted at"},
		{"private", "cp $LAB/private/upper/MANIFEST $LAB/root", "all containers on that layer"},
		{"uts", "nsenter --target $PID --uts hostname another", "want lab-uts, not another"},
		{"uts", "kill -9 $PID; sleep 1", "there is none"},
		{"pid", "nsenter --target $PID --pid --mount umount /proc", "number 1 in there"},
		{"mnt", "nsenter --target $PID --mount umount $LAB/mnt/place", "nothing is mounted at"},
		{"ipc", "nsenter --target $PID --ipc ipcrm -a", "there is none"},
		{"net", "nsenter --target $PID --net ip link set lo down", "lo is down"},
		{"net", "nsenter --target $PID --net ip link add lab-x type bridge", "there is lab-x"},
		{"time", "kill -9 $PID; sleep 1; VITRO_LAB=$LAB/time unshare --time --boottime 5 --fork sleep 1000 & sleep 1", "want 864000, not 5"},
		{"caps", "kill -9 $PID; sleep 1; VITRO_LAB=$LAB/caps unshare --user --map-root-user --uts sleep 1000 & sleep 1", "CapPrm"},
		{"caps", "kill -9 $!; sleep 1; VITRO_LAB=$LAB/caps unshare --user --map-root-user setpriv --bounding-set=-all,+chown,+kill sleep 1000 & sleep 1", "its owner is"},
		{"cpu", "echo 20000 >$CG/cpu.max 2>/dev/null || echo 20000 >$CG/cpu.cfs_quota_us", "20000"},
		{"cpu", "rmdir $CG", "there is no"},
		{"memory", "echo 20M >$CG/memory.max 2>/dev/null || echo 20M >$CG/memory.limit_in_bytes", "20971520"},
		{"pids", "echo max >$CG/pids.max", "want 30, not max"},
		{"delegate", "chown 0 $CG/cgroup.procs", "cgroup.procs is user 0's"},
		{"veth", "ip link set lab-0 down", "lab-0 is down"},
		{"bridge", "ip netns exec lab-host sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'", "want 1, not 0"},
		{"bridge", "ip -n lab-host link set lab-a nomaster", "lab-a is not"},
		{"bridge", "ip netns exec lab-host nft delete table ip vitro-lab", "masquerades"},
	}
	done := ""
	for _, f := range faults {
		l, err := lessons.Find(f.lesson)
		if err != nil {
			t.Fatal(err)
		}
		if l.Root && os.Geteuid() != 0 || len(l.Missing()) > 0 {
			continue
		}
		if done != f.lesson {
			take(one, l)
			done = f.lesson
		}
		one.do(f.fault)
		out, status := one.do("vitro lab check " + f.lesson)
		if status != 1 || !strings.Contains(out, f.want) || !strings.Contains(out, "see: ") {
			t.Errorf("%s, %s: status %d: %s\nwant: %s", f.lesson, f.fault, status, out, f.want)
		}
		if f.lesson == "root" && strings.Contains(f.fault, "busybox") {
			one.must("rm -r $LAB/root")
			take(one, l)
		}
	}
}

// take does the part of a lesson that is done by hand.
func take(s *shell, l lessons.Lesson) {
	for _, c := range byHand(l) {
		s.do(c.Text)
	}
}

func byHand(l lessons.Lesson) (list []lessons.Command) {
	for _, b := range l.Blocks() {
		if applies(b) && b.Section == "By hand" {
			list = append(list, b.Commands()...)
		}
	}
	return list
}

// A student gives up in the middle, and vitro lab clean is killed twice before
// it is let be.
func TestCleanAtAnyMoment(t *testing.T) {
	before := surroundings(t)
	random := rand.New(rand.NewPCG(1, 2))
	all := list(t)
	for _, l := range all {
		if l.Name == "root" || l.Name == "clean" || l.Root && os.Geteuid() != 0 || len(l.Missing()) > 0 {
			continue
		}
		t.Run(l.Name, func(t *testing.T) {
			one, _ := terminals(t)
			one.must("sleep() { command sleep .3; }")
			take(one, all[0])
			commands := byHand(l)
			if l.Name == "nc" || l.Name == "nsenter" {
				take(one, all[l.Number-2])
			}
			for _, c := range commands[:1+random.IntN(len(commands))] {
				one.do(c.Text)
			}
			one.must("cd")
			for range 2 {
				one.must("vitro lab clean >/dev/null 2>&1 & command sleep ." + []string{"005", "01", "02", "04"}[random.IntN(4)] + "; kill -9 $!; true")
			}
			if out, status := one.do("vitro lab clean"); status != 0 {
				t.Errorf("clean: status %d: %s", status, out)
			}
			one.in.Close() // the shell's own mounts go with it
			if after := eventually(func() string { return surroundings(t) }, before); after != before {
				t.Errorf("something is left; before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// eventually asks until the answer is the one wanted, for half a minute: what
// is measured takes its time on a busy machine.
func eventually[T comparable](ask func() T, want T) T {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if got := ask(); got == want || time.Now().After(end) {
			return got
		}
	}
}

// Clean touches nothing that only looks like the lab's.
func TestCleanLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t)
	s.must("cd " + dir + "; mkdir theirs other; echo x >theirs/file; vitro lab --dir other/lab dir")
	if out, status := s.do("vitro lab --dir theirs clean"); status == 0 || !strings.Contains(out, "is no folder of the lab's") {
		t.Errorf("a folder that is no lab: status %d: %s", status, out)
	}
	if out, status := s.do("vitro lab --dir theirs dir"); status == 0 || !strings.Contains(out, "hint:") {
		t.Errorf("begin where files are: status %d: %s", status, out)
	}
	// A link out of the folder, a process of another lab, one with the mark in its arguments only, one whose mark begins alike.
	s.must("ln -s ../../theirs other/lab/out; ln -s ../../theirs/file other/lab/file")
	pids := s.must(`VITRO_LAB=$PWD/theirs/x sleep 1000 & echo $!; sh -c 'sleep 1000; : VITRO_LAB=other/lab/x' & echo $!; VITRO_LAB=$PWD/other/lab2/x sleep 1000 & echo $!`)
	marked := s.must(`VITRO_LAB=$PWD/other/lab/x sleep 1000 & echo $!`)
	s.must("vitro lab --dir other/lab clean")
	if out := s.must("cat theirs/file; ls other"); out != "x" {
		t.Errorf("after clean: %q", out)
	}
	for _, pid := range strings.Fields(pids) {
		if _, status := s.do("kill -9 " + pid); status != 0 {
			t.Errorf("process %s was killed", pid)
		}
	}
	if _, status := s.do("wait " + marked); status != 128+int(syscall.SIGKILL) {
		t.Errorf("the lab's process ended with status %d", status)
	}
}

// Who exports the mark has it on the shell's children, vitro lab clean too.
func TestCleanSparesItsOwn(t *testing.T) {
	s := open(t)
	s.must("export VITRO_LAB=$(vitro lab dir)/uts; sleep 1000 &")
	if out, status := s.do("sh -c 'vitro lab clean; echo still here'"); status != 0 || !strings.Contains(out, "processes: 1") || !strings.Contains(out, "still here") {
		t.Errorf("status %d: %s", status, out)
	}
}

// What check reads was put there by somebody who means ill.
func TestHostileFiles(t *testing.T) {
	one, _ := terminals(t)
	defer func() { one.must("cd; vitro lab clean") }()
	one.must(`cd "$(vitro lab dir)" && mkdir -p overlay/merged overlay/upper overlay/lower2 shares archive root/bin && mkfifo overlay/upper/changed nc shares/a archive/lab.tar root/bin/busybox`)
	one.must(`ln -s /dev/zero overlay/lower2/changed; ln -s /etc/passwd overlay/lower2/hidden`)
	one.must(`printf 'a\033[31m\033]0;title\007' >overlay/upper/made`)
	one.must(`mkdir "$(printf 'mnt\n\033[2J')"; VITRO_LAB="$PWD/$(printf 'x\033[2J')" sleep 1000 &`)
	out, status := one.do("timeout 60 vitro lab check")
	if status != 1 || strings.ContainsAny(out, "\x1b\a\x00") || strings.Contains(out, "root:x:0") {
		t.Errorf("status %d: %q", status, out)
	}
	for _, l := range list(t) {
		if out, status := one.do("timeout 60 vitro lab check " + l.Name); status != 1 || strings.ContainsAny(out, "\x1b\a\x00") {
			t.Errorf("%s: status %d: %q", l.Name, status, out)
		}
	}
}
