// SPDX-License-Identifier: Apache-2.0

package run

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// benchPlan has about as many steps and calls as a container of vitro-oci spec.
func benchPlan() *plan.Plan {
	p := &plan.Plan{Title: "bench"}
	p.Add("", &plan.Clone{Flags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC})
	p.Add("", &plan.Propagation{Flag: unix.MS_PRIVATE | unix.MS_REC})
	for _, target := range []string{"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/run", "/tmp"} {
		p.Add("", &plan.NewFS{Type: "tmpfs", Target: target, Options: []string{"size=64k", "mode=0755"}, Attr: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC})
	}
	p.Add("", &plan.MaskSource{})
	for range 10 {
		p.Add("", &plan.Bind{Source: "/etc", Target: "/etc", Recursive: true, Set: unix.MOUNT_ATTR_RDONLY, Share: unix.MS_PRIVATE | unix.MS_REC})
		p.Add("", &plan.Umask{Mask: 0o22})
	}
	p.Add("", &plan.BoundingSet{Keep: 1 << unix.CAP_CHOWN, Last: 40})
	p.Add("", &plan.CloseOthers{From: 3})
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/root"}
	p.Add("", &plan.Exec{Paths: []string{"/nowhere/a", "/nowhere/true", "/bin/true"}, Args: []string{"true"}, Env: env})
	return p
}

func BenchmarkLower(b *testing.B) {
	p := benchPlan()
	for b.Loop() {
		p.Lower()
	}
}

func BenchmarkLink(b *testing.B) {
	p := benchPlan()
	for b.Loop() {
		if err := newLinker(nil, p).link(p, &Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart makes a child and has it end, with a heap that a copy of the
// page tables would cost something for.
func BenchmarkStart(b *testing.B) {
	heap := make([]byte, 64<<20)
	for i := 0; i < len(heap); i += 4096 {
		heap[i] = 1
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := &plan.Plan{}
	p.Add("", &plan.Clone{})
	p.Add("", &plan.Exec{Paths: []string{"/bin/true"}, Args: []string{"true"}})
	for b.Loop() {
		c, err := Start(p, Options{})
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(c.Pidfd)
		if _, _, err := c.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	runtime.KeepAlive(heap)
}
