// SPDX-License-Identifier: Apache-2.0

// Package process looks at one process at every level: what it is called in
// each PID namespace, who it is inside and outside of its user namespace, what
// its capabilities hold over, and what it is confined by.
//
// Read collects the facts as a value, Process; what shows it (Text), or reads
// its isolation back (package config), is pure.
//
// Sources: proc(5) and its parts, credentials(7), capabilities(7),
// user_namespaces(7).
package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"vitro/inspect"
	"vitro/plan"
)

// A Process is what there is to know of one. What this process may not look at
// is empty, and named in Missing.
type Process struct {
	PID       int                `json:"pid"`
	Name      string             `json:"name"`
	Args      []string           `json:"args,omitempty"`
	Env       []string           `json:"env,omitempty"`
	Exe       string             `json:"exe,omitempty"`  // as its own root has it
	Cwd       string             `json:"cwd,omitempty"`  // likewise
	Root      string             `json:"root,omitempty"` // as our root has it, where it is in it
	Container *inspect.Container `json:"container,omitempty"`

	Levels     []Level     `json:"levels"` // PID namespaces, from ours inwards
	Namespaces []Namespace `json:"namespaces"`

	UIDs, GIDs      [4]uint32 // real, effective, saved, of files; as we see them
	Groups          []uint32
	UIDMap, GIDMap  []inspect.Range // of its user namespace, as we see it
	SetgroupsDenied bool            `json:",omitempty"`
	Hostname        string          `json:"hostname,omitempty"`
	Domainname      string          `json:"domainname,omitempty"`
	Offsets         []Offset        `json:"offsets,omitempty"` // of its time namespace
	Capabilities    Capabilities    `json:"capabilities"`
	NoNewPrivs      bool            `json:"noNewPrivs"`
	Seccomp         int             `json:"seccomp"` // 0 none, 1 strict, 2 filters
	Filters         int             `json:"filters,omitempty"`
	Label           string          `json:"label,omitempty"` // of the security module
	LabelOf         string          `json:"labelOf,omitempty"`
	OOMScoreAdj     int             `json:"oomScoreAdj"`
	Umask           uint32          `json:"umask"`
	Terminal        bool            `json:"terminal,omitempty"` // /dev/console is a terminal of its own
	Limits          []Limit         `json:"limits,omitempty"`
	Cgroups         []Cgroup        `json:"cgroups,omitempty"`
	Mounts          []Mount         `json:"mounts,omitempty"`
	Devices         []Device        `json:"devices,omitempty"` // nodes in its /dev
	Links           []Link          `json:"links,omitempty"`
	Sysctl          []Sysctl        `json:"sysctl,omitempty"`
	Missing         []string        `json:"missing,omitempty"`
}

// A Level is what the process is called in one PID namespace.
type Level struct {
	PID       int    `json:"pid"`
	Namespace uint64 `json:"namespace,omitempty"` // 0: not to be seen from here
}

// A Namespace is one that the process is in.
type Namespace struct {
	Kind    inspect.Kind `json:"kind"`
	ID      uint64       `json:"id"`
	Owner   uint64       `json:"owner,omitempty"`   // the user namespace; 0: not to be seen from here
	Shared  bool         `json:"shared,omitempty"`  // it is ours too
	Initial bool         `json:"initial,omitempty"` // it is the machine's first
	// Held: the process's capabilities count here, since its user namespace is
	// the owner, or above it.
	Held bool `json:"held,omitempty"`
}

// Capabilities are the five sets.
type Capabilities struct {
	Effective   plan.CapSet `json:"effective"`
	Permitted   plan.CapSet `json:"permitted"`
	Inheritable plan.CapSet `json:"inheritable"`
	Bounding    plan.CapSet `json:"bounding"`
	Ambient     plan.CapSet `json:"ambient"`
}

// An Offset is how far a clock of the time namespace is from the machine's.
type Offset struct {
	Clock   string `json:"clock"`
	Seconds int64  `json:"seconds"`
	Nanos   int64  `json:"nanos"`
}

// A Sysctl is a kernel parameter that the process's namespaces have of their
// own.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NamespaceOf is the process's namespace of a kind; nil if it may not be seen.
func (p *Process) NamespaceOf(k inspect.Kind) *Namespace {
	for i := range p.Namespaces {
		if p.Namespaces[i].Kind == k {
			return &p.Namespaces[i]
		}
	}
	return nil
}

// miss notes what could not be read, once for each reason.
func (p *Process) miss(what string, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	text := what + ": " + cause(err)
	for _, m := range p.Missing {
		if m == text {
			return
		}
	}
	p.Missing = append(p.Missing, text)
}

func cause(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// A GoneError is a process that does not exist, or has ended while it was
// looked at.
type GoneError struct{ PID int }

func (e *GoneError) Error() string {
	return fmt.Sprintf("look at process %d: there is no such process", e.PID)
}

// Options are what Read leaves out.
type Options struct {
	Links bool // with the process's network, and whose the other ends are
}

// Read looks at a process.
func Read(pid int, o Options) (*Process, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	described := inspect.Describe([]int{pid})
	if len(described) == 0 {
		return nil, &GoneError{pid}
	}
	d := described[0]
	p := &Process{PID: pid, Name: d.Name, Args: d.Args, Container: d.Container}
	start, err := startTime(dir)
	if err != nil {
		return nil, &GoneError{pid}
	}
	for _, look := range [...]func(*Process, string){
		status, readLinks, namespaces, readMaps, readLimits, readCgroups, readMounts, readDevices, inside,
	} {
		look(p, dir)
	}
	if o.Links {
		p.readNetwork(dir)
	}
	// Its number may be another's by now, and what was read of two.
	if again, err := startTime(dir); err != nil || again != start {
		return nil, &GoneError{pid}
	}
	return p, nil
}

func startTime(dir string) (string, error) {
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(stat[max(0, strings.LastIndexByte(string(stat), ')')):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fs.ErrNotExist
	}
	return fields[19], nil
}

// readLinks reads what symbolic links and small files say.
func readLinks(p *Process, dir string) {
	for _, l := range [...]struct {
		name string
		to   *string
	}{{"exe", &p.Exe}, {"cwd", &p.Cwd}, {"root", &p.Root}} {
		text, err := os.Readlink(dir + "/" + l.name)
		p.miss("its "+l.name, err)
		*l.to = text
	}
	env, err := os.ReadFile(dir + "/environ")
	p.miss("its environment", err)
	if text := strings.TrimRight(string(env), "\x00"); text != "" {
		p.Env = strings.Split(text, "\x00")
	}
	if data, err := os.ReadFile(dir + "/oom_score_adj"); err == nil {
		p.OOMScoreAdj, _ = strconv.Atoi(strings.TrimSpace(string(data)))
	}
	for _, module := range [...]struct{ file, name string }{{"apparmor/current", "apparmor"}, {"current", ""}} {
		if data, err := os.ReadFile(dir + "/attr/" + module.file); err == nil {
			if label := strings.TrimRight(string(data), "\x00\n"); label != "" {
				p.Label, p.LabelOf = label, module.name
				break
			}
		}
	}
}

// readMaps reads what IDs mean in the process's user namespace.
func readMaps(p *Process, dir string) {
	for _, m := range [...]struct {
		file string
		to   *[]inspect.Range
	}{{"uid_map", &p.UIDMap}, {"gid_map", &p.GIDMap}} {
		data, err := os.ReadFile(dir + "/" + m.file)
		p.miss("its user namespace's map", err)
		*m.to = inspect.ParseMap(data)
	}
	if data, err := os.ReadFile(dir + "/setgroups"); err == nil {
		p.SetgroupsDenied = strings.TrimSpace(string(data)) == "deny"
	}
	data, err := os.ReadFile(dir + "/timens_offsets")
	p.miss("its clocks", err)
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		o := Offset{Clock: f[0]}
		o.Seconds, _ = strconv.ParseInt(f[1], 10, 64)
		o.Nanos, _ = strconv.ParseInt(f[2], 10, 64)
		if o.Seconds != 0 || o.Nanos != 0 {
			p.Offsets = append(p.Offsets, o)
		}
	}
}

// Inside is what an ID that we see is called inside of a user namespace with
// this map. What isn't mapped is not called anything there.
func Inside(ranges []inspect.Range, id uint32) (uint32, bool) {
	for _, r := range ranges {
		if id >= r.Outside && id-r.Outside < r.Size {
			return r.Inside + (id - r.Outside), true
		}
	}
	return 0, false
}
