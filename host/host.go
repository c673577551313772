// SPDX-License-Identifier: Apache-2.0

// Package host has the actions that a plan does on the host's side with files:
// folders, cgroup files, ID maps, open descriptors, resource limits.
//
// Each is a value. It can be printed and written down, it acts when package
// run calls Do, and its inverse is another value of this package, right even
// if the action never happened or happened twice.
//
// Links, addresses and firewall rules are package network's. To work on files
// outside a plan, use package os.
package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// Actions makes an empty value of each action that can stand in an undo list, by its verb.
func Actions(verb string) plan.Host {
	switch verb {
	case "rmdir":
		return new(Rmdir)
	case "remove":
		return new(Remove)
	case "write":
		return new(Write)
	case "chown":
		return new(Chown)
	case "umount-root":
		return new(RootUnmount)
	case "name-back":
		return new(NameBack)
	}
	return nil
}

// expand puts the child's PID into a path: "/proc/$PID/uid_map".
func expand(s string, e *plan.Env) string {
	return strings.ReplaceAll(s, "$PID", strconv.Itoa(e.Pid))
}

// Mkdir makes a folder that must not be there yet. Missing parents below the
// folder Below are made too; other containers may share those, so they are
// taken back only when nobody else is in them.
type Mkdir struct {
	Path  string      `json:"path"`
	Mode  fs.FileMode `json:"mode"`
	Below string      `json:"below,omitempty"`
}

func (a *Mkdir) Verb() string { return "mkdir" }
func (a *Mkdir) Line() string { return "mkdir " + a.Path }
func (a *Mkdir) Shell(s *plan.Script) {
	if a.Below == "" {
		s.Run("mkdir -m %o %s", a.Mode.Perm(), plan.Quote(a.Path))
	} else {
		s.Run("mkdir -p -m %o %s", a.Mode.Perm(), plan.Quote(a.Path))
	}
	a.Undo().Shell(s.Undoing())
}
func (a *Mkdir) Undo() plan.Host { return &Rmdir{Path: a.Path, Below: a.Below} }

// Do tries again when a parent vanishes under it: the container that had it to
// itself has ended at that moment. That may be the folder Below, too, which was
// there when the plan was made: it comes back, and then stays.
func (a *Mkdir) Do(*plan.Env) error {
	for range 100 {
		err := unix.Mkdir(a.Path, uint32(a.Mode.Perm()))
		if err != unix.ENOENT || a.Below == "" {
			return err
		}
		if err := a.parent(filepath.Dir(a.Path)); err != nil && err != unix.ENOENT {
			return err
		}
	}
	return unix.ENOENT
}

// parent makes a folder on the way, from the innermost one that is there.
func (a *Mkdir) parent(dir string) error {
	err := unix.Mkdir(dir, uint32(a.Mode.Perm()))
	if err == unix.ENOENT && dir != "/" {
		if err = a.parent(filepath.Dir(dir)); err == nil {
			err = unix.Mkdir(dir, uint32(a.Mode.Perm()))
		}
	}
	if err == unix.EEXIST {
		return nil
	}
	return err
}

// between lists the folders below base on the way to path, outermost first.
func between(base, path string) []string {
	var dirs []string
	for dir := filepath.Dir(path); len(dir) > len(base) && dir != "/"; dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

// Rmdir removes an empty folder, and then those of its parents below the
// folder Below that are empty too. A folder that is not there is no error. A
// cgroup may be busy for a moment after its last process has ended: Do tries
// for two seconds.
type Rmdir struct {
	Path  string `json:"path"`
	Below string `json:"below,omitempty"`
}

func (a *Rmdir) Verb() string { return "rmdir" }
func (a *Rmdir) Line() string { return "rmdir " + a.Path }
func (a *Rmdir) Shell(s *plan.Script) {
	s.Run("rmdir %s", plan.Quote(a.Path))
	if up := between(a.Below, a.Path); a.Below != "" && len(up) > 0 {
		slices.Reverse(up)
		s.Run("rmdir %s 2>/dev/null", plan.Quote(up...))
	}
}
func (a *Rmdir) Undo() plan.Host { return nil }

func (a *Rmdir) Do(*plan.Env) error {
	deadline := time.Now().Add(2 * time.Second)
	for pause := 100 * time.Microsecond; ; pause *= 2 {
		err := unix.Rmdir(a.Path)
		if err == nil || err == unix.ENOENT {
			break
		}
		if err != unix.EBUSY || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
	if a.Below != "" {
		up := between(a.Below, a.Path)
		for i := len(up) - 1; i >= 0; i-- {
			if unix.Rmdir(up[i]) != nil {
				break // not empty: somebody else's as well
			}
		}
	}
	return nil
}

// Remove deletes a file or a whole tree. A path that is not there is no error.
type Remove struct {
	Path string `json:"path"`
}

func (a *Remove) Verb() string         { return "remove" }
func (a *Remove) Line() string         { return "rm -r " + a.Path }
func (a *Remove) Shell(s *plan.Script) { s.Run("remove %s", plan.Quote(a.Path)) }
func (a *Remove) Undo() plan.Host      { return nil }
func (a *Remove) Texts() []plan.Text   { return []plan.Text{{Name: "path", Value: &a.Path}} }
func (a *Remove) Do(*plan.Env) error   { return os.RemoveAll(a.Path) }

// Write writes a value to a file of the kernel, in one write(2) as these want
// it. The line names the value: the kernel's answer depends on it.
type Write struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	// Before is what to write back, if there is something to restore.
	Before string `json:"before,omitempty"`
	// Optional: the file may be missing in this kernel.
	Optional bool `json:"optional,omitempty"`
}

func (a *Write) Verb() string { return "write" }
func (a *Write) Line() string { return fmt.Sprintf("write %q to %s", a.Value, a.Path) }
func (a *Write) Shell(s *plan.Script) {
	path := `"` + a.Path + `"` // $PID has to be expanded
	if !strings.Contains(a.Path, "$PID") {
		path = plan.Quote(a.Path)
	}
	cmd := fmt.Sprintf("echo %s >%s", plan.Quote(a.Value), path)
	if strings.Contains(a.Value, "\n") {
		cmd = fmt.Sprintf("printf %%s %s >%s", plan.Quote(a.Value), path)
	}
	if a.Optional {
		cmd = fmt.Sprintf("[ ! -e %s ] || %s", path, cmd)
	}
	s.Run("%s", cmd)
	if a.Before != "" {
		a.Undo().Shell(s.Undoing())
	}
}

func (a *Write) Do(e *plan.Env) error {
	path := expand(a.Path, e)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT && a.Optional {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(a.Value)); err != nil {
		return err // the step's line has the rest
	}
	return nil
}

func (a *Write) Undo() plan.Host {
	if a.Before == "" {
		return nil
	}
	return &Write{Path: a.Path, Value: a.Before, Optional: true}
}

// Chown gives a file to another owner.
type Chown struct {
	Path     string `json:"path"`
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
	Optional bool   `json:"optional,omitempty"` // the file may be missing
}

func (a *Chown) Verb() string { return "chown" }
func (a *Chown) Line() string { return fmt.Sprintf("chown %d:%d %s", a.UID, a.GID, a.Path) }
func (a *Chown) Shell(s *plan.Script) {
	cmd := fmt.Sprintf("chown %d:%d %s", a.UID, a.GID, plan.Quote(a.Path))
	if a.Optional {
		cmd = fmt.Sprintf("[ ! -e %s ] || %s", plan.Quote(a.Path), cmd)
	}
	s.Run("%s", cmd)
}
func (a *Chown) Undo() plan.Host { return nil }
func (a *Chown) Do(*plan.Env) error {
	err := unix.Lchown(a.Path, a.UID, a.GID)
	if a.Optional && errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// Open opens a file for the child to inherit, under the name that the child's
// steps call it by.
type Open struct {
	Path  string `json:"path"`
	Flags int    `json:"flags"`
	As    string `json:"as"`
}

func (a *Open) Verb() string         { return "open" }
func (a *Open) Line() string         { return fmt.Sprintf("open %s as %s", a.Path, a.As) }
func (a *Open) Shell(s *plan.Script) { s.Handle(a.As, a.Path) }
func (a *Open) Undo() plan.Host      { return nil }
func (a *Open) Do(e *plan.Env) error {
	fd, err := unix.Open(a.Path, a.Flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	e.Handles[a.As] = fd
	return nil
}
