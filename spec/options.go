// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// options is a mount's list of options, understood: mount(8)'s words.
type options struct {
	set, clear plan.Attr // of the mount itself
	// recSet and recClear are those of the r-forms, "rro" and its kin: of the
	// mount itself and of all below it.
	recSet, recClear plan.Attr
	share            uintptr
	bind, rec        bool
	idmap, mapRec    bool
	copyUp, remount  bool
	plain            []string // the words about the mount itself
	fs               []string // the file system's own
	below            string   // see Subpath
}

// Subpath begins an option of a bind mount that is vitro's own: a place in the
// source, which is found within it, whatever symbolic links are there. A runtime
// that doesn't know it mounts the whole source.
const Subpath = "x-vitro.subpath="

// What a word does besides attributes and propagation.
const (
	isPlain   = 1 << iota
	isBinding // a copy of a mount of the host's
	isTree    // and of those below it
	isIDMap   // with other owners
	isMapAll  // below it too
	isCopyUp  // a tmpfs that starts with a copy
	isRemount // of what is there already
)

// words are mount(8)'s options that are not the file system's own. A new
// option is a row.
//
// Those without any effect are mount(8)'s own business (fstab), or flags that
// fsconfig(2) has no word for: silent (the kernel's messages go to whoever made
// the mount), and iversion (the file systems that count versions do so always,
// or have an option of their own, as ext4's i_version).
var words = [...]struct {
	word       string
	set, clear plan.Attr
	share      uintptr
	is         uint
}{
	{word: "defaults", is: isPlain},
	{word: "silent", is: isPlain},
	{word: "loud", is: isPlain},
	{word: "iversion", is: isPlain},
	{word: "noiversion", is: isPlain},
	{word: "auto", is: isPlain},
	{word: "noauto", is: isPlain},
	{word: "nofail", is: isPlain},
	{word: "nouser", is: isPlain},
	{word: "_netdev", is: isPlain},
	{word: "bind", is: isBinding},
	{word: "rbind", is: isBinding | isTree},
	{word: "idmap", is: isIDMap},
	{word: "ridmap", is: isIDMap | isMapAll},
	{word: "tmpcopyup", is: isCopyUp},
	{word: "remount", is: isRemount},
	{word: "ro", set: unix.MOUNT_ATTR_RDONLY},
	{word: "rw", clear: unix.MOUNT_ATTR_RDONLY},
	{word: "nosuid", set: unix.MOUNT_ATTR_NOSUID},
	{word: "suid", clear: unix.MOUNT_ATTR_NOSUID},
	{word: "nodev", set: unix.MOUNT_ATTR_NODEV},
	{word: "dev", clear: unix.MOUNT_ATTR_NODEV},
	{word: "noexec", set: unix.MOUNT_ATTR_NOEXEC},
	{word: "exec", clear: unix.MOUNT_ATTR_NOEXEC},
	{word: "noatime", set: unix.MOUNT_ATTR_NOATIME},
	{word: "atime", clear: unix.MOUNT_ATTR__ATIME},
	{word: "relatime", clear: unix.MOUNT_ATTR__ATIME},
	{word: "norelatime", set: unix.MOUNT_ATTR_STRICTATIME},
	{word: "strictatime", set: unix.MOUNT_ATTR_STRICTATIME},
	{word: "nostrictatime", clear: unix.MOUNT_ATTR__ATIME},
	{word: "nodiratime", set: unix.MOUNT_ATTR_NODIRATIME},
	{word: "diratime", clear: unix.MOUNT_ATTR_NODIRATIME},
	{word: "nosymfollow", set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	{word: "symfollow", clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	{word: "private", share: unix.MS_PRIVATE},
	{word: "rprivate", share: unix.MS_PRIVATE | unix.MS_REC},
	{word: "shared", share: unix.MS_SHARED},
	{word: "rshared", share: unix.MS_SHARED | unix.MS_REC},
	{word: "slave", share: unix.MS_SLAVE},
	{word: "rslave", share: unix.MS_SLAVE | unix.MS_REC},
	{word: "unbindable", share: unix.MS_UNBINDABLE},
	{word: "runbindable", share: unix.MS_UNBINDABLE | unix.MS_REC},
}

// superWords are the options that fsconfig(2) knows itself, for every file system.
var superWords = [...]string{"sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"}

func propagation(word string) uintptr {
	for i := range words {
		if words[i].share != 0 && words[i].word == word {
			return words[i].share
		}
	}
	return 0
}

// readOptions sorts a mount's options. Words that aren't in the table are the
// file system's, superWords among them. On a bind mount these have no effect, as
// in mount(2).
func readOptions(m *specs.Mount) (o options, err error) {
	o.bind = m.Type == "bind"
	for _, w := range m.Options {
		if strings.ContainsRune(w, 0) {
			return o, fmt.Errorf("mount %s: option %q holds a NUL byte", m.Destination, w)
		}
		if below, ok := strings.CutPrefix(w, Subpath); ok {
			o.below = below
			continue
		}
		if !o.word(w) && !strings.HasPrefix(w, "x-") && w != "" { // x-: userspace's notes to itself (mount(8))
			o.fs = append(o.fs, unquoteContext(w))
		}
	}
	return o, o.check(m)
}

// word reads one of the table's words, or an r-form; false if it is neither.
func (o *options) word(w string) bool {
	for i := range words {
		x := &words[i]
		rec := x.set|x.clear != 0 && w == "r"+x.word
		if x.word != w && !rec {
			continue
		}
		change(&o.set, &o.clear, x.set, x.clear)
		switch {
		case rec:
			change(&o.recSet, &o.recClear, x.set, x.clear)
		case x.set|x.clear != 0:
			o.plain = append(o.plain, w)
		}
		if x.share != 0 {
			o.share = x.share
		}
		o.bind, o.rec = o.bind || x.is&isBinding != 0, o.rec || x.is&isTree != 0
		o.idmap, o.mapRec = o.idmap || x.is&isIDMap != 0, o.mapRec || x.is&isMapAll != 0
		o.copyUp, o.remount = o.copyUp || x.is&isCopyUp != 0, o.remount || x.is&isRemount != 0
		return true
	}
	return false
}

// change adds a word's attributes: the last word on a thing holds. Access times
// are a field of three values, not bits.
func change(set, clear *plan.Attr, s, c plan.Attr) {
	if s&unix.MOUNT_ATTR__ATIME != 0 {
		*set &^= unix.MOUNT_ATTR__ATIME
		*clear &^= unix.MOUNT_ATTR__ATIME
	}
	*set, *clear = (*set|s)&^c, (*clear|c)&^s
}

// Attributes of a mount besides its access times.
const flagAttrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSYMFOLLOW

// exact makes the attributes of a bind mount what mount(2) makes of its flags,
// which other runtimes call: without any word about them it is as the host's; else
// what is not named is off, where it can be taken off (a user namespace's root
// can't), but access times stay as they are if none of their words is set.
func (o *options) exact(locked bool) {
	if len(o.plain) == 0 {
		return
	}
	var times plan.Attr
	relative := false
	for _, w := range o.plain {
		switch w {
		case "noatime":
			times |= unix.MOUNT_ATTR_NOATIME
		case "strictatime":
			times |= unix.MOUNT_ATTR_STRICTATIME
		case "nodiratime":
			times |= unix.MOUNT_ATTR_NODIRATIME
		case "relatime":
			relative = true
		case "atime":
			times &^= unix.MOUNT_ATTR_NOATIME
		case "nostrictatime":
			times &^= unix.MOUNT_ATTR_STRICTATIME
		case "diratime":
			times &^= unix.MOUNT_ATTR_NODIRATIME
		case "norelatime":
			relative = false
		}
	}
	const all = unix.MOUNT_ATTR__ATIME | unix.MOUNT_ATTR_NODIRATIME
	o.set, o.clear = o.set&^all, o.clear&^all
	if times != 0 || relative {
		if times&unix.MOUNT_ATTR_STRICTATIME != 0 {
			times &^= unix.MOUNT_ATTR_NOATIME
		}
		o.set, o.clear = o.set|times, o.clear|all&^(times&unix.MOUNT_ATTR_NODIRATIME)
	}
	off := plan.Attr(flagAttrs)
	if locked {
		off = unix.MOUNT_ATTR_NOSYMFOLLOW
	}
	o.clear |= off &^ o.set
}

// unquoteContext takes the quotes from a SELinux context: mount(8) needs them
// around its commas, fsconfig(2) must not have them.
func unquoteContext(w string) string {
	key, value, _ := strings.Cut(w, "=")
	switch key {
	case "context", "fscontext", "defcontext", "rootcontext":
		return key + "=" + strings.Trim(value, `"`)
	}
	return w
}

// check refuses what doesn't go together.
func (o *options) check(m *specs.Mount) error {
	mapped := len(m.UIDMappings)+len(m.GIDMappings) > 0
	var reason string
	switch {
	case mapped && (len(m.UIDMappings) == 0 || len(m.GIDMappings) == 0):
		reason = "uidMappings and gidMappings need each other"
	case (o.idmap || mapped) && (!o.bind || o.remount):
		reason = "idmap, uidMappings and gidMappings are for bind mounts: another mount's files belong to whom it says"
	case o.below != "" && (!o.bind || o.remount):
		reason = Subpath + " is for bind mounts"
	case o.copyUp && m.Type != "tmpfs":
		reason = "tmpcopyup is for a tmpfs"
	case o.remount && o.recSet|o.recClear != 0:
		reason = "remount has no recursive form: name each mount"
	case o.remount || o.bind:
	case m.Type == "" || m.Type == "none":
		reason = "without a type, or the option bind, rbind or remount, there is nothing to mount"
	}
	if reason != "" {
		return fmt.Errorf("mount %s: %s", m.Destination, reason)
	}
	o.idmap = o.idmap || mapped
	return nil
}
