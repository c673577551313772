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
	Beside  int    // its parent that stays beside it; 0 if it was not to have one
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
	if s.Beside != 0 {
		b = fmt.Appendf(b, "beside %d\n", s.Beside)
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

// parseState reads what append has written; brief leaves out what freezes does. Lines of
// other names are a newer version's: they are passed over.
func parseState(data []byte, brief bool) (*State, error) {
	s := new(State)
	for len(data) > 0 {
		var text []byte
		if text, data, _ = bytes.Cut(data, []byte("\n")); brief && !freezes(text) {
			continue
		}
		line := string(text)
		name, value, _ := strings.Cut(line, " ")
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
		case "beside":
			s.Beside, err = strconv.Atoi(value)
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
func (c *Container) Save(s *State) error { return c.save("state", s) }

// SaveKeeper notes the process that keeps the container's input open.
func (c *Container) SaveKeeper(pid int) error { return c.save(KeeperFile, &State{Pid: pid}) }

// Keeper opens the process that keeps the container's input open. The error is
// ErrStopped, or os.ErrNotExist, if there is none.
func (c *Container) Keeper() (pidfd int, err error) {
	s, err := loadState(c.Dir, KeeperFile)
	if err != nil {
		return -1, err
	}
	return s.Open()
}

// EndKeeper ends that process, if it is there, and has it leave the process
// table, if it is a child of ours. It ends by itself with the container: this
// only makes sure that it has.
func (c *Container) EndKeeper() {
	s, err := loadState(c.Dir, KeeperFile)
	if err != nil || s.Boot != bootID() {
		return
	}
	fd, err := unix.PidfdOpen(s.Pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if start, err := startTime(s.Pid); err != nil || start != s.Start {
		return // its number is another's
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	for unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED, nil) == unix.EINTR {
	}
}

// KeeperFile is where that process is noted, in the container's folder.
const KeeperFile = "keeper"

func (c *Container) save(name string, s *State) (err error) {
	if s.Start, err = startTime(s.Pid); err != nil {
		return fmt.Errorf("write container's state: %w", err)
	}
	s.Boot = bootID()
	if err := smallfile.Write(c.Path("."+name), s.append(nil), 0o600); err != nil {
		return fmt.Errorf("write container's state: %w", err)
	}
	if err := unix.Rename(c.Path("."+name), c.Path(name)); err != nil {
		return fmt.Errorf("write container's state: %w", err)
	}
	return nil
}

func loadState(dir, name string) (*State, error) {
	data, err := smallfile.Read(dir + "/" + name)
	if err != nil {
		return nil, err
	}
	s, err := parseState(data, false)
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", dir, name, err)
	}
	return s, nil
}

// Alive reports whether the container's first process is there: that very one,
// and not only what its parent has not asked for yet.
func (s *State) Alive() bool {
	_, alive := s.parent()
	return alive
}

// parent is the parent that the container's first process has now, if it is alive.
func (s *State) parent() (pid int, alive bool) {
	if s.Boot != bootID() {
		return 0, false
	}
	p, err := procStat(s.Pid)
	return p.parent, err == nil && p.start == s.Start && p.letter != 'Z' && p.letter != 'X'
}

// tick is the unit of Start: USER_HZ, which is 100 everywhere that Go runs (proc_pid_stat(5)).
const tick = 10 * time.Millisecond

// Age is how long ago the container's first process began, wherever the clock
// was put meanwhile; of another boot's, as far as the clock can tell.
func (s *State) Age() time.Duration {
	var now unix.Timespec
	if s.Boot != bootID() || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return max(0, time.Since(s.Created))
	}
	return max(0, time.Duration(now.Nano())-time.Duration(s.Start)*tick)
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

// A stat is what the kernel says of a process (proc_pid_stat(5), fields 3, 4 and 22).
type stat struct {
	letter byte // its state
	parent int
	start  uint64 // when it began, in clock ticks since boot
}

// procStat asks for a process.
func procStat(pid int) (stat, error) {
	var buf [1024]byte // a name of 64 bytes and 50 numbers of 20
	data, err := smallfile.First("/proc/"+strconv.Itoa(pid)+"/stat", buf[:])
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(data)
	if err != nil {
		err = fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	return s, err
}

// parseStat counts fields from behind the name, which may have any letters in
// it. It leaves nothing on the heap.
func parseStat(data []byte) (s stat, err error) {
	rest := data[bytes.LastIndexByte(data, ')')+1:]
	for n := 1; ; n++ {
		f := bytes.TrimLeft(rest, " \n")
		end := bytes.IndexAny(f, " \n")
		if end < 0 {
			end = len(f)
		}
		if f, rest = f[:end], f[end:]; len(f) == 0 {
			return s, fmt.Errorf("%d fields", n-1)
		}
		switch n {
		case 1:
			s.letter = f[0]
		case 2:
			s.parent, err = strconv.Atoi(string(f))
		case 20:
			s.start, err = strconv.ParseUint(string(f), 10, 64)
			return s, err
		}
		if err != nil {
			return s, err
		}
	}
}

func startTime(pid int) (uint64, error) {
	s, err := procStat(pid)
	return s.start, err
}

var bootID = sync.OnceValue(func() string {
	data, _ := smallfile.Read("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
})

// startFIFO is the file that a container has as long as it waits to be started.
const startFIFO = "exec.fifo"

// Status asks the kernel where the container is in its life.
func (c *Container) Status() Status {
	status, _ := c.State.status(c.Dir)
	return status
}

// status tells besides which parent the container's process has.
func (s *State) status(dir string) (status Status, parent int) {
	if s == nil {
		return Creating, 0
	}
	parent, alive := s.parent()
	if !alive {
		return Stopped, 0
	}
	if frozen, err := s.Cgroups.Frozen(); err == nil && frozen {
		return Paused, parent
	}
	if s.Beside == 0 { // else it was started when it was made
		if _, err := os.Lstat(dir + "/" + startFIFO); !errors.Is(err, fs.ErrNotExist) {
			return Created, parent
		}
	}
	return Running, parent
}

// A Sight is what is seen of a container by one look: for lists of very many.
type Sight struct {
	Status  Status
	Beside  int       // as Holder has it
	Made    bool      // there is a State, if only of a process that has gone
	Pid     int       // of its first process, if that lives; else 0
	Started time.Time // and when that was made
}

// See is Look, Status and Holder in one, in fewer steps.
//
// As long as a container's process has the parent that was beside it at its
// start, that is who holds the container: it has not ended, or the kernel would
// have given the process another parent. So nobody needs to be asked for the lock.
func (s *Store) See(id string) (Sight, error) {
	c := &Container{ID: id, Dir: s.Root + "/" + id}
	var buf [4096]byte
	data, err := smallfile.First(c.Dir+"/state", buf[:])
	if errors.Is(err, fs.ErrNotExist) {
		return Sight{Status: Creating, Beside: c.Holder()}, nil
	}
	if err == nil && len(data) == len(buf) {
		data, err = smallfile.Read(c.Dir + "/state")
	}
	if err != nil {
		return Sight{}, err
	}
	state, err := parseState(data, true)
	if err != nil {
		return Sight{}, fmt.Errorf("read %s/state: %w", c.Dir, err)
	}
	status, parent := state.status(c.Dir)
	sight := Sight{Status: status, Beside: parent, Made: true}
	if parent == 0 || parent != state.Beside {
		sight.Beside = c.Holder()
	}
	if status != Stopped {
		sight.Pid, sight.Started = state.Pid, state.Created
	}
	return sight, nil
}

// freezes reports whether a line of the file state is of what tells whether the
// container runs: half of them, and the shorter ones.
func freezes(line []byte) bool {
	rest, cgroup := bytes.CutPrefix(line, []byte("cgroup "))
	return !bytes.HasPrefix(line, []byte("annotation ")) &&
		(!cgroup || bytes.HasPrefix(rest, []byte("v2 ")) || bytes.HasSuffix(rest, []byte(" freezer")))
}
