// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A mount is made in two steps. First, with the host's tree still in view, it
// is made as a descriptor that is attached to nothing (NewFS, Bind, Overlay).
// Then, when the child has pivoted into its root, it is attached (Attach), where
// a symbolic link can lead to nowhere but the container's own tree. No path of
// the container is ever resolved from outside, which is what most of the
// field's escapes were made of (CVE-2019-19921, CVE-2021-30465,
// CVE-2023-27561, CVE-2025-31133 among them).

// Propagation sets how mounts under / travel to and from other mount
// namespaces: a flag of mount(2), MS_PRIVATE and its kin.
type Propagation struct {
	Flag uintptr `json:"flag"`
}

func (a *Propagation) word() string {
	switch a.Flag &^ unix.MS_REC {
	case unix.MS_SLAVE:
		return "slave"
	case unix.MS_SHARED:
		return "shared"
	case unix.MS_UNBINDABLE:
		return "unbindable"
	}
	return "private"
}

func (a *Propagation) r() string {
	if a.Flag&unix.MS_REC != 0 {
		return "r"
	}
	return ""
}

func (a *Propagation) Verb() string    { return "propagation" }
func (a *Propagation) Line() string    { return "mount --make-" + a.r() + a.word() + " /" }
func (a *Propagation) Shell(s *Script) { s.Run("%s", a.Line()) }
func (a *Propagation) Lower(asm *Asm) {
	text := "MS_" + strings.ToUpper(a.word())
	if a.Flag&unix.MS_REC != 0 {
		text = "MS_REC|" + text
	}
	asm.Do(SysMount, Num(0, "NULL"), Str("/"), Num(0, "NULL"), Num(uint64(a.Flag), text), Num(0, "NULL"))
}

// RootPropagation is the mount propagation of the container's root, set when
// all is attached.
type RootPropagation struct{ Propagation }

func (a *RootPropagation) Shell(s *Script) {
	s.Last(`mount -N "$PID" --make-%s%s /`, a.r(), a.word())
}

// Attr are per-mount attributes, as mount_setattr(2) and fsmount(2) take them.
type Attr uint64

// attrs are the attributes by their words in mount(8).
var attrs = [...]struct {
	bit          Attr
	word, kernel string
}{
	{unix.MOUNT_ATTR_RDONLY, "ro", "MOUNT_ATTR_RDONLY"},
	{unix.MOUNT_ATTR_NOSUID, "nosuid", "MOUNT_ATTR_NOSUID"},
	{unix.MOUNT_ATTR_NODEV, "nodev", "MOUNT_ATTR_NODEV"},
	{unix.MOUNT_ATTR_NOEXEC, "noexec", "MOUNT_ATTR_NOEXEC"},
	{unix.MOUNT_ATTR_NOATIME, "noatime", "MOUNT_ATTR_NOATIME"},
	{unix.MOUNT_ATTR_STRICTATIME, "strictatime", "MOUNT_ATTR_STRICTATIME"},
	{unix.MOUNT_ATTR_NODIRATIME, "nodiratime", "MOUNT_ATTR_NODIRATIME"},
	{unix.MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow", "MOUNT_ATTR_NOSYMFOLLOW"},
}

func (a Attr) words() []string {
	var w []string
	for _, x := range attrs {
		if a&x.bit != 0 {
			w = append(w, x.word)
		}
	}
	return w
}

func (a Attr) kernel() string {
	var w []string
	bits := a
	if bits&unix.MOUNT_ATTR__ATIME == unix.MOUNT_ATTR__ATIME { // the whole field, to clear it
		w, bits = append(w, "MOUNT_ATTR__ATIME"), bits&^unix.MOUNT_ATTR__ATIME
	}
	for _, x := range attrs {
		if bits&x.bit != 0 {
			w = append(w, x.kernel)
		}
	}
	if len(w) == 0 {
		return "0"
	}
	return strings.Join(w, "|")
}

// fsOption sets an option of a file system that is being made.
func fsOption(asm *Asm, fs Arg, option string) {
	key, value, ok := strings.Cut(option, "=")
	if !ok {
		asm.Do(SysFsconfig, fs, Num(unix.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"), Str(key), Num(0, "NULL"), Int(0))
		return
	}
	asm.Do(SysFsconfig, fs, Num(unix.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"), Str(key), Str(value), Int(0))
}

func fsOpen(asm *Asm, fstype, source string) Arg {
	fs := asm.Get(SysFsopen, Str(fstype), Num(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC"))
	if source != "" {
		fsOption(asm, fs, "source="+source)
	}
	return fs
}

func fsMount(asm *Asm, fs Arg, attr Attr) Arg {
	asm.Do(SysFsconfig, fs, Num(unix.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"), Num(0, "NULL"), Num(0, "NULL"), Int(0))
	return asm.Get(SysFsmount, fs, Num(unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), Attributes.As(uint64(attr)))
}

// NewFS makes a file system instance, attached to nothing yet.
type NewFS struct {
	Type    string   `json:"type"`
	Source  string   `json:"source,omitempty"`
	Options []string `json:"options,omitempty"` // the file system's own: "size=64m"
	Attr    Attr     `json:"attr,omitempty"`
	Target  string   `json:"target"`       // where it is going to be; also its handle
	As      string   `json:"as,omitempty"` // the handle, where another mount has the target's name
}

func (a *NewFS) Verb() string { return "mount" }
func (a *NewFS) Line() string {
	line := "mount -t " + a.Type
	if o := append(a.Attr.words(), a.Options...); len(o) > 0 {
		line += " -o " + Quote(strings.Join(o, ","))
	}
	return line + " " + Quote(a.source(), a.Target)
}

func (a *NewFS) source() string {
	if a.Source == "" {
		return a.Type
	}
	return a.Source
}

func (a *NewFS) Shell(s *Script) {
	opt := ""
	if o := append(a.Attr.words(), a.Options...); len(o) > 0 {
		opt = " -o " + Quote(strings.Join(o, ","))
	}
	s.mountPoint(a.Target, true)
	s.Run("mount -t %s%s %s %s", Quote(a.Type), opt, Quote(a.source()), InRoot(a.Target))
}

func (a *NewFS) Lower(asm *Asm) {
	fs := fsOpen(asm, a.Type, a.source())
	for _, o := range a.Options {
		fsOption(asm, fs, o)
	}
	asm.As(handle(a.As, a.Target), fsMount(asm, fs, a.Attr))
}

// handle is a mount's handle: its target, unless it has one of its own.
func handle(as, target string) string {
	if as != "" {
		return as
	}
	return target
}

// Bind makes a copy of a mount, or of a tree of them, attached to nothing yet.
type Bind struct {
	Source    string  `json:"source"`
	Target    string  `json:"target"`       // also its handle
	As        string  `json:"as,omitempty"` // see NewFS
	Recursive bool    `json:"recursive,omitempty"`
	Set       Attr    `json:"set,omitempty"`
	Clear     Attr    `json:"clear,omitempty"`
	AttrRec   bool    `json:"attrRecursive,omitempty"` // Set and Clear for the mounts below as well
	Share     uintptr `json:"share,omitempty"`         // propagation: MS_PRIVATE and its kin; 0 keeps it
	File      bool    `json:"file,omitempty"`          // not a folder
	// Below is a place in the source that others may have links in: it is found
	// within the source.
	Below string `json:"below,omitempty"`
}

func (a *Bind) Verb() string { return "bind" }
func (a *Bind) flag() string {
	if a.Recursive {
		return "--rbind"
	}
	return "--bind"
}

func (a *Bind) Line() string {
	line := "mount " + a.flag()
	if w := a.Set.words(); len(w) > 0 {
		line += " -o " + strings.Join(w, ",")
	}
	return line + " " + Quote(path.Join(a.Source, a.Below), a.Target)
}

func (a *Bind) Shell(s *Script) {
	s.mountPoint(a.Target, !a.File)
	s.Run("mount %s %s %s", a.flag(), Quote(path.Join(a.Source, a.Below)), InRoot(a.Target))
	switch w := strings.Join(a.Set.words(), ","); {
	case w == "":
	case a.Recursive && a.AttrRec:
		s.Run("for m in $(findmnt -R -n -l -o TARGET %s); do mount -o remount,bind,%s \"$m\"; done", InRoot(a.Target), w)
	default:
		s.Run("mount -o remount,bind,%s %s", w, InRoot(a.Target))
	}
	if a.Share != 0 {
		p := Propagation{a.Share}
		s.Run("mount --make-%s%s %s", p.r(), p.word(), InRoot(a.Target))
	}
}

func (a *Bind) Lower(asm *Asm) {
	from, name := AtFDCWD, a.Source
	if a.Below != "" {
		top := asm.Get(SysOpenat, AtFDCWD, Str(a.Source), Num(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_PATH|O_DIRECTORY|O_CLOEXEC"), Int(0))
		from, name = asm.Get(SysOpenat2, top, Str(a.Below), openHow(how[place].flags, how[place].text, how[place].resolve), Int(openHowSz)), ""
	}
	fd := openTree(asm, from, name, a.Recursive)
	share, shareRec := a.Share&^unix.MS_REC, a.Share&unix.MS_REC != 0
	if a.Recursive && a.Set|a.Clear != 0 && share != 0 && a.AttrRec != shareRec { // one call has one answer for the mounts below
		setAttr(asm, fd, a.Set, a.Clear, 0, a.AttrRec)
		setAttr(asm, fd, 0, 0, share, shareRec)
	} else if a.Set|a.Clear != 0 || share != 0 {
		setAttr(asm, fd, a.Set, a.Clear, share, a.AttrRec || shareRec)
	}
	asm.As(handle(a.As, a.Target), fd)
}

func openTree(asm *Asm, dir Arg, p string, recursive bool) Arg {
	flags, text := uint64(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC), "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"
	if recursive {
		flags, text = flags|unix.AT_RECURSIVE, text+"|AT_RECURSIVE"
	}
	if p == "" {
		flags, text = flags|unix.AT_EMPTY_PATH, text+"|AT_EMPTY_PATH"
	}
	return asm.Get(SysOpenTree, dir, Str(p), Num(flags, text))
}

// setAttr adds mount_setattr(2) on a mount by descriptor.
func setAttr(asm *Asm, fd Arg, set, clear Attr, share uintptr, recursive bool) {
	if set&(unix.MOUNT_ATTR_NOATIME|unix.MOUNT_ATTR_STRICTATIME) != 0 {
		clear |= unix.MOUNT_ATTR__ATIME // a field of three values, not bits
	}
	b := make([]byte, 32) // struct mount_attr: attr_set, attr_clr, propagation, userns_fd
	binary.NativeEndian.PutUint64(b[0:], uint64(set))
	binary.NativeEndian.PutUint64(b[8:], uint64(clear))
	binary.NativeEndian.PutUint64(b[16:], uint64(share))
	flags, ftext := uint64(unix.AT_EMPTY_PATH), "AT_EMPTY_PATH"
	if recursive {
		flags, ftext = flags|unix.AT_RECURSIVE, ftext+"|AT_RECURSIVE"
	}
	asm.Do(SysMountSetattr, fd, Str(""), Num(flags, ftext), MountAttr.Of(b), Int(len(b)))
}

// mountAttr shows a struct mount_attr.
func mountAttr(b []byte) string {
	ne := binary.NativeEndian
	text := "{set=" + Attr(ne.Uint64(b)).kernel()
	if clear := Attr(ne.Uint64(b[8:])); clear != 0 {
		text += ", clear=" + clear.kernel()
	}
	if share := uintptr(ne.Uint64(b[16:])); share != 0 {
		text += ", propagation=" + (&Propagation{share}).word()
	}
	return text + "}"
}

// Overlay makes an overlay of layers, attached to nothing yet.
type Overlay struct {
	Layers  []string `json:"layers"` // the lowest first
	Upper   string   `json:"upper"`
	Work    string   `json:"work"`
	Options []string `json:"options,omitempty"` // "userxattr"
	// Append: the kernel takes the layers one by one (6.7), so that no page of
	// options limits their number. Else the mount is made by mount(2), on At.
	Append bool   `json:"append,omitempty"`
	At     string `json:"at,omitempty"`
}

func (a *Overlay) Verb() string { return "overlay" }
func (a *Overlay) Line() string { return "mount -t overlay -o " + a.Data() + " overlay /" }

// Data is the option string, as mount(2) takes it.
func (a *Overlay) Data() string {
	var b strings.Builder
	b.WriteString("lowerdir=")
	for i := len(a.Layers) - 1; i >= 0; i-- {
		b.WriteString(overlayEscape(a.Layers[i]))
		if i > 0 {
			b.WriteByte(':')
		}
	}
	if a.Upper != "" {
		fmt.Fprintf(&b, ",upperdir=%s,workdir=%s", overlayEscape(a.Upper), overlayEscape(a.Work))
	}
	for _, o := range a.Options {
		b.WriteString("," + o)
	}
	return b.String()
}

// overlayEscape guards what separates options and layers in overlay's data.
func overlayEscape(p string) string {
	if !strings.ContainsAny(p, `\:,`) {
		return p
	}
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(p)
}

func (a *Overlay) Shell(s *Script) {
	s.Run("mount -t overlay -o %s overlay \"$ROOT\"", Quote(a.Data()))
}

func (a *Overlay) Lower(asm *Asm) {
	if !a.Append {
		asm.Do(SysMount, Str("overlay"), Str(a.At), Str("overlay"), Int(0), Str(a.Data()))
		asm.As("/", openTree(asm, AtFDCWD, a.At, false)) // a copy, attached to nothing as the others
		return
	}
	fs := fsOpen(asm, "overlay", "overlay")
	for i := len(a.Layers) - 1; i >= 0; i-- {
		fsOption(asm, fs, "lowerdir+="+a.Layers[i])
	}
	fsOption(asm, fs, "upperdir="+a.Upper)
	fsOption(asm, fs, "workdir="+a.Work)
	for _, o := range a.Options {
		fsOption(asm, fs, o)
	}
	asm.As("/", fsMount(asm, fs, 0))
}

// OptionsSize is the length of the option string, which has to fit a page
// where Append is not set.
func (a *Overlay) OptionsSize() int { return len(a.Data()) + 1 }

// SetRoot puts the container's root on a place in the host's tree, in the
// child's own mount namespace: pivot_root(2) wants a mount point.
type SetRoot struct {
	At string `json:"at"`
}

func (a *SetRoot) Verb() string    { return "root" }
func (a *SetRoot) Line() string    { return "attach the root to " + a.At }
func (a *SetRoot) Shell(s *Script) { s.Root(a.At) }
func (a *SetRoot) Lower(asm *Asm)  { moveMount(asm, asm.Use("/"), AtFDCWD, a.At) }

// OpenRoot takes a folder of the mount namespace for the container's root: it is
// a mount of its own already, and that namespace is not the container's alone.
type OpenRoot struct {
	At string `json:"at"`
}

func (a *OpenRoot) Verb() string    { return "open-root" }
func (a *OpenRoot) Line() string    { return "open the root at " + a.At }
func (a *OpenRoot) Shell(s *Script) { s.Root(a.At) }
func (a *OpenRoot) Lower(asm *Asm) {
	asm.As("/", asm.Get(SysOpenat, AtFDCWD, Str(a.At), Num(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_PATH|O_DIRECTORY|O_CLOEXEC"), Int(0)))
}

// Scratch puts a tmpfs on a place in the host's tree, in the child's own mount
// namespace, with the folders upper and work in it: for an overlay whose
// changes are to stay in memory, or can't be on the disk.
type Scratch struct {
	At   string `json:"at"`
	Size string `json:"size,omitempty"` // as tmpfs(5) has it; empty: half of the memory
}

func (a *Scratch) Verb() string { return "scratch" }
func (a *Scratch) Line() string { return "mount -t tmpfs" + a.option() + " tmpfs " + Quote(a.At) }
func (a *Scratch) option() string {
	if a.Size == "" {
		return ""
	}
	return " -o " + Quote("size="+a.Size)
}

func (a *Scratch) Shell(s *Script) {
	s.Run("%s", a.Line())
	s.Run("mkdir %s", Quote(a.At+"/upper", a.At+"/work"))
}

func (a *Scratch) Lower(asm *Asm) {
	fs := fsOpen(asm, "tmpfs", "tmpfs")
	if a.Size != "" {
		fsOption(asm, fs, "size="+a.Size)
	}
	fsOption(asm, fs, "mode=0711")
	mnt := fsMount(asm, fs, 0)
	asm.Do(SysMkdirat, mnt, Str("upper"), Num(0o755, "0755"))
	asm.Do(SysMkdirat, mnt, Str("work"), Num(0o755, "0755"))
	moveMount(asm, mnt, AtFDCWD, a.At)
}

func moveMount(asm *Asm, mount, dir Arg, p string) {
	flags, text := uint64(unix.MOVE_MOUNT_F_EMPTY_PATH), "MOVE_MOUNT_F_EMPTY_PATH"
	if p == "" {
		flags, text = flags|unix.MOVE_MOUNT_T_EMPTY_PATH, text+"|MOVE_MOUNT_T_EMPTY_PATH"
	}
	asm.Do(SysMoveMount, mount, Str(""), dir, Str(p), Num(flags, text))
}

// Pivot makes the container's root the child's, and lets go of the host's tree.
type Pivot struct {
	// Move moves the root over the host's with mount(2) and chroot(2), which the
	// first root of a machine (rootfs(5)) needs, since it can't be pivoted away.
	// What lies below it is out of sight only.
	Move bool `json:"move,omitempty"`
}

func (a *Pivot) Verb() string { return "pivot_root" }
func (a *Pivot) Line() string {
	if a.Move {
		return "mount --move . /; chroot ."
	}
	return "pivot_root . .; umount -l ."
}

func (a *Pivot) Shell(s *Script) {
	if a.Move {
		s.Note("--no-pivot: a root that is moved can't be entered by a later shell; pivoted all the same")
	}
	s.Last(`%snsenter -t "$PID" -m pivot_root "$ROOT" "$ROOT"`, s.inUser)
	s.Last(`%snsenter -t "$PID" -m umount -l /`, s.inUser) // the old root is on top of the new one
}

// Lower uses pivot_root(".", "."): the old root ends up on top of the new one,
// and one umount2(2) takes all of it away (pivot_root(2), NOTES).
func (a *Pivot) Lower(asm *Asm) {
	asm.Do(SysFchdir, asm.Use("/"))
	if a.Move {
		// The host's, whole and unmasked: while one is there, even behind another, a
		// user namespace of the container's may mount a new one. Some machines, and
		// worlds that tests make, have one on top of the other.
		for i := range 2 * stacked {
			asm.Do(SysUmount2, Str([...]string{"/proc", "/sys"}[i%2]), Num(unix.MNT_DETACH, "MNT_DETACH"))
			asm.Allow(unix.EINVAL, unix.ENOENT)
		}
		asm.Do(SysMount, Str("."), Str("/"), Num(0, "NULL"), Num(unix.MS_MOVE, "MS_MOVE"), Num(0, "NULL"))
		asm.Do(SysChroot, Str("."))
		asm.Do(SysChdir, Str("/"))
		return
	}
	asm.Do(SysPivotRoot, Str("."), Str("."))
	asm.Do(SysUmount2, Str("."), Num(unix.MNT_DETACH, "MNT_DETACH"))
	asm.Do(SysChdir, Str("/"))
}

// stacked is how many mounts of one file system may be at a place of the host's.
const stacked = 4

// Chroot makes the container's root the child's where the mount namespace is not
// its own, so that the host's tree stays. It holds nobody who has CAP_SYS_CHROOT.
type Chroot struct{}

func (a *Chroot) Verb() string { return "chroot" }
func (a *Chroot) Line() string { return "chroot to the container's root" }
func (a *Chroot) Shell(s *Script) {
	s.Note("chroot: a shell can't do that to itself; the command wants it in front: chroot \"$ROOT\"")
}
func (a *Chroot) Lower(asm *Asm) {
	asm.Do(SysFchdir, asm.Use("/"))
	asm.Do(SysChroot, Str("."))
}

// EnterRoot makes the container's root the folder that its paths are resolved
// from (openat2(2), RESOLVE_IN_ROOT), while the host's tree is still in view.
type EnterRoot struct{}

func (a *EnterRoot) Verb() string    { return "enter-root" }
func (a *EnterRoot) Line() string    { return "fchdir to the container's root" }
func (a *EnterRoot) Shell(s *Script) {}
func (a *EnterRoot) Lower(asm *Asm)  { asm.Do(SysFchdir, asm.Use("/")) }

// Attach attaches a mount that an earlier step has made to its place in the
// container, and makes that place if it is missing.
type Attach struct {
	Target string `json:"target"`
	As     string `json:"as,omitempty"` // the mount's handle: see NewFS
	File   bool   `json:"file,omitempty"`
	// Under is the handle of the mount that the place is directly in, if that
	// is a file system fresh from the kernel, with no link in it: there the
	// place is made and found in one step.
	Under string `json:"under,omitempty"`
	// Strict refuses symbolic links on the way: for /proc and /sys, which have
	// to be where everybody looks for them (CVE-2019-19921).
	Strict bool `json:"strict,omitempty"`
}

func (a *Attach) Verb() string    { return "attach" }
func (a *Attach) Line() string    { return "attach " + Quote(a.Target) }
func (a *Attach) Shell(s *Script) {}
func (a *Attach) Lower(asm *Asm) {
	row := place
	if a.Strict || a.Under != "" {
		row = placeNoLinks
	}
	p := Path{a.Target, a.Under}
	if a.File {
		p.touch(asm)
	} else {
		p.mkdirAll(asm, 0o755)
	}
	at := p.open(asm, row)
	if a.File && row == place {
		// An image's link to a file that only a running system has
		// (/etc/resolv.conf, often): the mount covers the link itself.
		asm.Allow(unix.ENOENT)
		asm.Last().SkipOK = 1
		p.open(asm, theLink)
		asm.Last().Out = int(at.Num)
	}
	moveMount(asm, asm.Use(handle(a.As, a.Target)), at, "")
}

// InRoot is a path of the container as the script's child reaches it.
func InRoot(p string) string {
	if p == "/" {
		return `"$ROOT"`
	}
	return `"$ROOT"` + Quote(p)
}

// mountPoint makes the place for a mount.
func (s *Script) mountPoint(p string, dir bool) {
	switch {
	case p == "/":
	case dir:
		s.Run("mkdir -p %s", InRoot(p))
	default:
		s.Run("mkdir -p %s; [ -e %s ] || : >%s", InRoot(path.Dir(p)), InRoot(p), InRoot(p))
	}
}
