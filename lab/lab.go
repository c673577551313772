// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names by which all that the lessons make is found again.
const (
	Mark   = "VITRO_LAB" // the variable that the lab's processes begin with
	Cgroup = "vitro-lab" // in each hierarchy, at the top
	Table  = "vitro-lab" // of nftables
	Prefix = "lab-"      // of links and network namespaces
	// Containers and Image are vitro's own, made by its commands.
	Containers = "vitro-lab-"
	Image      = "vitro-lab:1"

	note = ".vitro-lab" // in the lab's folder: it is one, and what was there before
)

// netns is where ip(8) keeps network namespaces.
const netns = "/run/netns"

// A Lab is a folder, and what the lessons have made for it.
type Lab struct {
	Dir string // absolute
}

// Open finds the lab's folder, which need not be there: dir, or ~/vitro-lab.
func Open(dir string) (*Lab, error) {
	if dir == "" {
		home := os.Getenv("HOME")
		if home == "" {
			return nil, &Error{errors.New("find the lab's folder: HOME is not set"), "name it: --dir FOLDER"}
		}
		dir = filepath.Join(home, "vitro-lab")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the lab's folder: %w", err)
	}
	if strings.ContainsAny(abs, ":,\\\n\"'") {
		return nil, &Error{fmt.Errorf("use folder %q: overlay's options separate paths with such characters", abs), "name another one: --dir FOLDER"}
	}
	return &Lab{abs}, nil
}

// Begin makes the folder, if it isn't there, and notes what will have been
// there before.
func (l *Lab) Begin() error {
	if l.begun() {
		return nil
	}
	if list, err := os.ReadDir(l.Dir); err == nil && len(list) > 0 {
		return &Error{fmt.Errorf("begin lab in %q: it has files in it, and is none", l.Dir), "name an empty or a new folder: --dir FOLDER"}
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return fmt.Errorf("begin lab: %w", err)
	}
	text := "This folder belongs to vitro lab. vitro lab clean removes it with all that is in it.\n"
	if _, err := os.Lstat(netns); errors.Is(err, fs.ErrNotExist) {
		text += noNetns + "\n"
	}
	f, err := os.OpenFile(filepath.Join(l.Dir, note), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("begin lab: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// noNetns is the line of the note that says that the lab made /run/netns.
const noNetns = "there was no " + netns

// begun says whether the folder is a lab of ours: a regular file says so.
func (l *Lab) begun() bool {
	info, err := os.Lstat(filepath.Join(l.Dir, note))
	return err == nil && info.Mode().IsRegular()
}

// path is one below the lab's folder.
func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

// A process is one that a lesson has started.
type process struct {
	pid, ppid int
	lesson    string
}

func (p process) proc(file string) string { return "/proc/" + strconv.Itoa(p.pid) + "/" + file }

// processes are those with the lab's mark, by PID. A mark is what a process
// began with: nobody else can put it there.
func (l *Lab) processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p := process{pid: pid}
		env, err := os.ReadFile(p.proc("environ"))
		if err != nil {
			continue // it has ended, or is another user's
		}
		if p.lesson = l.marked(string(env)); p.lesson == "" {
			continue
		}
		p.ppid, _ = strconv.Atoi(status(pid, "PPid"))
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b process) int { return a.pid - b.pid })
	return list, nil
}

// marked is the lesson in an environment's mark, "" if it is not this lab's.
func (l *Lab) marked(env string) string {
	for v := range strings.SplitSeq(env, "\x00") {
		if v, ok := strings.CutPrefix(v, Mark+"="); ok {
			lesson, ok := strings.CutPrefix(v, l.Dir+"/")
			if !ok || lesson == "" || strings.Contains(lesson, "/") {
				return ""
			}
			return lesson
		}
	}
	return ""
}

// errNone is that a lesson has no process.
var errNone = errors.New("there is none")

// process is the one that a lesson is about: the first one, or, where that only
// has its children in other namespaces, as unshare --fork does, the child.
func (l *Lab) process(lesson string) (process, error) {
	all, err := l.processes()
	if err != nil {
		return process{}, err
	}
	all = slices.DeleteFunc(all, func(p process) bool { return p.lesson != lesson })
	first := slices.IndexFunc(all, func(p process) bool {
		return !slices.ContainsFunc(all, func(q process) bool { return q.pid == p.ppid })
	})
	if first < 0 {
		return process{}, fmt.Errorf("%w with %s=%s in its environment", errNone, Mark, l.path(lesson))
	}
	p := all[first]
	for {
		child := slices.IndexFunc(all, func(c process) bool { return c.ppid == p.pid && c.bornApart(p) })
		if child < 0 {
			return p, nil
		}
		p = all[child]
	}
}

// bornApart says whether a process is in other namespaces than its parent, of
// the kinds that only children get.
func (p process) bornApart(parent process) bool {
	for _, kind := range [...]string{"pid", "time"} {
		a, err := namespace(strconv.Itoa(p.pid), kind)
		b, err2 := namespace(strconv.Itoa(parent.pid), kind)
		if err == nil && err2 == nil && a != b {
			return true
		}
	}
	return false
}

// status is a line of /proc/PID/status.
func status(pid int, key string) string {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return ""
}

// most is how much of a file is read: none of the lessons' is larger.
const most = 1 << 20

// content is what a regular file holds, without the white space at its ends. No
// link is followed at the end of the path, and no pipe is waited for.
func content(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w", printable(path), err)
	}
	return read(fd, path)
}

// content is that of a file in a process's own tree, resolved as it would.
func (p process) content(path string) (string, error) {
	fd, err := p.open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return "", fmt.Errorf("%s, as it sees it: %w", printable(path), err)
	}
	return read(fd, path)
}

// open opens a path in a process's own tree.
func (p process) open(path string, flags uint64) (int, error) {
	root, err := unix.Open(p.proc("root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return unix.Openat2(root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// read reads a descriptor to its end, and closes it.
func read(fd int, path string) (string, error) {
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", printable(path))
	}
	buf := make([]byte, most)
	n := 0
	for n < len(buf) {
		m, err := f.Read(buf[n:])
		n += m
		if err != nil || m == 0 {
			break
		}
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

// printable is a foreign string for a terminal: quoted, if it has anything in
// it that one would obey.
func printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
