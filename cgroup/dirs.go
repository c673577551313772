// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Dirs are a container's cgroups, one for each hierarchy that it is in. They
// are plain data, to be kept with the container.
type Dirs []Dir

// A Dir is a cgroup of a container.
type Dir struct {
	Path        string   `json:"path"`
	V2          bool     `json:"v2,omitempty"`
	Controllers []string `json:"controllers,omitempty"` // those in force, by their names in its version
}

// ErrNoController is the answer to what no cgroup of the container counts or does.
var ErrNoController = errors.New("the container is in no cgroup with the controller for it")

// with is the cgroup that has a controller, by its name in version 2.
func (d Dirs) with(controller string) (Dir, bool) {
	for _, c := range d {
		name := controller
		if !c.V2 {
			name = v1Name(controller)
		}
		if slices.Contains(c.Controllers, name) {
			return c, true
		}
	}
	return Dir{}, false
}

// unified is the cgroup of version 2, if there is one.
func (d Dirs) unified() (Dir, bool) {
	i := slices.IndexFunc(d, func(c Dir) bool { return c.V2 })
	if i < 0 {
		return Dir{}, false
	}
	return d[i], true
}

// tracker is the cgroup to ask for the processes.
func (d Dirs) tracker() (Dir, bool) {
	if c, ok := d.unified(); ok {
		return c, true
	}
	if c, ok := d.with("freezer"); ok {
		return c, true
	}
	if len(d) > 0 {
		return d[0], true
	}
	return Dir{}, false
}

// Procs are the processes in the container's cgroup and in those below it, as
// this PID namespace numbers them. Without any cgroup it is ErrNoController; one
// that is gone has no processes.
//
// It is what was so at one moment. In version 1 the kernel counts first and lists
// then, so that processes that fork in between make it leave out others
// (pidlist_array_load): it is asked until two answers agree. Where processes
// never stop to fork that may not come, and the tenth is taken; Freeze first,
// where none may be missed. Where there is none nobody forks, so that is true at once.
func (d Dirs) Procs() ([]int, error) {
	c, ok := d.tracker()
	if !ok {
		return nil, ErrNoController
	}
	pids, err := procsBelow(c.Path)
	for i := 1; i < 10 && err == nil && len(pids) > 0 && !c.V2; i++ {
		last := pids
		pids, err = procsBelow(c.Path)
		if slices.Equal(pids, last) {
			break
		}
	}
	return pids, err
}

func procsBelow(dir string) ([]int, error) {
	var pids []int
	for _, dir := range below(dir) {
		more, err := procs(dir)
		if err != nil {
			return nil, err
		}
		pids = append(pids, more...)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// procs lists one cgroup. A process of a PID namespace beside ours is numbered
// 0, and left out.
func procs(dir string) ([]int, error) {
	text, err := get(dir, "cgroup.procs")
	if errors.Is(err, unix.EOPNOTSUPP) { // a threaded cgroup: its processes are listed above it
		return nil, nil
	}
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for f := range strings.FieldsSeq(text) {
		if n, err := strconv.Atoi(f); err == nil && n > 0 {
			pids = append(pids, n)
		}
	}
	return pids, nil
}

// gone reports whether the cgroup has been removed: ENODEV is for a file that
// was open at that moment.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }

// below lists a cgroup and those below it, the deepest first. What vanishes
// meanwhile is left out.
func below(dir string) []string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return nil
	}
	if st.Nlink == 2 { // a folder has a link for each folder in it (kernfs_refresh_inode)
		return []string{dir}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, below(filepath.Join(dir, e.Name()))...)
		}
	}
	return append(all, dir)
}
