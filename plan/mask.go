// SPDX-License-Identifier: Apache-2.0

package plan

import "golang.org/x/sys/unix"

// MaskSource takes a copy of the mount of /dev/null, attached to nothing yet. It
// comes from the host, since the container's own /dev/null may be whatever its
// image says (CVE-2025-31133).
type MaskSource struct{}

func (a *MaskSource) Verb() string    { return "masks" }
func (a *MaskSource) Line() string    { return "a copy of /dev/null, to hide files behind" }
func (a *MaskSource) Shell(s *Script) {}
func (a *MaskSource) Lower(asm *Asm)  { asm.As(maskHandle, openTree(asm, AtFDCWD, "/dev/null", false)) }

const maskHandle = "mask"

// Mask hides a file behind /dev/null, a folder behind an empty one. A path
// that isn't there is no error.
type Mask struct {
	Path string `json:"path"`
	// Under is the handle of the mount that the path is in: whoever shares the
	// root could move that out of its place meanwhile, and nothing would be there.
	Under string `json:"under,omitempty"`
}

func (a *Mask) Verb() string { return "mask" }
func (a *Mask) Line() string { return "hide " + Quote(a.Path) }
func (a *Mask) Shell(s *Script) {
	p := InRoot(a.Path)
	s.Run("if [ -d %s ]; then mount -t tmpfs -o ro,nosuid,nodev,noexec tmpfs %s; elif [ -e %s ]; then mount --bind /dev/null %s; fi", p, p, p, p)
}

// Lower copies the mount of MaskSource only where there is a file to hide: a copy that
// was attached to nothing has the kernel wait for all processors (RCU) when it is closed.
// Before Linux 6.15 what is attached to nothing can't be copied itself: then it is the first mask.
func (a *Mask) Lower(asm *Asm) {
	at := Path{a.Path, a.Under}.open(asm, place)
	asm.Allow(unix.ENOENT, unix.ENOTDIR)
	start := asm.Len()
	dir := Path{a.Path, a.Under}.open(asm, folder)
	asm.Allow(unix.ENOTDIR)
	isDir := asm.Len()
	fs := fsOpen(asm, "tmpfs", "tmpfs")
	fsOption(asm, fs, "ro")
	tmp := fsMount(asm, fs, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	moveMount(asm, tmp, dir, "")
	asm.Last().SkipOK = 3
	asm.Calls[isDir-1].SkipErr = asm.Len() - isDir
	null := openTree(asm, asm.Use(maskHandle), "", false)
	asm.Allow(unix.EINVAL)
	asm.Last().SkipErr = 1
	moveMount(asm, null, at, "")
	asm.Last().SkipOK = 1
	moveMount(asm, asm.Use(maskHandle), at, "")
	asm.Calls[start-1].SkipErr = asm.Len() - start
}

// ReadOnly makes a path and all below it read-only, by a mount of itself. A
// path that isn't there is no error.
type ReadOnly struct {
	Path  string `json:"path"`
	Under string `json:"under,omitempty"` // see Mask
}

func (a *ReadOnly) Verb() string { return "readonly" }
func (a *ReadOnly) Line() string { return "make " + Quote(a.Path) + " read-only" }
func (a *ReadOnly) Shell(s *Script) {
	p := InRoot(a.Path)
	s.Run("if [ -e %s ]; then mount --rbind %s %s && mount -o remount,bind,ro %s; fi", p, p, p, p)
}

func (a *ReadOnly) Lower(asm *Asm) {
	at := Path{a.Path, a.Under}.open(asm, place)
	asm.Allow(unix.ENOENT, unix.ENOTDIR)
	start := asm.Len()
	tree := openTree(asm, at, "", true)
	setAttr(asm, tree, unix.MOUNT_ATTR_RDONLY, 0, 0, true)
	moveMount(asm, tree, at, "")
	asm.Calls[start-1].SkipErr = asm.Len() - start
}

// Seal makes a mount read-only, when everything in it is in its place.
type Seal struct {
	Target string `json:"target"` // its handle
}

func (a *Seal) Verb() string    { return "seal" }
func (a *Seal) Line() string    { return "mount -o remount,bind,ro " + Quote(a.Target) }
func (a *Seal) Shell(s *Script) { s.Run("mount -o remount,bind,ro %s", InRoot(a.Target)) }
func (a *Seal) Lower(asm *Asm) {
	setAttr(asm, asm.Use(a.Target), unix.MOUNT_ATTR_RDONLY, 0, 0, false)
}
