// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"vitro/cgroup/systemd"
	"vitro/host"
	"vitro/plan"
)

// A Setup is what a container's cgroups need, as steps of its plan.
type Setup struct {
	// Before are host steps ahead of the clone. They make the cgroups, write
	// the limits, and open what the child needs.
	Before []plan.Step
	// Born are host steps behind the clone, ahead of all that the child does:
	// systemd makes a scope only around a process.
	Born []plan.Step
	// Into is the handle of the cgroup of version 2 that the child is born in
	// (clone3 with CLONE_INTO_CGROUP); "" for none.
	Into string
	// Join are child steps: the child moves itself into cgroups of version 1.
	Join []plan.Step
	// Dirs are the cgroups, for the readers: worth keeping with the container.
	Dirs Dirs
	// Unit is the container's unit, if systemd makes its cgroups: worth keeping
	// for UpdateUnit. The undo list has what stops it.
	Unit *systemd.Ref
	// Notes say what was left out, and why, a sentence each.
	Notes []string
}

// Options are what a container's caller wants of its cgroups. The zero value is
// for a container by the runtime's command line.
type Options struct {
	// Name is the container's name: its cgroup's, if config.json gives no path.
	Name string
	// All asks for every controller there is, as Docker has it, for statistics
	// and later changes. Otherwise it is those that a limit names, and one that
	// tracks the processes: each one of version 1 costs a container some 30 to 80 µs.
	All bool
	// Shared is a cgroup, such as "/vitro", that holds only this program's
	// containers: it is made for the first and removed with the last. It is
	// absolute or relative as the path is that begins with it.
	Shared string
	// Owner gets the cgroup for itself (version 2 only), to make cgroups below
	// it: the host's IDs of a user namespace's root. Only for a container that
	// has a cgroup namespace.
	Owner *Owner
	// Systemd has the Layout's Manager make the cgroup, as a unit; cgroupsPath
	// is "slice:prefix:name" then (systemd.ParseUnit), and Shared is of no use.
	Systemd bool
	// Properties are the unit's, besides those that the limits come down to.
	Properties []systemd.Property
}

// An Owner is a user and a group of the host.
type Owner struct{ UID, GID int }

// Setup decides which cgroups a container gets.
//
// Path is config.json's cgroupsPath. An absolute one counts from the mount of
// each tree, a relative one from the own cgroup (version 1) or from its parent
// (version 2, where a cgroup that holds processes can't have children with
// controllers), as runc's cgroupfs driver has it; ".." leads nowhere out. If it
// is empty, the container gets a cgroup only if there are limits.
//
// A limit that the machine can't keep is an error: *Invalid, *Unsupported,
// *NotDelegated, *InternalProcesses, *Threaded, ErrNone, ErrOutside, ErrInUse,
// ErrFrozen.
// Without limits, a user to whom nothing is delegated gets no cgroup, and a note.
func (l *Layout) Setup(cgroupsPath string, res *specs.LinuxResources, opt Options) (*Setup, error) {
	rows, err := Limits(res)
	if err != nil {
		return nil, err
	}
	b := &builder{Layout: l, opt: opt, rows: rows, setup: new(Setup)}
	if res != nil {
		if b.devices, err = Devices(res.Devices); err != nil {
			return nil, err
		}
	}
	if allowsAll(b.devices) { // as a new cgroup does
		b.devices = nil
	}
	if len(b.devices) > 0 && !l.mayFilterDevices() {
		b.devices = nil
		b.note("device rules are left out: only the machine's root may set them, and the kernel keeps others from devices anyway")
	}
	limited := len(rows) > 0 || len(b.devices) > 0
	if opt.Systemd {
		if cgroupsPath, err = b.askUnit(cgroupsPath); err != nil {
			return nil, err
		}
	} else if cgroupsPath == "" {
		if !limited {
			return b.setup, nil
		}
		cgroupsPath = opt.Name
	}
	b.path, err = cleanPath(cgroupsPath)
	if err == nil {
		err = b.build()
	}
	var denied *NotDelegated
	if !limited && b.unit == nil && (errors.As(err, &denied) || errors.Is(err, ErrNone)) {
		return &Setup{Notes: append(b.setup.Notes, "the container gets no cgroup: "+err.Error())}, nil
	}
	if err != nil {
		return nil, err
	}
	if b.unit != nil {
		b.startUnit()
	}
	return b.setup, nil
}

// cleanPath keeps a path from leading out: "../../x" is "x".
func cleanPath(p string) (string, error) {
	clean := path.Clean("/" + p)
	if clean == "/" {
		return "", &Invalid{"cgroupsPath", p, "it names no cgroup"}
	}
	if strings.ContainsFunc(clean, unicode.IsControl) {
		return "", &Invalid{"cgroupsPath", p, "control characters in it"}
	}
	if !path.IsAbs(p) {
		clean = clean[1:]
	}
	return clean, nil
}

// mayFilterDevices: the kernel wants CAP_SYS_ADMIN in the first user namespace.
func (l *Layout) mayFilterDevices() bool { return l.isMachineRoot() }

func (l *Layout) isMachineRoot() bool {
	return l.UID == 0 && slices.Equal(l.fields("/proc/self/uid_map"), []string{"0", "0", "4294967295"})
}

// A builder collects a Setup.
type builder struct {
	*Layout
	opt     Options
	path    string
	rows    []Limit
	devices []Device
	unit    *unit // nil without systemd
	late    bool  // the cgroup is there only when the child is born
	setup   *Setup
}

func (b *builder) note(format string, args ...any) {
	b.setup.Notes = append(b.setup.Notes, fmt.Sprintf(format, args...))
}

func (b *builder) host(why string, a plan.Host) {
	list := &b.setup.Before
	if b.late {
		list = &b.setup.Born
	}
	*list = append(*list, plan.Step{Action: a, Why: why})
}

func (b *builder) build() error {
	if len(b.Hierarchies) == 0 {
		return ErrNone
	}
	rows, err := b.assign()
	if err != nil {
		return err
	}
	track, filter := b.tracker(), -1
	if len(b.devices) > 0 {
		if filter = b.filter(); filter < 0 {
			missing, remedy := without("devices")
			return &Unsupported{"devices", missing, remedy}
		}
	}
	if b.unit != nil && len(b.devices) > 0 {
		b.tellDevices()
	}
	for i := range b.Hierarchies {
		h := &b.Hierarchies[i]
		need := i == track && b.unit == nil || i == filter || len(rows[i]) > 0
		one := tree{builder: b, h: h, rows: rows[i], devices: i == filter, need: need}
		// a unit holds together by itself; what systemd manages of it is there anyway
		if !need && i != track && !b.opt.All && !one.managed() {
			continue
		}
		if err := one.plan(); err != nil {
			return err
		}
	}
	return nil
}

// tracker is the index of the hierarchy that holds the container together. In
// a hybrid layout that is the freezer: version 2 could kill in one call, but a
// cgroup there costs twice as much to make.
func (b *builder) tracker() int {
	for i, h := range b.Hierarchies {
		if slices.Contains(h.Controllers, "freezer") {
			return i
		}
	}
	return len(b.Hierarchies) - 1 // version 2, if there is one
}

// filter is the index of the hierarchy that the device rules belong to, -1 if
// there is none.
func (b *builder) filter() int {
	if h := b.home("devices"); h != nil {
		return b.index(h)
	}
	return slices.IndexFunc(b.Hierarchies, func(h Hierarchy) bool { return h.V2 })
}

// writable asks the layout's FS.
func (l *Layout) writable(path string) bool { return l.FS.Writable(path) }

// assign gives each limit to the hierarchy that has its controller.
func (b *builder) assign() ([][]Limit, error) {
	rows := make([][]Limit, len(b.Hierarchies))
	for _, r := range b.rows {
		h := b.homeOf(r)
		if h == nil {
			if f := refusal(r); f != nil && b.Version() == "v2" {
				return nil, &Unsupported{r.Property, f.Refused, f.Remedy}
			}
			missing, remedy := without(r.Controller)
			return nil, &Unsupported{r.Property, missing, remedy}
		}
		f := form(r, h)
		if f.Refused != "" {
			return nil, &Unsupported{r.Property, f.Refused, f.Remedy}
		}
		if len(f.Entries) > 0 {
			i := b.index(h)
			rows[i] = append(rows[i], r)
		}
	}
	return rows, nil
}

func refusal(r Limit) *Form {
	if r.V2.Refused != "" {
		return &r.V2
	}
	return nil
}

func (b *builder) homeOf(r Limit) *Hierarchy {
	if r.Controller == core {
		if h := b.unified(); h != nil {
			return h
		}
		return &b.Hierarchies[0] // which refuses it
	}
	return b.home(r.Controller)
}

func (b *builder) index(h *Hierarchy) int {
	return slices.IndexFunc(b.Hierarchies, func(o Hierarchy) bool { return o.Mount == h.Mount })
}

func form(r Limit, h *Hierarchy) *Form {
	if h.V2 {
		return &r.V2
	}
	return &r.V1
}

// A tree is the container's part of one hierarchy.
type tree struct {
	*builder
	h       *Hierarchy
	rows    []Limit
	devices bool // the device rules belong here
	need    bool // not only for Options.All
	dir     string
}

// plan adds the tree's steps. What only Options.All asks for is left out where
// it can't be had.
func (t *tree) plan() error {
	before := *t.setup
	err := t.v1
	switch {
	case t.managed() || t.half():
		err = t.scope
	case t.h.V2:
		err = t.v2
	}
	if e := err(); e != nil && !t.need {
		*t.setup = before
		t.note("%v", e)
	} else if e != nil {
		return e
	}
	return nil
}

// make adds the step that makes the cgroup, in the deepest parent that is
// there, which has to be writable.
func (t *tree) make(cgroup string) error {
	t.dir = t.h.dir(cgroup)
	there := t.deepest(cgroup)
	if there == t.dir {
		if procs, err := t.FS.Read(t.dir + "/cgroup.procs"); err == nil && procs != "" {
			return fmt.Errorf("make cgroup %s: %w", t.dir, ErrInUse)
		}
		if t.frozen() {
			return fmt.Errorf("make cgroup %s: %w", t.dir, ErrFrozen)
		}
		there = path.Dir(t.dir)
	}
	if !t.writable(there) {
		return t.denied(there, nil)
	}
	below := there
	if s := t.opt.Shared; s != "" && strings.HasPrefix(t.path, s+"/") {
		below = t.h.dir(path.Join("/", strings.TrimSuffix(cgroup, t.path), path.Dir(s)))
	}
	t.host("a cgroup of its own for "+t.purpose(), &Make{Path: t.dir, Below: below})
	return nil
}

// frozen reports whether the cgroup, which is there, stands still.
func (t *tree) frozen() bool {
	if t.h.V2 {
		s, err := t.FS.Read(t.dir + "/cgroup.freeze")
		return err == nil && strings.TrimSpace(s) == "1"
	}
	if !slices.Contains(t.h.Controllers, "freezer") {
		return false
	}
	s, err := t.FS.Read(t.dir + "/freezer.state")
	return err == nil && strings.TrimSpace(s) != "THAWED"
}

// deepest is the folder of a cgroup, or of its nearest parent that is there.
// It looks from above: most paths end early.
func (t *tree) deepest(cgroup string) string {
	there := t.h.Mount
	for i := 1; i <= len(cgroup); i++ {
		if i < len(cgroup) && cgroup[i] != '/' {
			continue
		}
		dir := t.h.dir(cgroup[:i])
		if !t.FS.Exists(dir) {
			break
		}
		there = dir
	}
	return there
}

// purpose says what the cgroup is for.
func (t *tree) purpose() string {
	var what []string
	for _, r := range t.rows {
		if !slices.Contains(what, r.Controller) && r.Controller != core {
			what = append(what, r.Controller)
		}
	}
	switch {
	case len(what) > 0:
		return "its limits: " + strings.Join(what, ", ")
	case t.devices:
		return "its device rules"
	case t.h.V2 || slices.Contains(t.h.Controllers, "freezer"):
		return "keeping its processes together: count, freeze, kill"
	}
	return "its share of: " + strings.Join(t.h.Controllers, ", ")
}

func (t *tree) denied(path string, controllers []string) error {
	if controllers == nil {
		for _, r := range t.builder.rows {
			if !slices.Contains(controllers, r.Controller) {
				controllers = append(controllers, r.Controller)
			}
		}
	}
	return &NotDelegated{Path: path, Controllers: controllers, UID: t.UID, V2: t.h.V2, Systemd: t.Systemd}
}

// write adds the steps that write the limits. Sample is a cgroup of the same
// kind, to see whether the kernel has the files; "" if there is none to look at.
func (t *tree) write(sample func(controller string) string) error {
	for _, r := range t.rows {
		f := form(r, t.h)
		e, known := t.pick(f, sample(r.Controller))
		if e == nil {
			if f.Optional {
				if f.Note != "" {
					t.note("%s: %s", r.Property, f.Note)
				}
				continue
			}
			missing, remedy := lack(f.Entries[0].File)
			return &Unsupported{r.Property, missing, remedy}
		}
		if t.unit != nil {
			t.unit.files = append(t.unit.files, systemd.File{V2: t.h.V2, Name: e.File, Value: e.Value})
		}
		t.host(r.Why, &host.Write{Path: t.dir + "/" + e.File, Value: e.Value, Optional: f.Optional && !known})
	}
	return nil
}

// pick is the first entry whose file exists in the sample. Where that can't be
// told, it is the last one, and known is false.
func (t *tree) pick(f *Form, sample string) (e *Entry, known bool) {
	var unsure *Entry
	for i := range f.Entries {
		e := &f.Entries[i]
		switch {
		case sample != "" && t.FS.Exists(sample+"/"+e.File):
			return e, true
		case sample == "" || sample == t.h.Mount && notOnRoot(e.File):
			unsure = e
		}
	}
	return unsure, false
}

// notOnRoot: files that the kernel keeps from the root cgroup of version 1
// (CFTYPE_NOT_ON_ROOT).
func notOnRoot(file string) bool {
	switch file {
	case "pids.max", "rdma.max", "blkio.bfq.weight", "blkio.bfq.weight_device":
		return true
	}
	return strings.HasPrefix(file, "hugetlb.")
}

// open adds the step that opens the cgroup for the child.
func (t *tree) open(why, file, as string, flags int) {
	t.host(why, &host.Open{Path: file, Flags: flags, As: as})
}

// added keeps the cgroup for the readers.
func (t *tree) added(controllers []string) {
	t.setup.Dirs = append(t.setup.Dirs, Dir{Path: t.dir, V2: t.h.V2, Controllers: controllers})
}

// pathFlags opens a folder as a name for it, without any right to read.
const pathFlags = unix.O_PATH | unix.O_DIRECTORY
