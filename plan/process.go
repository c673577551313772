// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Sync is the handle of the child's end of the socket between it and the host.
const Sync = "sync"

// Await splits the making of a container from its start: the child tells the
// host that it is ready, and waits for another process to say so. It needs
// nothing but read(2) and write(2) from here on, since a filter may be in force.
type Await struct {
	In  string `json:"in"`  // handle of the FIFO that is read from
	Out string `json:"out"` // handle of the one that is written to
}

func (a *Await) Verb() string    { return "await" }
func (a *Await) Line() string    { return "wait for the start" }
func (a *Await) Shell(s *Script) { s.Note("a script makes and starts a container at once") }

// Lower tells; package run adds the wait, and has the child use the FIFOs from then on.
func (a *Await) Lower(asm *Asm) {
	asm.Do(SysWrite, asm.Use(Sync), Str("w"), Int(1))
}

// EnterIDs makes the child the user and group 0 of its new user namespace, as
// which it does the rest, and drops the groups that it was born with.
type EnterIDs struct {
	// KeepGroups: the namespace forbids setgroups(2), as one must that an
	// ordinary user has made without newgidmap(1) (user_namespaces(7)).
	KeepGroups bool `json:"keepGroups,omitempty"`
	// Joined: somebody else has made the namespace, and may have forbidden it.
	Joined bool `json:"joined,omitempty"`
	// UID and GID are others than 0 where 0 is not mapped. The capabilities are
	// there all the same.
	UID uint32 `json:"uid,omitempty"`
	GID uint32 `json:"gid,omitempty"`
}

func (a *EnterIDs) Verb() string { return "become-root" }
func (a *EnterIDs) Line() string { return fmt.Sprintf("setresuid %d, setresgid %d", a.UID, a.GID) }
func (a *EnterIDs) Shell(s *Script) {
	groups := "--clear-groups"
	if a.KeepGroups {
		groups = "--keep-groups"
	}
	s.InUser(a.KeepGroups)
	s.Reexec(fmt.Sprintf("setpriv --reuid %d --regid %d %s", a.UID, a.GID, groups))
}

func (a *EnterIDs) Lower(asm *Asm) {
	if !a.KeepGroups {
		asm.Do(SysSetgroups, Int(0), Num(0, "NULL"))
		if a.Joined {
			asm.Allow(unix.EPERM)
		}
	}
	uid, gid := Int(int(a.UID)), Int(int(a.GID))
	asm.Do(SysSetresgid, gid, gid, gid)
	asm.Do(SysSetresuid, uid, uid, uid)
}

// Session makes the child the leader of a session of its own, without a
// terminal, with a keyring of its own and the given umask.
type Session struct {
	Keyring bool `json:"keyring,omitempty"`
}

func (a *Session) Verb() string { return "setsid" }
func (a *Session) Line() string { return "setsid" }
func (a *Session) Shell(s *Script) {
	s.Note("setsid: a shell's child has its session by then; a new keyring needs keyctl(1)")
}

// Lower goes on where there are no keys (ENOSYS), or no quota of them left.
func (a *Session) Lower(asm *Asm) {
	asm.Do(SysSetsid)
	asm.Allow(unix.EPERM) // it leads a session already: a fork never does, a restored process may
	if a.Keyring {
		asm.Do(SysKeyctl, Num(unix.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"), Num(0, "NULL"))
		asm.Allow(unix.ENOSYS, unix.EPERM, unix.EDQUOT)
	}
}

// Umask sets the file mode creation mask.
type Umask struct {
	Mask uint32 `json:"mask"`
}

func (a *Umask) Verb() string { return "umask" }
func (a *Umask) Line() string { return fmt.Sprintf("umask %04o", a.Mask) }
func (a *Umask) Shell(s *Script) {
	if a.Mask != 0 { // a shell's mkdir and mknod are given modes, or follow the script's mask
		s.Run("umask %04o", a.Mask)
	}
}
func (a *Umask) Lower(asm *Asm) { asm.Do(SysUmask, Octal.As(uint64(a.Mask))) }

// Console opens a terminal in the container's own devpts, sends its other
// side to the host, and makes it the child's controlling terminal and standard
// streams. No path is involved that the container could have a say in
// (CVE-2025-52565): the terminal comes from the descriptor of the devpts mount.
type Console struct {
	Pts    string `json:"pts"`              // handle of the devpts mount, its path with Found
	Found  bool   `json:"found,omitempty"`  // it is found in a running container
	Target string `json:"target,omitempty"` // where to bind it: "/dev/console"
	Rows   uint16 `json:"rows,omitempty"`
	Cols   uint16 `json:"cols,omitempty"`
	UID    uint32 `json:"uid,omitempty"` // the terminal's owner
	// LineFeeds has a line end with a line feed alone, without a carriage return.
	LineFeeds bool `json:"lineFeeds,omitempty"`
}

func (a *Console) Verb() string { return "console" }
func (a *Console) Line() string {
	return "open a terminal of the container's own devpts, as standard streams and " + a.Target
}

func (a *Console) Shell(s *Script) {
	s.Note("the terminal: a shell can't send one to its parent; the command runs on the caller's (script(1) would make one)")
}

func (a *Console) Lower(asm *Asm) {
	pts := asm.Use(a.Pts)
	if a.Found { // whatever the container has put there: TIOCGPTPEER goes for a terminal only, and its own
		pts = Path{name: a.Pts}.open(asm, folder)
	}
	master := asm.Get(SysOpenat, pts, Str("ptmx"), Num(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, "O_RDWR|O_NOCTTY|O_CLOEXEC"), Int(0))
	asm.Do(SysIoctl, master, Num(unix.TIOCSPTLCK, "TIOCSPTLCK"), Buf(make([]byte, 4), "[0]"))
	slave := asm.Get(SysIoctl, master, Num(unix.TIOCGPTPEER, "TIOCGPTPEER"), Num(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, "O_RDWR|O_NOCTTY|O_CLOEXEC"))
	if a.Rows != 0 || a.Cols != 0 {
		ws := make([]byte, 8) // struct winsize
		binary.NativeEndian.PutUint16(ws[0:], a.Rows)
		binary.NativeEndian.PutUint16(ws[2:], a.Cols)
		asm.Do(SysIoctl, master, Num(unix.TIOCSWINSZ, "TIOCSWINSZ"), Pair16.Of(ws))
	}
	if a.LineFeeds {
		asm.Do(SysIoctl, slave, Num(unix.TCSETS, "TCSETS"), Buf(lineFeeds(), "{OPOST, …}"))
	}
	if a.UID != 0 {
		asm.Do(SysFchownat, slave, Str(""), Int(int(a.UID)), Num(0xffffffff, "-1"), Num(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"))
	}
	if a.Target != "" {
		tty := openTree(asm, slave, "", false)
		Path{name: a.Target}.touch(asm)
		moveMount(asm, tty, Path{name: a.Target}.open(asm, placeNoLinks), "")
	}
	// The message names descriptor 0: what it holds is replaced right after.
	asm.Do(SysDup3, master, Int(0), Int(0))
	asm.Do(SysSendmsg, asm.Use(Sync), sendFD0(), Int(0))
	asm.Do(SysIoctl, slave, Num(unix.TIOCSCTTY, "TIOCSCTTY"), Int(0))
	for fd := range 3 {
		asm.Do(SysDup3, slave, Int(fd), Int(0))
	}
}

// lineFeeds is struct termios as a new terminal has it (drivers/tty/tty_io.c,
// tty_std_termios; drivers/tty/pty.c), but for ONLCR.
func lineFeeds() []byte {
	t := make([]byte, 36)
	for i, flags := range [...]uint32{
		unix.ICRNL | unix.IXON, unix.OPOST, unix.B38400 | unix.CS8 | unix.CREAD,
		unix.ISIG | unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE | unix.IEXTEN,
	} {
		binary.NativeEndian.PutUint32(t[4*i:], flags)
	}
	cc := t[17:]
	for i, key := range map[int]byte{
		unix.VINTR: 3, unix.VQUIT: 28, unix.VERASE: 127, unix.VKILL: 21, unix.VEOF: 4, unix.VMIN: 1, unix.VSTART: 17, unix.VSTOP: 19,
		unix.VSUSP: 26, unix.VREPRINT: 18, unix.VDISCARD: 15, unix.VWERASE: 23, unix.VLNEXT: 22,
	} {
		cc[i] = key
	}
	return t
}

// sendFD0 is a message with one byte, 'c', and descriptor 0.
func sendFD0() Arg {
	msg := make([]byte, 56)  // struct msghdr
	iov := make([]byte, 16)  // struct iovec
	cmsg := make([]byte, 24) // struct cmsghdr and a descriptor
	binary.NativeEndian.PutUint64(iov[8:], 1)
	binary.NativeEndian.PutUint64(cmsg[0:], 20)
	binary.NativeEndian.PutUint32(cmsg[8:], unix.SOL_SOCKET)
	binary.NativeEndian.PutUint32(cmsg[12:], unix.SCM_RIGHTS)
	binary.NativeEndian.PutUint64(msg[24:], 1)
	binary.NativeEndian.PutUint64(msg[40:], uint64(len(cmsg)))
	vec := Buf(iov, "", Reloc{0, Buf([]byte{'c'}, "")})
	return Buf(msg, `{"c", SCM_RIGHTS [0]}`, Reloc{16, vec}, Reloc{32, Buf(cmsg, "")})
}

// Stdio puts descriptors that the host has opened in the place of the standard streams.
type Stdio struct {
	Handles [3]string `json:"handles"` // empty: keep
}

func (a *Stdio) Verb() string    { return "stdio" }
func (a *Stdio) Line() string    { return "standard streams: " + strings.Join(a.Handles[:], " ") }
func (a *Stdio) Shell(s *Script) { s.Note("standard streams: the caller's") }
func (a *Stdio) Lower(asm *Asm) {
	for fd, h := range a.Handles {
		if h != "" {
			asm.Do(SysDup3, asm.Use(h), Int(fd), Int(0))
		}
	}
}

// Chdir changes to the container's working directory, which has to be in the
// container (CVE-2024-21626). A folder that is closed to root without power over
// other's files, as in a user namespace, is tried again as its user.
type Chdir struct {
	Path string `json:"path"`
	UID  uint32 `json:"uid,omitempty"`
	Host bool   `json:"host,omitempty"` // a program of the host's: its path is not one of the container's root
}

func (a *Chdir) Verb() string    { return "chdir" }
func (a *Chdir) Line() string    { return "chdir " + Quote(a.Path) }
func (a *Chdir) Shell(s *Script) {} // the shell does it last, as the container's user
func (a *Chdir) Lower(asm *Asm) {
	if a.Host {
		asm.Do(SysChdir, Str(a.Path))
		return
	}
	fd := Path{name: a.Path}.open(asm, folder)
	asm.Do(SysFchdir, fd)
	if a.UID == 0 {
		return
	}
	asm.Allow(unix.EACCES)
	asm.Last().SkipOK = 3
	same := Num(math.MaxUint64, "-1")
	asm.Do(SysSetresuid, same, Num(uint64(a.UID), ""), same)
	asm.Do(SysFchdir, fd)
	asm.Do(SysSetresuid, same, Num(0, ""), same)
}

// NoNewPrivs forbids the child and its children any gain of privilege by exec.
type NoNewPrivs struct{}

func (a *NoNewPrivs) Verb() string    { return "no-new-privs" }
func (a *NoNewPrivs) Line() string    { return "prctl PR_SET_NO_NEW_PRIVS" }
func (a *NoNewPrivs) Shell(s *Script) { s.Privs("--no-new-privs") }
func (a *NoNewPrivs) Lower(asm *Asm) {
	asm.Do(SysPrctl, Num(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS"), Int(1), Int(0), Int(0), Int(0))
}

// Seccomp loads a system call filter. What follows has to pass it.
type Seccomp struct {
	Filter []byte `json:"-"` // struct sock_filter, many
	Flags  uint   `json:"flags,omitempty"`
	Count  int    `json:"instructions"`
}

func (a *Seccomp) Verb() string { return "seccomp" }
func (a *Seccomp) Line() string { return fmt.Sprintf("seccomp filter, %d instructions", a.Count) }
func (a *Seccomp) Shell(s *Script) {
	s.Note("seccomp: no shell command loads a filter; this container goes without one")
}
func (a *Seccomp) Lower(asm *Asm) {
	prog := make([]byte, 16) // struct sock_fprog: len, pointer
	binary.NativeEndian.PutUint16(prog, uint16(len(a.Filter)/8))
	arg := Buf(prog, "{the filter}", Reloc{8, Buf(a.Filter, "")})
	asm.Do(SysSeccomp, Num(unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), Int(int(a.Flags)), arg)
	asm.Untimed()
}

// BoundingSet drops what no program of the container may ever have.
type BoundingSet struct {
	Keep CapSet `json:"keep"`
	Last int    `json:"last"` // the highest capability that the kernel knows
}

func (a *BoundingSet) Verb() string { return "bounding-set" }
func (a *BoundingSet) Line() string { return "keep in the bounding set: " + a.Keep.String() }
func (a *BoundingSet) Shell(s *Script) {
	s.Privs("--bounding-set=-all%s", a.Keep.plus())
}

func (a *BoundingSet) Lower(asm *Asm) {
	for c := 0; c <= a.Last; c++ {
		if !a.Keep.Has(c) {
			asm.Do(SysPrctl, Num(unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"), Capability.As(uint64(c)), Int(0), Int(0), Int(0))
		}
	}
}

// User makes the child the user of the container's process, and keeps the
// permitted capabilities for the step that sets them.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
	// KeepGroups: see EnterIDs.
	KeepGroups bool `json:"keepGroups,omitempty"`
}

func (a *User) Verb() string { return "user" }
func (a *User) Line() string {
	if a.KeepGroups {
		return fmt.Sprintf("uid %d, gid %d, groups as they are", a.UID, a.GID)
	}
	return fmt.Sprintf("uid %d, gid %d, groups %d", a.UID, a.GID, a.Groups)
}

func (a *User) Shell(s *Script) {
	groups := "--clear-groups"
	if a.KeepGroups {
		groups = "--keep-groups"
	} else if len(a.Groups) > 0 {
		groups = "--groups=" + strings.ReplaceAll(strings.Trim(fmt.Sprint(a.Groups), "[]"), " ", ",")
	}
	s.Privs("--reuid=%d --regid=%d %s", a.UID, a.GID, groups)
}

func (a *User) Lower(asm *Asm) {
	asm.Do(SysPrctl, Num(unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"), Int(1), Int(0), Int(0), Int(0))
	if !a.KeepGroups {
		b := make([]byte, 4*len(a.Groups))
		for i, g := range a.Groups {
			binary.NativeEndian.PutUint32(b[4*i:], g)
		}
		asm.Do(SysSetgroups, Int(len(a.Groups)), Buf(b, "[groups]"))
	}
	g, u := Int(int(a.GID)), Int(int(a.UID))
	asm.Do(SysSetresgid, g, g, g)
	asm.Do(SysSetresuid, u, u, u)
	asm.Do(SysPrctl, Num(unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS"), Int(0), Int(0), Int(0), Int(0))
}

// Capabilities sets the thread's own sets, and the ambient one.
type Capabilities struct {
	Effective   CapSet `json:"effective"`
	Permitted   CapSet `json:"permitted"`
	Inheritable CapSet `json:"inheritable"`
	Ambient     CapSet `json:"ambient"`
}

func (a *Capabilities) Verb() string { return "capabilities" }
func (a *Capabilities) Line() string {
	line := "permitted: " + a.Permitted.String()
	for _, set := range []struct {
		name string
		set  CapSet
	}{{"effective", a.Effective}, {"inheritable", a.Inheritable}, {"ambient", a.Ambient}} {
		if set.set != a.Permitted && set.set != 0 {
			line += ", " + set.name + ": " + set.set.String()
		}
	}
	return line
}

func (a *Capabilities) Shell(s *Script) {
	s.Privs("--inh-caps=-all%s", a.Inheritable.plus())
	if a.Ambient != 0 {
		s.Privs("--ambient-caps=-all%s", a.Ambient.plus())
	}
}

func (a *Capabilities) Lower(asm *Asm) {
	head := make([]byte, 8) // struct __user_cap_header_struct: version, pid
	binary.NativeEndian.PutUint32(head, unix.LINUX_CAPABILITY_VERSION_3)
	data := make([]byte, 24) // struct __user_cap_data_struct, two
	for i, set := range []CapSet{a.Effective, a.Permitted, a.Inheritable} {
		binary.NativeEndian.PutUint32(data[4*i:], uint32(set))
		binary.NativeEndian.PutUint32(data[12+4*i:], uint32(set>>32))
	}
	asm.Do(SysCapset, Buf(head, "{v3}"), Buf(data, "{the sets}"))
	for c := range 64 {
		if a.Ambient.Has(c) {
			asm.Do(SysPrctl, Num(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"), Num(unix.PR_CAP_AMBIENT_RAISE, "PR_CAP_AMBIENT_RAISE"), Capability.As(uint64(c)), Int(0), Int(0))
		}
	}
}

// DieWith has the kernel kill the child when the process that watches it ends,
// so that no container is left that nobody looks after.
type DieWith struct{}

func (a *DieWith) Verb() string    { return "die-with-parent" }
func (a *DieWith) Line() string    { return "prctl PR_SET_PDEATHSIG SIGKILL" }
func (a *DieWith) Shell(s *Script) { s.Privs("--pdeathsig KILL") }

// Lower asks too whether that process is still there: the kernel sends no
// signal for one that has ended before. To nobody, nothing can be written (EPIPE).
func (a *DieWith) Lower(asm *Asm) {
	asm.Do(SysPrctl, Num(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG"), Num(uint64(unix.SIGKILL), "SIGKILL"), Int(0), Int(0), Int(0))
	asm.Do(SysWrite, asm.Use(Sync), Str("i"), Int(1))
}

// Nofile lowers the child's own limit on descriptors, when the set-up, which
// needs more of them, has opened the last one.
type Nofile struct {
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

func (a *Nofile) Verb() string    { return "rlimit" }
func (a *Nofile) Line() string    { return fmt.Sprintf("prlimit --nofile=%d:%d", a.Soft, a.Hard) }
func (a *Nofile) Shell(s *Script) { s.Run("ulimit -Sn %d; ulimit -Hn %d", a.Soft, a.Hard) }
func (a *Nofile) Lower(asm *Asm) {
	b := make([]byte, 16) // struct rlimit64: soft, hard
	binary.NativeEndian.PutUint64(b[0:], a.Soft)
	binary.NativeEndian.PutUint64(b[8:], a.Hard)
	asm.Do(SysPrlimit64, Int(0), Num(unix.RLIMIT_NOFILE, "RLIMIT_NOFILE"), Pair64.Of(b), Num(0, "NULL"))
}

// CloseOthers closes, at the exec, every descriptor that is not the container's to have.
type CloseOthers struct {
	From int `json:"from"` // 3 and the preserved ones
}

func (a *CloseOthers) Verb() string { return "close-range" }
func (a *CloseOthers) Line() string {
	return fmt.Sprintf("close descriptors from %d on, at the exec", a.From)
}
func (a *CloseOthers) Shell(s *Script) {}
func (a *CloseOthers) Lower(asm *Asm) {
	asm.Do(SysCloseRange, Int(a.From), Num(0xffffffff, "~0"), Num(unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"))
}

// Inherit keeps a descriptor for the program that the child is going to exec,
// at a number that the program is told. The number has to be above those of the
// plan's own descriptors (InheritFrom). It comes after CloseOthers.
type Inherit struct {
	Path   string `json:"path,omitempty"`   // of the host: it is opened for reading
	Handle string `json:"handle,omitempty"` // or a descriptor that is there already
	FD     int    `json:"fd"`
}

// InheritFrom is a number that no descriptor of the set-up itself has.
const InheritFrom = 900

func (a *Inherit) Verb() string { return "inherit" }
func (a *Inherit) Line() string {
	if a.Path == "" {
		return fmt.Sprintf("descriptor %d is %s", a.FD, a.Handle)
	}
	return fmt.Sprintf("open %s as descriptor %d", Quote(a.Path), a.FD)
}

func (a *Inherit) Shell(s *Script) {
	if a.Path == "" {
		s.Note("descriptor %d is the caller's %s", a.FD, a.Handle)
		return
	}
	s.Run("exec %d<%s", a.FD, Quote(a.Path)) // as bash(1) has it: other shells take one digit
}

func (a *Inherit) Lower(asm *Asm) {
	fd := asm.Use(a.Handle)
	if a.Path != "" {
		fd = asm.Get(SysOpenat, AtFDCWD, Str(a.Path), Num(unix.O_RDONLY|unix.O_CLOEXEC, "O_RDONLY|O_CLOEXEC"), Int(0))
	}
	asm.Do(SysDup3, fd, Int(a.FD), Int(0))
}

// Keep holds a file open until a process has ended, and ends then. It is a
// child's last step, in place of an exec: such a child is a process that makes
// one call in its life, and has four pages. What would be lost with the last
// descriptor of it, the other side of a terminal, outlives by it whoever made it.
type Keep struct {
	File  string `json:"file"`  // handle
	Pidfd string `json:"pidfd"` // handle
	PID   int    `json:"pid"`   // for people
}

// KeptAt is the descriptor that a Keep has its file open as.
const KeptAt = 1

func (a *Keep) Verb() string { return "keep" }
func (a *Keep) Line() string {
	return fmt.Sprintf("keep %s open until process %d has ended", a.File, a.PID)
}
func (a *Keep) Shell(s *Script) { s.Note("%s is the caller's, and lives as long", a.File) }
func (a *Keep) Lower(asm *Asm) {
	poll := make([]byte, 8) // struct pollfd: descriptor 0
	binary.NativeEndian.PutUint16(poll[4:], unix.POLLIN)
	asm.Do(SysDup3, asm.Use(a.File), Int(KeptAt), Int(0))
	asm.Do(SysDup3, asm.Use(a.Pidfd), Int(0), Int(0))
	asm.Do(SysPrctl, Num(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), Int(1)) // whoever goes on takes the file by pidfd_getfd(2)
	asm.Do(SysCloseRange, Int(KeptAt+1), Num(0xffffffff, "~0"), Int(0))    // and so the host hears that we have come to the end
	asm.Do(SysPpoll, Buf(poll, "{0, POLLIN}"), Int(1), Num(0, "NULL"), Num(0, "NULL"))
	asm.Do(SysExitGroup, Int(0))
}

// Lookup finds the program that an Exec to come will become, or fails as that would.
type Lookup struct{ Exec }

func (a *Lookup) Verb() string { return "lookup" }
func (a *Lookup) Line() string { return "look up " + Quote(a.Args[0]) }
func (a *Lookup) Shell(s *Script) {
	var words []string
	for _, p := range a.rooted() {
		words = append(words, "[ -x "+Quote(p)+" ]")
	}
	s.Run("%s", strings.Join(words, " || "))
}

// rooted are the paths from the root.
func (a *Lookup) rooted() []string {
	paths := slices.Clone(a.Paths)
	for i, p := range paths {
		if !path.IsAbs(p) {
			paths[i] = path.Join("/", a.Cwd, p)
		}
	}
	return paths
}

func (a *Lookup) Lower(asm *Asm) {
	for i, p := range a.rooted() {
		asm.Do(SysFaccessat2, AtFDCWD, Str(p), Num(1, "X_OK"), Num(unix.AT_EACCESS, "AT_EACCESS"))
		if left := len(a.Paths) - 1 - i; left > 0 {
			asm.Allow(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
			asm.Last().SkipOK = left
		}
	}
}

// Program is the exec that an action is, or looks up; nil if it is none.
func Program(a Action) *Exec {
	switch a := a.(type) {
	case *Exec:
		return a
	case *Lookup:
		return &a.Exec
	}
	return nil
}

// Exec becomes the container's program: the first of the paths that there is.
type Exec struct {
	Paths []string `json:"paths"` // candidates, in the order of PATH
	Args  []string `json:"args"`
	Env   []string `json:"env"`
	Cwd   string   `json:"cwd"`
	// File is the handle of the program, in place of paths, where the host has it open.
	File string `json:"file,omitempty"`
}

func (a *Exec) Verb() string    { return "exec" }
func (a *Exec) Line() string    { return "exec " + Quote(a.Args...) }
func (a *Exec) Shell(s *Script) { s.Exec(a.Cwd, a.Args, a.Env) }

// Lower tries one path after the other, as execvp(3) does: a path that is not
// there, or not to be executed, is no reason not to try the next.
func (a *Exec) Lower(asm *Asm) {
	argv, env := Strs(a.Args), Strs(a.Env)
	env.Text = "[environment]"
	if a.File != "" {
		asm.Do(SysExecveat, asm.Use(a.File), Str(""), argv, env, Num(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"))
	}
	for i, p := range a.Paths {
		asm.Do(SysExecve, Str(p), argv, env)
		if i < len(a.Paths)-1 {
			asm.Allow(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
	}
}
