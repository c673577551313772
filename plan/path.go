// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"path"

	"golang.org/x/sys/unix"
)

// openHow is the argument of openat2(2): only within the container's root, and
// never through the links of /proc that lead anywhere.
func openHow(flags uint64, text string, resolve uint64) Arg {
	b := make([]byte, 24) // struct open_how: flags, mode, resolve
	binary.NativeEndian.PutUint64(b[0:], flags|unix.O_CLOEXEC)
	binary.NativeEndian.PutUint64(b[16:], resolve)
	return Buf(b, text)
}

const (
	inRoot    = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	noLinks   = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS
	openHowSz = 24
)

// A Path is a place in the container, as a step reaches it.
type Path struct {
	name  string
	under string // see Attach; empty: from the container's root
}

// from is the folder that the path is resolved from, and the rest of it.
func (p Path) from(asm *Asm) (dir Arg, rest string) {
	if p.under == "" {
		return AtFDCWD, p.name
	}
	return asm.Use(p.under), p.name[len(p.under)+1:]
}

// how are the ways in which places are opened.
var how = [...]struct {
	flags, resolve uint64
	text           string
}{
	place:        {unix.O_PATH, inRoot, "{O_PATH, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}"},
	placeNoLinks: {unix.O_PATH, noLinks, "{O_PATH, RESOLVE_IN_ROOT|RESOLVE_NO_SYMLINKS}"},
	theLink:      {unix.O_PATH | unix.O_NOFOLLOW, inRoot, "{O_PATH|O_NOFOLLOW, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}"},
	folder:       {unix.O_PATH | unix.O_DIRECTORY, inRoot, "{O_PATH|O_DIRECTORY, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}"},
}

// The rows of how.
const (
	place = iota
	placeNoLinks
	theLink // the last part may be a symbolic link, and is not followed
	folder
)

// open opens the place, for attaching to and the like.
func (p Path) open(asm *Asm, row int) Arg {
	dir, name := p.from(asm)
	return asm.Get(SysOpenat2, dir, Str(name), openHow(how[row].flags, how[row].text, how[row].resolve), Int(openHowSz))
}

// mkdirAll makes a folder and its parents. What is there already stays.
func (p Path) mkdirAll(asm *Asm, mode uint64) {
	for i := len(p.under) + 1; i <= len(p.name); i++ {
		if i == len(p.name) || p.name[i] == '/' {
			dir, name := Path{p.name[:i], p.under}.parent(asm)
			asm.Do(SysMkdirat, dir, Str(name), Octal.As(mode))
			asm.Allow(unix.EEXIST)
		}
	}
}

// parent opens the folder that something is to be made in. A plain path would
// not do: by a link to /proc/self/fd/N an image could have us make things on
// the host.
func (p Path) parent(asm *Asm) (dir Arg, name string) {
	up := path.Dir(p.name)
	switch {
	case p.under != "" && up == p.under:
		return asm.Use(p.under), path.Base(p.name)
	case up == "/":
		return AtFDCWD, path.Base(p.name)
	}
	return Path{name: up}.open(asm, folder), path.Base(p.name)
}

// above makes the folders above the place, if it is not directly in a fresh mount.
func (p Path) above(asm *Asm) {
	if dir := path.Dir(p.name); dir != "/" && dir != p.under {
		Path{dir, ""}.mkdirAll(asm, 0o755)
	}
}

// touch makes an empty file to mount on, with the folders above it.
func (p Path) touch(asm *Asm) {
	p.above(asm)
	dir, name := p.parent(asm)
	asm.Do(SysMknodat, dir, Str(name), Num(unix.S_IFREG|0o644, "S_IFREG|0644"), Int(0))
	asm.Allow(unix.EEXIST)
}
