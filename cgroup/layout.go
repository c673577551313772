// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"slices"
	"strings"

	"vitro/cgroup/systemd"
)

// A Layout is what there is to know of a machine's cgroups, as plain data: a
// test writes it down, Detect finds it out.
type Layout struct {
	// Hierarchies are the trees that are mounted: those of version 1 in the
	// order of /proc/self/cgroup, then that of version 2.
	Hierarchies []Hierarchy
	UID, GID    int  // effective
	Systemd     bool // systemd is the machine's first process
	FS          FS   // for what depends on the cgroup in question
	// Manager is the systemd that makes this user's units, for who wants the
	// container to be one: AskSystemd finds it, Detect does not.
	Manager *systemd.Manager
}

// A Hierarchy is one mounted tree of cgroups.
type Hierarchy struct {
	V2    bool
	Mount string // where it is mounted: /sys/fs/cgroup/cpu,cpuacct
	// Own is the cgroup of this process, as a path below Mount: "/" or "/a/b".
	Own string
	// Controllers of version 1 that live here: "cpu", "name=systemd". For
	// version 2 it is empty: see the file cgroup.controllers.
	Controllers []string
}

// FS is what Setup may look at: files of the cgroup file system, and a few of
// /proc and /sys. Nothing is written through it.
type FS interface {
	Read(path string) (string, error)
	Exists(path string) bool
	// Writable reports whether this process, with its effective user, may
	// write to the file or make entries in the folder.
	Writable(path string) bool
}

// Version names the kind of layout: "v2", "v1", "hybrid", or "none".
func (l *Layout) Version() string {
	v2 := l.unified() != nil
	switch {
	case v2 && len(l.Hierarchies) == 1:
		return "v2"
	case v2:
		return "hybrid"
	case len(l.Hierarchies) > 0:
		return "v1"
	}
	return "none"
}

// unified is the hierarchy of version 2, nil if there is none.
func (l *Layout) unified() *Hierarchy {
	for i := range l.Hierarchies {
		if l.Hierarchies[i].V2 {
			return &l.Hierarchies[i]
		}
	}
	return nil
}

// home is the hierarchy that a controller, by its name in version 2, lives in.
func (l *Layout) home(controller string) *Hierarchy {
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		if !h.V2 && slices.Contains(h.Controllers, v1Name(controller)) {
			return h
		}
	}
	if h := l.unified(); h != nil && slices.Contains(l.fields(h.Mount+"/cgroup.controllers"), controller) {
		return h
	}
	return nil
}

// fields reads a file of words; one that can't be read has none.
func (l *Layout) fields(path string) []string {
	s, _ := l.FS.Read(path)
	return strings.Fields(s)
}

// name is a hierarchy's name for handles: "v2", or the controllers'.
func (h *Hierarchy) name() string {
	if h.V2 {
		return "v2"
	}
	return strings.TrimPrefix(strings.Join(h.Controllers, ","), "name=")
}

// dir is the folder of a cgroup of this hierarchy.
func (h *Hierarchy) dir(path string) string {
	if path == "/" {
		return h.Mount
	}
	return h.Mount + path
}

// v1Name is the name in version 1 of a controller of version 2.
func v1Name(controller string) string {
	if controller == "io" {
		return "blkio"
	}
	return controller
}
