// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// A Range maps Size IDs from Host on outside to the ones from Container on inside.
type Range struct {
	Container uint32 `json:"container"`
	Host      uint32 `json:"host"`
	Size      uint32 `json:"size"`
}

// IDMap writes the ID map of the child's user namespace (user_namespaces(7)).
type IDMap struct {
	Kind   string  `json:"kind"` // "uid" or "gid"
	Ranges []Range `json:"ranges"`
	// Tool is newuidmap(1) or newgidmap(1), which an ordinary user needs for
	// more than the one ID that is its own. Empty: written directly.
	Tool string `json:"tool,omitempty"`
}

func (a *IDMap) text() string {
	var lines []string
	for _, r := range a.Ranges {
		lines = append(lines, fmt.Sprintf("%d %d %d", r.Container, r.Host, r.Size))
	}
	return strings.Join(lines, "\n")
}

func (a *IDMap) path() string    { return "/proc/$PID/" + a.Kind + "_map" }
func (a *IDMap) Verb() string    { return a.Kind + "-map" }
func (a *IDMap) Undo() plan.Host { return nil }
func (a *IDMap) Line() string {
	with := ""
	if a.Tool != "" {
		with = " with " + a.Tool
	}
	return fmt.Sprintf("write %q to %s%s", a.text(), a.path(), with)
}

func (a *IDMap) Shell(s *plan.Script) {
	if a.Tool != "" {
		s.Run(`%s "$PID" %s`, a.Tool, strings.ReplaceAll(a.text(), "\n", " "))
		return
	}
	s.Run(`printf '%%s\n' %s >"%s"`, plan.Quote(a.text()), a.path())
}

func (a *IDMap) Do(e *plan.Env) error {
	if a.Tool == "" {
		return (&Write{Path: a.path(), Value: a.text()}).Do(e)
	}
	args := append([]string{strconv.Itoa(e.Pid)}, strings.Fields(a.text())...)
	out, err := exec.Command(a.Tool, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Rlimit sets a resource limit of the child (setrlimit(2)). The host does it,
// since raising a limit takes CAP_SYS_RESOURCE outside any user namespace.
type Rlimit struct {
	Name string `json:"name"` // as prlimit(1) has it: "nofile"
	Type int    `json:"type"`
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

func limit(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

func (a *Rlimit) Verb() string    { return "rlimit" }
func (a *Rlimit) Undo() plan.Host { return nil }
func (a *Rlimit) Line() string {
	return fmt.Sprintf("prlimit --%s=%s:%s", a.Name, limit(a.Soft), limit(a.Hard))
}

func (a *Rlimit) Shell(s *plan.Script) {
	s.Run(`prlimit --pid "$PID" --%s=%s:%s`, a.Name, limit(a.Soft), limit(a.Hard))
}

func (a *Rlimit) Do(e *plan.Env) error {
	return unix.Prlimit(e.Pid, a.Type, &unix.Rlimit{Cur: a.Soft, Max: a.Hard}, nil)
}

// FIFO makes a named pipe in the container's own folder, and opens it for the
// child to inherit. It goes with the folder.
type FIFO struct {
	Path string `json:"path"`
	As   string `json:"as"`
}

func (a *FIFO) Verb() string         { return "fifo" }
func (a *FIFO) Line() string         { return "mkfifo " + a.Path }
func (a *FIFO) Shell(s *plan.Script) { s.Run("mkfifo -m 600 %s", plan.Quote(a.Path)) }
func (a *FIFO) Undo() plan.Host      { return nil }
func (a *FIFO) Do(e *plan.Env) error {
	if err := unix.Mkfifo(a.Path, 0o600); err != nil {
		return err
	}
	fd, err := unix.Open(a.Path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) // open at both ends: no read ends before something is written
	if err != nil {
		return err
	}
	e.Handles[a.As] = fd
	return nil
}

// Folder makes the container's own folder, if the engine has not made it yet.
// It is not in the undo list, which is a file in it: who undoes the list
// removes the folder.
type Folder struct {
	Path string      `json:"path"`
	Mode os.FileMode `json:"mode,omitempty"` // 0: 0700
}

func (a *Folder) mode() os.FileMode {
	if a.Mode == 0 {
		return 0o700 // a setuid program in it is not for the host's users (CVE-2021-41091)
	}
	return a.Mode
}

func (a *Folder) Verb() string    { return "folder" }
func (a *Folder) Line() string    { return "mkdir -p " + a.Path }
func (a *Folder) Undo() plan.Host { return nil }
func (a *Folder) Do(*plan.Env) error {
	err := os.Mkdir(a.Path, a.mode())
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}

func (a *Folder) Shell(s *plan.Script) {
	s.Run("mkdir -p -m %o %s", a.mode(), plan.Quote(a.Path))
	(&Remove{Path: a.Path}).Shell(s.Undoing())
}

// File makes a file with a content, in the container's own folder: it goes
// when the folder goes.
type File struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

func (a *File) Verb() string       { return "file" }
func (a *File) Line() string       { return fmt.Sprintf("file %s, %d bytes", a.Path, len(a.Content)) }
func (a *File) Undo() plan.Host    { return nil }
func (a *File) Do(*plan.Env) error { return os.WriteFile(a.Path, []byte(a.Content), 0o644) }
func (a *File) Shell(s *plan.Script) {
	s.Run("printf %%s %s >%s", plan.Quote(a.Content), plan.Quote(a.Path))
}

// Nofile sets the soft limit on descriptors, and keeps the hard one.
type Nofile struct {
	Soft uint64 `json:"soft"`
}

func (a *Nofile) Verb() string         { return "rlimit" }
func (a *Nofile) Undo() plan.Host      { return nil }
func (a *Nofile) Line() string         { return fmt.Sprintf("prlimit --nofile=%d:", a.Soft) }
func (a *Nofile) Shell(s *plan.Script) { s.Run(`prlimit --pid "$PID" --nofile=%d:`, a.Soft) }
func (a *Nofile) Do(e *plan.Env) error {
	var l unix.Rlimit
	if err := unix.Prlimit(e.Pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return err
	}
	l.Cur = min(a.Soft, l.Max)
	return unix.Prlimit(e.Pid, unix.RLIMIT_NOFILE, &l, nil)
}
