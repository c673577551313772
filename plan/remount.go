// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	"golang.org/x/sys/unix"
)

// MountFlags changes the attributes of a mount that an earlier step has made,
// of it alone.
type MountFlags struct {
	Handle    string  `json:"handle"`
	Target    string  `json:"target"` // where it is going to be, for people
	Set       Attr    `json:"set,omitempty"`
	Clear     Attr    `json:"clear,omitempty"`
	Recursive bool    `json:"recursive,omitempty"` // and of those below it
	Share     uintptr `json:"share,omitempty"`     // propagation: MS_PRIVATE and its kin; 0 keeps it
}

func (a *MountFlags) Verb() string { return "mount-attr" }
func (a *MountFlags) Line() string {
	line := "mount"
	if w := append(a.Set.words(), a.Clear.opposites()...); len(w) > 0 {
		line += " -o remount,bind," + strings.Join(w, ",")
	}
	if a.Share != 0 {
		p := Propagation{a.Share}
		line += " --make-" + p.r() + p.word()
	}
	return line + " " + Quote(a.Target)
}

// opposites are the words that take attributes away.
func (a Attr) opposites() (words []string) {
	for _, w := range a.words() {
		switch off, no := strings.CutPrefix(w, "no"); {
		case no && w != "noatime":
			words = append(words, off)
		case w == "ro":
			words = append(words, "rw")
		}
	}
	if a&unix.MOUNT_ATTR__ATIME != 0 {
		words = append(words, "relatime")
	}
	return words
}

func (a *MountFlags) Shell(s *Script) {
	if w := append(a.Set.words(), a.Clear.opposites()...); len(w) > 0 {
		s.Run("mount -o remount,bind,%s %s", strings.Join(w, ","), InRoot(a.Target))
	}
	if a.Share != 0 {
		p := Propagation{a.Share}
		s.Run("mount --make-%s%s %s", p.r(), p.word(), InRoot(a.Target))
	}
}

func (a *MountFlags) Lower(asm *Asm) {
	fd := asm.Use(a.Handle)
	share, shareRec := a.Share&^unix.MS_REC, a.Share&unix.MS_REC != 0
	if a.Set|a.Clear != 0 && share != 0 && a.Recursive != shareRec {
		setAttr(asm, fd, a.Set, a.Clear, 0, a.Recursive)
		setAttr(asm, fd, 0, 0, share, shareRec)
		return
	}
	setAttr(asm, fd, a.Set, a.Clear, share, a.Recursive || shareRec)
}

// Remount changes a mount that is there already, in the container's tree. Of a
// bind mount it is the mount's own attributes, and those alone; else the file
// system's options too.
//
// As with mount(2)'s MS_REMOUNT, an attribute that isn't asked for is taken
// away; access times stay as they are if nothing is said of them.
type Remount struct {
	Target  string   `json:"target"`
	Set     Attr     `json:"set,omitempty"`
	Clear   Attr     `json:"clear,omitempty"`
	Options []string `json:"options,omitempty"` // the file system's own
	Bind    bool     `json:"bind,omitempty"`
	Share   uintptr  `json:"share,omitempty"`
}

func (a *Remount) Verb() string { return "remount" }
func (a *Remount) command(target string) string {
	words := []string{"remount"}
	if a.Bind {
		words = append(words, "bind")
	}
	words = append(append(words, a.Set.words()...), a.Options...)
	return "mount -o " + Quote(strings.Join(words, ",")) + " " + target
}
func (a *Remount) Line() string { return a.command(Quote(a.Target)) }
func (a *Remount) Shell(s *Script) {
	s.Run("%s", a.command(InRoot(a.Target)))
	if a.Share != 0 {
		p := Propagation{a.Share}
		s.Run("mount --make-%s%s %s", p.r(), p.word(), InRoot(a.Target))
	}
}

// replaced are the attributes that a remount takes away unless they are asked for.
const replaced = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC |
	unix.MOUNT_ATTR_NODIRATIME | unix.MOUNT_ATTR_NOSYMFOLLOW

func (a *Remount) Lower(asm *Asm) {
	at := Path{name: a.Target}.open(asm, place)
	if !a.Bind {
		fs := asm.Get(SysFspick, at, Str(""), Num(unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC, "FSPICK_EMPTY_PATH|FSPICK_CLOEXEC"))
		access := "rw"
		if a.Set&unix.MOUNT_ATTR_RDONLY != 0 {
			access = "ro"
		}
		for _, o := range append([]string{access}, a.Options...) {
			fsOption(asm, fs, o)
		}
		asm.Do(SysFsconfig, fs, Num(unix.FSCONFIG_CMD_RECONFIGURE, "FSCONFIG_CMD_RECONFIGURE"), Num(0, "NULL"), Num(0, "NULL"), Int(0))
	}
	setAttr(asm, at, a.Set, (a.Clear|replaced)&^a.Set, a.Share&^unix.MS_REC, false)
	if a.Share&unix.MS_REC != 0 {
		setAttr(asm, at, 0, 0, a.Share&^unix.MS_REC, true)
	}
}
