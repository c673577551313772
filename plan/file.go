// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// Dir makes a folder in the container, with its parents. One that is there
// already stays as it is.
type Dir struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"`
}

func (a *Dir) Verb() string    { return "mkdir" }
func (a *Dir) Line() string    { return "mkdir -p " + Quote(a.Path) }
func (a *Dir) Shell(s *Script) { s.Run("mkdir -p -m %o %s", a.Mode, InRoot(a.Path)) }
func (a *Dir) Lower(asm *Asm)  { Path{name: a.Path}.mkdirAll(asm, uint64(a.Mode)) }

// Touch makes an empty file in the container, with the folders above it: a
// place to mount a file on. What is there already stays as it is.
type Touch struct {
	Path string `json:"path"`
}

func (a *Touch) Verb() string    { return "touch" }
func (a *Touch) Line() string    { return "touch " + Quote(a.Path) }
func (a *Touch) Shell(s *Script) { s.mountPoint(a.Path, false) }
func (a *Touch) Lower(asm *Asm)  { Path{name: a.Path}.touch(asm) }

// Node makes a device node, with its owner and mode.
type Node struct {
	Path  string `json:"path"`
	Type  uint32 `json:"type"` // S_IFCHR, S_IFBLK, S_IFIFO
	Mode  uint32 `json:"mode"`
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	UID   uint32 `json:"uid,omitempty"`
	GID   uint32 `json:"gid,omitempty"`
	Under string `json:"under,omitempty"` // see Attach
}

func (a *Node) letter() string {
	switch a.Type {
	case unix.S_IFBLK:
		return "b"
	case unix.S_IFIFO:
		return "p"
	}
	return "c"
}

func (a *Node) numbers() string {
	if a.Type == unix.S_IFIFO {
		return ""
	}
	return fmt.Sprintf(" %d %d", a.Major, a.Minor)
}

func (a *Node) Verb() string { return "mknod" }
func (a *Node) Line() string {
	return fmt.Sprintf("mknod -m %o %s %s%s", a.Mode, Quote(a.Path), a.letter(), a.numbers())
}

func (a *Node) Shell(s *Script) {
	s.Run("mkdir -p %s; mknod -m %o %s %s%s", InRoot(path.Dir(a.Path)), a.Mode, InRoot(a.Path), a.letter(), a.numbers())
	if a.UID != 0 || a.GID != 0 {
		s.Run("chown %d:%d %s", a.UID, a.GID, InRoot(a.Path))
	}
}

// Lower needs the umask to be 0.
func (a *Node) Lower(asm *Asm) {
	p := Path{a.Path, a.Under}
	p.above(asm)
	dir, name := p.parent(asm)
	asm.Do(SysMknodat, dir, Str(name), Octal.As(uint64(a.Type|a.Mode)),
		Num(unix.Mkdev(a.Major, a.Minor), ""))
	if a.UID != 0 || a.GID != 0 {
		asm.Do(SysFchownat, dir, Str(name), Int(int(a.UID)), Int(int(a.GID)), Num(unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"))
	}
}

// Symlink makes a symbolic link. What is there already stays.
type Symlink struct {
	Target string `json:"target"`
	Path   string `json:"path"`
	Under  string `json:"under,omitempty"` // see Attach
}

func (a *Symlink) Verb() string { return "symlink" }
func (a *Symlink) Line() string { return "ln -s " + Quote(a.Target, a.Path) }
func (a *Symlink) Shell(s *Script) {
	s.Run("[ -e %s ] || ln -s %s %s", InRoot(a.Path), Quote(a.Target), InRoot(a.Path))
}

func (a *Symlink) Lower(asm *Asm) {
	dir, name := Path{a.Path, a.Under}.parent(asm)
	asm.Do(SysSymlinkat, Str(a.Target), dir, Str(name))
	asm.Allow(unix.EEXIST)
}

// Sysctl writes a kernel parameter of the container's namespaces. Proc is the
// handle of its /proc, so that no other file system can stand in for it
// (CVE-2019-16884, CVE-2025-52881).
type Sysctl struct {
	Path  string `json:"path"` // "net/ipv4/ip_forward"
	Value string `json:"value"`
	Proc  string `json:"proc"`
}

func (a *Sysctl) Verb() string    { return "sysctl" }
func (a *Sysctl) Line() string    { return fmt.Sprintf("write %q to /proc/sys/%s", a.Value, a.Path) }
func (a *Sysctl) Shell(s *Script) { s.Run("echo %s >%s", Quote(a.Value), Quote("/proc/sys/"+a.Path)) }
func (a *Sysctl) Lower(asm *Asm) {
	how := openHow(unix.O_WRONLY, "{O_WRONLY, RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_XDEV}",
		unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
	fd := asm.Get(SysOpenat2, asm.Use(a.Proc), Str("sys/"+a.Path), how, Int(openHowSz))
	asm.Do(SysWrite, fd, Str(a.Value), Int(len(a.Value)))
}

// Hostname sets the name of the uts namespace.
type Hostname struct {
	Name string `json:"name"`
}

func (a *Hostname) Verb() string    { return "hostname" }
func (a *Hostname) Line() string    { return "hostname " + Quote(a.Name) }
func (a *Hostname) Shell(s *Script) { s.Run("hostname %s", Quote(a.Name)) }
func (a *Hostname) Lower(asm *Asm)  { asm.Do(SysSethostname, Str(a.Name), Int(len(a.Name))) }

// Domainname sets the NIS domain name of the uts namespace.
type Domainname struct {
	Name string `json:"name"`
}

func (a *Domainname) Verb() string    { return "domainname" }
func (a *Domainname) Line() string    { return "domainname " + Quote(a.Name) }
func (a *Domainname) Shell(s *Script) { s.Run("domainname %s", Quote(a.Name)) }
func (a *Domainname) Lower(asm *Asm)  { asm.Do(SysSetdomainname, Str(a.Name), Int(len(a.Name))) }

// LinkUp sets a network interface up: "lo", which every new network namespace
// has, and has down.
type LinkUp struct {
	Name string `json:"name"`
}

func (a *LinkUp) Verb() string    { return "link-up" }
func (a *LinkUp) Line() string    { return "ip link set " + a.Name + " up" }
func (a *LinkUp) Shell(s *Script) { s.Run("ip link set %s up", Quote(a.Name)) }
func (a *LinkUp) Lower(asm *Asm) {
	b := make([]byte, 40) // struct ifreq
	copy(b[:unix.IFNAMSIZ-1], a.Name)
	b[16] = unix.IFF_UP | unix.IFF_RUNNING
	fd := asm.Get(SysSocket, Num(unix.AF_INET, "AF_INET"), Num(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, "SOCK_DGRAM|SOCK_CLOEXEC"), Int(0))
	asm.Do(SysIoctl, fd, Num(unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"), Buf(b, "{IFF_UP|IFF_RUNNING}"))
}
