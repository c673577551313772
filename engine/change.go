// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// limitFields are the flags that `vitro update` can change: where they are in
// Flags, so that those that were given replace those that the container has.
var limitFields = [...]func(have, given *Flags){
	func(h, g *Flags) { replaceIf(&h.Memory, g.Memory) },
	func(h, g *Flags) { replaceIf(&h.MemorySwap, g.MemorySwap) },
	func(h, g *Flags) { replaceIf(&h.MemoryReservation, g.MemoryReservation) },
	func(h, g *Flags) {
		if g.CPUs != "" {
			h.CPUQuota, h.CPUPeriod = 0, 0
		} else if g.CPUQuota != 0 || g.CPUPeriod != 0 {
			h.CPUs = ""
		}
		replaceIf(&h.CPUs, g.CPUs)
		replaceIf(&h.CPUQuota, g.CPUQuota)
		replaceIf(&h.CPUPeriod, g.CPUPeriod)
	},
	func(h, g *Flags) { replaceIf(&h.CPUShares, g.CPUShares) },
	func(h, g *Flags) { replaceIf(&h.CpusetCPUs, g.CpusetCPUs) },
	func(h, g *Flags) { replaceIf(&h.CpusetMems, g.CpusetMems) },
	func(h, g *Flags) { replaceIf(&h.PidsLimit, g.PidsLimit) },
	func(h, g *Flags) { replaceIf(&h.BlkioWeight, g.BlkioWeight) },
	func(h, g *Flags) { replaceIf(&h.Restart, g.Restart) },
}

func replaceIf[T comparable](have *T, given T) {
	var zero T
	if given != zero {
		*have = given
	}
}

// Update changes a container's limits and its restart policy; what is not
// given stays. A running one's limits change at once, or none does.
func (e *Engine) Update(name string, given *Flags) error {
	if _, err := parsePolicy(given.Restart); err != nil {
		return err
	}
	c, err := e.lock(name)
	if err != nil {
		return err
	}
	defer c.Release()
	r, err := loadRecord(c.Dir)
	if err != nil {
		return err
	}
	if r.Flags.Rm && given.Restart != "" && given.Restart != "no" {
		return errors.New("update container: one that is removed at its end can't be started again")
	}
	for _, replace := range limitFields {
		replace(&r.Flags, given)
	}
	d := &draft{Flags: &r.Flags, e: e, id: r.ID, spec: &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}}
	if err := d.limits(); err != nil {
		return err
	}
	if change := d.spec.Linux.Resources; c.State != nil && c.State.Alive() && !noChange(change) {
		if err := c.Limit(change); err != nil {
			return fmt.Errorf("update container %q: %w", name, err)
		}
	}
	if err := saveRecord(c, r); err != nil {
		return err
	}
	e.tell(r, "update")
	return nil
}

func noChange(r *specs.LinuxResources) bool {
	return r.Memory == nil && r.CPU == nil && r.Pids == nil && r.BlockIO == nil
}

// Top is what ps(1) says of a container's processes.
func (e *Engine) Top(name string, options []string) (string, error) {
	c, err := e.find(name)
	if err != nil {
		return "", err
	}
	if c.State == nil || !c.State.Alive() {
		return "", hint(fmt.Errorf("list processes of container %q: it is not running", name), "vitro start %s", name)
	}
	pids, err := c.State.Cgroups.Procs()
	if err != nil {
		return "", fmt.Errorf("list processes of container %q: %w", name, err)
	}
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	if strings.Join(options, "") == "" || options[0] == "--" {
		options = options[1:]
	}
	out, err := exec.Command("ps", options...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			return "", hint(fmt.Errorf("run ps %s: %s", strings.Join(options, " "), strings.TrimSpace(string(failed.Stderr))), "the options are those of ps(1)")
		}
		return "", err
	}
	return psLines(string(out), pids)
}

// psLines are the head of ps's table, and those of its lines that are about
// the given processes.
func psLines(table string, pids []int) (string, error) {
	head, rest, _ := strings.Cut(table, "\n")
	column := slices.Index(strings.Fields(head), "PID")
	if column < 0 {
		return "", hint(errors.New("run ps: its table has no column PID"), "choose options that show one: -o pid,args")
	}
	titles := strings.Fields(head)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 20, 1, 3, ' ', 0) // Docker's layout
	fmt.Fprintln(w, strings.Join(titles, "\t"))
	for line := range strings.Lines(rest) {
		f := strings.Fields(line)
		if column >= len(f) {
			continue
		}
		if pid, err := strconv.Atoi(f[column]); err != nil || !slices.Contains(pids, pid) {
			continue
		}
		if last := len(titles) - 1; len(f) > last { // the last column may have spaces in it
			f = append(f[:last], strings.Join(f[last:], " "))
		}
		fmt.Fprintln(w, strings.Join(f, "\t"))
	}
	err := w.Flush()
	return b.String(), err
}

// Prune removes the containers that don't run, of those that match. It returns
// their IDs, and how many bytes they had written.
func (e *Engine) Prune(match func(*Card) bool) (removed []string, freed int64, err error) {
	all, err := e.List()
	if err != nil {
		return nil, 0, err
	}
	var errs []error
	for _, i := range all {
		if i.Status != Exited && i.Status != Created || i.Beside != 0 || !match(i) {
			continue
		}
		size, _ := e.Sizes(i)
		if err := e.Remove(i.ID, false, false); err != nil {
			errs = append(errs, err)
			continue
		}
		removed, freed = append(removed, i.ID), freed+size
	}
	return removed, freed, errors.Join(errs...)
}

// Sizes are the bytes that a container has written to its root file system,
// and those with the image's.
func (e *Engine) Sizes(i *Card) (written, all int64) {
	written = SizeOf(filepath.Join(i.Dir, "upper"))
	all = written
	if img, err := e.Images.Get(string(i.ImageID)); err == nil {
		all += img.Size
	}
	return written, all
}

// SizeOf is the bytes of all files in a folder that we may look into: an
// ordinary user's containers have some of other users.
func SizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if st, err := d.Info(); err == nil {
			size += st.Size()
		}
		return nil
	})
	return size
}
