// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Proc is the handle of the host's /proc, which the host has checked to be
// procfs. Child steps find their own process in it, whatever is mounted where in
// the container.
const Proc = "proc"

// openSelf opens a file of the child's own, below /proc/thread-self or
// /proc/self. No other file system can stand in for it, and no file be mounted
// on it (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
func openSelf(asm *Asm, name string, flags uint64, text string) Arg {
	how := openHow(flags, "{"+text+", RESOLVE_BENEATH|RESOLVE_NO_XDEV|RESOLVE_NO_MAGICLINKS}",
		unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)
	return asm.Get(SysOpenat2, asm.Use(Proc), Str(name), how, Int(openHowSz))
}

// Label tells a security module what the process is to be: which profile or
// label from its next exec on, or for the keys that it makes. The file is one
// of /proc/thread-self: "attr/exec".
type Label struct {
	File  string `json:"file"`
	Value string `json:"value"`
	// Option is that of setpriv(1) which does the same, with its value.
	Option []string `json:"option,omitempty"`
}

func (a *Label) Verb() string { return "label" }
func (a *Label) Line() string {
	return fmt.Sprintf("write %q to /proc/thread-self/%s", a.Value, a.File)
}

func (a *Label) Shell(s *Script) {
	if len(a.Option) > 0 {
		s.Privs("%s", Quote(a.Option...))
	}
}

func (a *Label) Lower(asm *Asm) {
	fd := openSelf(asm, "thread-self/"+a.File, unix.O_WRONLY, "O_WRONLY")
	asm.Do(SysWrite, fd, Str(a.Value), Int(len(a.Value)))
}

// EnterCgroup moves the child into the cgroup namespace of the process behind a
// pidfd, of which the name is Pidfd. It comes behind the birth in that process's
// cgroup: with cgroup2's option nsdelegate, systemd's, nobody may move a process
// across the root of the cgroup namespace that he is in himself.
type EnterCgroup struct {
	Pidfd string `json:"pidfd"`
	PID   int    `json:"pid,omitempty"` // of that process, for people
}

func (a *EnterCgroup) Verb() string { return "enter-cgroup" }
func (a *EnterCgroup) Line() string {
	return fmt.Sprintf("setns [pidfd of %d] CLONE_NEWCGROUP", a.PID)
}
func (a *EnterCgroup) Shell(s *Script) {} // nsenter(1) is in it already
func (a *EnterCgroup) Lower(asm *Asm) {
	asm.Do(SysSetns, asm.Use(a.Pidfd), Namespaces.As(unix.CLONE_NEWCGROUP))
}

// EnterTime moves the child into the time namespace that it has made. Its
// offsets can be written only as long as nobody is in it (time_namespaces(7)): so
// the child isn't born there, but makes it, has it set, and then enters.
//
// From here on the child's clock is another than the host's: later steps are
// not timed.
type EnterTime struct{}

func (a *EnterTime) Verb() string    { return "enter-time" }
func (a *EnterTime) Line() string    { return "setns /proc/self/ns/time_for_children" }
func (a *EnterTime) Shell(s *Script) {} // the next exec enters it (Linux 6.1)
func (a *EnterTime) Lower(asm *Asm) {
	dir := openSelf(asm, "self/ns", unix.O_PATH|unix.O_DIRECTORY, "O_PATH|O_DIRECTORY")
	// The link is procfs's own: nothing else can be in the folder.
	ns := asm.Get(SysOpenat, dir, Str("time_for_children"), Num(unix.O_RDONLY|unix.O_CLOEXEC, "O_RDONLY|O_CLOEXEC"), Int(0))
	asm.Do(SysSetns, ns, Namespaces.As(unix.CLONE_NEWTIME))
	asm.Untimed()
}
