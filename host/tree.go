// SPDX-License-Identifier: Apache-2.0

package host

import (
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Tree makes a copy of a mount, or of a tree of them, attached to nothing yet,
// with the host's rights: for a source that the container's own root can't reach.
type Tree struct {
	Source    string `json:"source"`
	Target    string `json:"target"` // where it is going to be
	As        string `json:"as"`     // its handle
	Recursive bool   `json:"recursive,omitempty"`
}

func (a *Tree) Verb() string    { return "host-bind" }
func (a *Tree) Undo() plan.Host { return nil }
func (a *Tree) Line() string {
	flag := "--bind"
	if a.Recursive {
		flag = "--rbind"
	}
	return "mount " + flag + " " + plan.Quote(a.Source, a.Target)
}

func (a *Tree) Shell(s *plan.Script) {
	s.Note("%s: the child's mounts are its own, and it may not reach the source", a.Line())
}

// Do leaves the mount as the handle As.
func (a *Tree) Do(e *plan.Env) error {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if a.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, a.Source, flags)
	if err != nil {
		return err
	}
	e.Handles[a.As] = fd
	return nil
}
