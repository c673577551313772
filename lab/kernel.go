// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/mountinfo"
)

// A mount is a line of /proc/PID/mountinfo.
type mount struct {
	id, parent int
	root       string // of the file system, the part that is mounted
	target     string
	fstype     string
	source     string
	super      string // options of the file system
}

// mounts reads a process's table, "self" being our own.
func mounts(pid string) ([]mount, error) {
	data, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []mount
	for m := range mountinfo.All(string(data)) {
		list = append(list, mount{id: m.ID, parent: m.Parent, root: m.Root, target: m.Point, fstype: m.Type, source: m.Source, super: m.Super})
	}
	return list, nil
}

// at is the topmost mount at a path, as a process sees it.
func at(pid, path string) (mount, error) {
	list, err := mounts(pid)
	if err != nil {
		return mount{}, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].target == path {
			return list[i], nil
		}
	}
	return mount{}, fmt.Errorf("nothing is mounted at %s", printable(path))
}

// option is a value among a mount's options: upperdir.
func (m mount) option(name string) string {
	for o := range strings.SplitSeq(m.super, ",") {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return v
		}
	}
	return ""
}

// lowers are an overlay's lower layers, topmost first: one option with colons
// between, or one for each.
func (m mount) lowers() []string {
	var list []string
	for o := range strings.SplitSeq(m.super, ",") {
		for _, name := range [...]string{"lowerdir=", "lowerdir+="} {
			if v, ok := strings.CutPrefix(o, name); ok {
				list = append(list, strings.Split(v, ":")...)
			}
		}
	}
	return list
}

// namespace is which one a process is in: "uts:[4026531838]".
func namespace(pid, kind string) (string, error) {
	return os.Readlink("/proc/" + pid + "/ns/" + kind)
}

// apart asks that a process has another namespace than we have.
func (p process) apart(kind string) error {
	its, err := namespace(strconv.Itoa(p.pid), kind)
	if err != nil {
		return err
	}
	ours, err := namespace("self", kind)
	if err != nil {
		return err
	}
	if its == ours {
		return fmt.Errorf("it is in %s, as you are", its)
	}
	return nil
}

// within does something in a namespace, on a thread that ends with it: nothing
// of ours is left there.
func within(ns string, kind int, do func() error) error {
	fd, err := unix.Open(ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", printable(ns), err)
	}
	defer unix.Close(fd)
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := unix.Setns(fd, kind); err != nil {
			if err == unix.EPERM {
				err = errors.New("not permitted: ask in the shell that the lesson was done in")
			}
			result <- fmt.Errorf("enter %s: %w", printable(ns), err)
			return
		}
		result <- do()
	}()
	return <-result
}

// differs makes an error of what was found, and what was to be.
func differs(what, got, want string) error {
	if got == want {
		return nil
	}
	if got == "" {
		return fmt.Errorf("%s: want %s, and there is nothing", what, printable(want))
	}
	return fmt.Errorf("%s: want %s, not %s", what, printable(want), printable(short(got)))
}

// short is a text that fits a line.
func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
