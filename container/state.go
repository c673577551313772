// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/internal/smallfile"
)

// A State is what has to be known about a container by a process that did not
// make it. It is written once, when the container's first process is there.
type State struct {
	Pid     int    // of the container's first process
	Start   uint64 // when that began, in clock ticks since boot; filled in by Save
	Boot    string // and the boot that it was of
	Created time.Time
	Version string // ociVersion of the config.json
	Bundle  string // "" for the engine's own
	Rootfs  string
	Unit    string // the systemd unit that holds it, "" for none
	Hooks   bool   // config.json has hooks that are yet to come
	Cgroups cgroup.Dirs

	Annotations map[string]string // those of the config.json
}

// A Status is where a container is in its life (runtime.md, State).
type Status string

// The statuses of the specification, and paused, which every runtime knows.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Paused   Status = "paused"
	Stopped  Status = "stopped"
)

// fields are the lines of the file state: a name, and a value that is quoted
// where it holds what would break the line.
func (s *State) append(b []byte) []byte {
	b = fmt.Appendf(b, "pid %d\nstart %d\nboot %s\ncreated %s\n", s.Pid, s.Start, s.Boot, s.Created.UTC().Format(time.RFC3339Nano))
	for _, f := range [...]struct{ name, value string }{{"version", s.Version}, {"bundle", s.Bundle}, {"rootfs", s.Rootfs}, {"unit", s.Unit}} {
		if f.value != "" {
			b = append(strconv.AppendQuote(append(b, f.name+" "...), f.value), '\n')
		}
	}
	if s.Hooks {
		b = append(b, "hooks yes\n"...)
	}
	for _, d := range s.Cgroups {
		version := "v1"
		if d.V2 {
			version = "v2"
		}
		b = append(b, "cgroup "+version+" "...)
		b = strconv.AppendQuote(b, d.Path)
		for _, c := range d.Controllers {
			b = append(append(b, ' '), c...)
		}
		b = append(b, '\n')
	}
	for _, k := range slices.Sorted(maps.Keys(s.Annotations)) {
		b = strconv.AppendQuote(append(b, "annotation "...), k)
		b = append(strconv.AppendQuote(append(b, ' '), s.Annotations[k]), '\n')
	}
	return b
}

var errState = errors.New("not a container's state")

// parseState reads what append has written. Lines of other names are a newer
// version's: they are passed over.
func parseState(data []byte) (*State, error) {
	s := new(State)
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch name {
		case "pid":
			s.Pid, err = strconv.Atoi(value)
		case "start":
			s.Start, err = strconv.ParseUint(value, 10, 64)
		case "boot":
			s.Boot = value
		case "created":
			s.Created, err = time.Parse(time.RFC3339Nano, value)
		case "version":
			s.Version, err = strconv.Unquote(value)
		case "bundle":
			s.Bundle, err = strconv.Unquote(value)
		case "rootfs":
			s.Rootfs, err = strconv.Unquote(value)
		case "unit":
			s.Unit, err = strconv.Unquote(value)
		case "hooks":
			s.Hooks = value == "yes"
		case "cgroup":
			err = s.parseCgroup(value)
		case "annotation":
			err = s.parseAnnotation(value)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %q", errState, line)
		}
	}
	if s.Pid <= 0 || s.Start == 0 || s.Boot == "" {
		return nil, errState
	}
	return s, nil
}

func (s *State) parseAnnotation(line string) error {
	quoted, err := strconv.QuotedPrefix(line)
	if err != nil {
		return err
	}
	key, err1 := strconv.Unquote(quoted)
	value, err2 := strconv.Unquote(strings.TrimPrefix(line[len(quoted):], " "))
	if s.Annotations == nil {
		s.Annotations = make(map[string]string)
	}
	s.Annotations[key] = value
	return errors.Join(err1, err2)
}

func (s *State) parseCgroup(value string) error {
	version, rest, _ := strings.Cut(value, " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return err
	}
	path, err := strconv.Unquote(quoted)
	if err != nil || !filepath.IsAbs(path) {
		return errState
	}
	s.Cgroups = append(s.Cgroups, cgroup.Dir{Path: path, V2: version == "v2", Controllers: strings.Fields(rest[len(quoted):])})
	return nil
}

// Save writes the container's state, whole or not at all. Start and Boot are filled in.
func (c *Container) Save(s *State) (err error) {
	if s.Start, err = startTime(s.Pid); err != nil {
		return fmt.Errorf("write container's state: %w", err)
	}
	s.Boot = bootID()
	if err := smallfile.Write(c.Path(".state"), s.append(nil), 0o600); err != nil {
		return fmt.Errorf("write container's state: %w", err)
	}
	if err := unix.Rename(c.Path(".state"), c.Path("state")); err != nil {
		return fmt.Errorf("write container's state: %w", err)
	}
	return nil
}

func loadState(dir string) (*State, error) {
	data, err := smallfile.Read(dir + "/state")
	if err != nil {
		return nil, err
	}
	s, err := parseState(data)
	if err != nil {
		return nil, fmt.Errorf("read %s/state: %w", dir, err)
	}
	return s, nil
}

// Alive reports whether the container's first process is there: that very one,
// and not only what its parent has not asked for yet.
func (s *State) Alive() bool {
	if s.Boot != bootID() {
		return false
	}
	letter, start, err := procStat(s.Pid)
	return err == nil && start == s.Start && letter != 'Z' && letter != 'X'
}

// Open opens the container's first process, if it is alive. The descriptor
// stands for it and for no other that gets its number later.
func (s *State) Open() (pidfd int, err error) {
	fd, err := unix.PidfdOpen(s.Pid, 0)
	if err != nil || !s.Alive() {
		if err == nil {
			unix.Close(fd)
		}
		return -1, ErrStopped
	}
	return fd, nil
}

// procStat reads of a process its state's letter and when it began, in clock
// ticks since boot (proc_pid_stat(5), fields 3 and 22).
func procStat(pid int) (letter byte, start uint64, err error) {
	data, err := smallfile.Read("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	if letter, start, err = parseStat(data); err != nil {
		err = fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	return letter, start, err
}

// parseStat counts fields from behind the name, which may have any letters in it.
func parseStat(data []byte) (letter byte, start uint64, err error) {
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 20 {
		return 0, 0, fmt.Errorf("%d fields", len(f))
	}
	start, err = strconv.ParseUint(string(f[19]), 10, 64)
	return f[0][0], start, err
}

func startTime(pid int) (uint64, error) {
	_, start, err := procStat(pid)
	return start, err
}

var bootID = sync.OnceValue(func() string {
	data, _ := smallfile.Read("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
})

// startFIFO is the file that a container has as long as it waits to be started.
const startFIFO = "exec.fifo"

// Status asks the kernel where the container is in its life.
func (c *Container) Status() Status {
	switch {
	case c.State == nil:
		return Creating
	case !c.State.Alive():
		return Stopped
	}
	if frozen, err := c.State.Cgroups.Frozen(); err == nil && frozen {
		return Paused
	}
	if _, err := os.Lstat(c.Path(startFIFO)); !errors.Is(err, fs.ErrNotExist) {
		return Created
	}
	return Running
}
