// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
)

// tops are the folders called vitro-lab that may be there, one in each hierarchy.
func tops() ([]string, error) {
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, h := range layout.Hierarchies {
		list = append(list, filepath.Join(h.Mount, Cgroup))
	}
	return list, nil
}

// Version says where a machine's processor limits live: v1 or v2.
func Version() string {
	if _, v2, err := top("cpu"); err == nil && !v2 {
		return "v1"
	}
	return "v2"
}

// top is the lab's cgroup for a controller; "" asks for version 2.
func top(controller string) (dir string, v2 bool, err error) {
	layout, err := cgroup.Detect()
	if err != nil {
		return "", false, err
	}
	for _, h := range layout.Hierarchies { // those of version 1 come first
		if h.V2 || slices.Contains(h.Controllers, controller) {
			return filepath.Join(h.Mount, Cgroup), h.V2, nil
		}
	}
	return "", false, errors.New("no tree of cgroups for it is mounted here")
}

// file reads a file of a group: the one of version 1, or of 2.
func file(controller, group, v1, v2 string) (text string, isV2 bool, err error) {
	dir, isV2, err := top(controller)
	if err != nil {
		return "", false, err
	}
	name := v1
	if isV2 {
		name = v2
	}
	text, err = content(filepath.Join(dir, group, name))
	return text, isV2, err
}

func group(controller string, names ...string) func(*Lab) error {
	return func(*Lab) error {
		dir, _, err := top(controller)
		if err != nil {
			return err
		}
		for _, n := range names {
			if info, err := os.Lstat(filepath.Join(dir, n)); err != nil || !info.IsDir() {
				return fmt.Errorf("there is no %s", filepath.Join(dir, n))
			}
		}
		return nil
	}
}

func half(*Lab) error {
	text, v2, err := file("cpu", "cpu", "cpu.cfs_quota_us", "cpu.max")
	if err != nil {
		return err
	}
	quota, period, _ := strings.Cut(text, " ")
	if !v2 {
		if period, _, err = file("cpu", "cpu", "cpu.cfs_period_us", ""); err != nil {
			return err
		}
	}
	q, err := strconv.Atoi(quota)
	if err != nil || q < 0 {
		return errors.New("it has no limit")
	}
	p, err := strconv.Atoi(period)
	if err != nil || p == 0 || q*2 != p {
		return fmt.Errorf("it may have %s microseconds in %s", printable(quota), printable(period))
	}
	return nil
}

// counter is a number in a file of lines "name number".
func counter(text, name string) int {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

func burned(*Lab) error {
	text, _, err := file("cpu", "cpu", "cpu.stat", "cpu.stat")
	if err != nil {
		return err
	}
	// Not nr_throttled: on a machine that is busy, it may not even get its half.
	if counter(text, "nr_periods") == 0 {
		return errors.New("none has yet: burn some time in it")
	}
	return nil
}

func weights(*Lab) error {
	for name, want := range map[string]string{"a": "2048", "b": "512", "c": "80"} {
		got, _, err := file("cpu", name, "cpu.shares", "cpu.weight")
		if err != nil {
			return err
		}
		if err := differs(name, got, want); err != nil {
			return err
		}
	}
	return nil
}

// tolerance is how far a share may be off, in percent of the whole: a few
// seconds are not long, and the machine has other things to do.
const tolerance = 8

func obtained(l *Lab) error {
	var got [3]float64
	for i, name := range [...]string{"a", "b", "c"} {
		text, err := content(l.path("shares", name))
		if err != nil {
			return err
		}
		if got[i], err = lately(text); err != nil {
			return fmt.Errorf("shares/%s: %w", name, err)
		}
	}
	sum := got[0] + got[1] + got[2]
	for i, want := range [...]float64{100 * 2048. / 2640, 100 * 512. / 2640, 100 * 80. / 2640} {
		if share := 100 * got[i] / sum; !(share > want-tolerance && share < want+tolerance) {
			return fmt.Errorf("they got %.0f, %.0f and %.0f %%", 100*got[0]/sum, 100*got[1]/sum, 100*got[2]/sum)
		}
	}
	return nil
}

// lately is the mean of the last shares that vitro burn has told of, one each
// second: the first ones were before the process was moved.
func lately(text string) (float64, error) {
	var shares []float64
	for line := range strings.Lines(text) {
		var v float64
		if _, err := fmt.Sscanf(line, "cpu: %f %%", &v); err == nil && !strings.Contains(line, "of one processor") {
			shares = append(shares, v)
		}
	}
	if len(shares) < 4 {
		return 0, errors.New("vitro burn has not told four times yet how much it got")
	}
	shares = shares[len(shares)-3:]
	sum := 0.
	for _, v := range shares {
		sum += v
	}
	return sum / float64(len(shares)), nil
}

func tenMB(*Lab) error {
	text, _, err := file("memory", "memory", "memory.limit_in_bytes", "memory.max")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 9<<20 || n > 10<<20 {
		return fmt.Errorf("its limit is %s", printable(text))
	}
	return nil
}

func oomKilled(*Lab) error {
	text, _, err := file("memory", "memory", "memory.oom_control", "memory.events")
	if err != nil {
		return err
	}
	if counter(text, "oom_kill") == 0 {
		return errors.New("nobody was yet: touch more than that in it")
	}
	return nil
}

func thirty(*Lab) error {
	text, _, err := file("pids", "pids", "pids.max", "pids.max")
	if err != nil {
		return err
	}
	return differs("pids.max", text, "30")
}

func refused(*Lab) error {
	text, _, err := file("pids", "pids", "pids.events", "pids.events")
	if err != nil {
		return err
	}
	if counter(text, "max") == 0 {
		return errors.New("none was yet: start more in it")
	}
	return nil
}

// owner is whose a file in the delegated group is.
func owner(name string) (uint32, error) {
	dir, _, err := top("")
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	err = unix.Lstat(filepath.Join(dir, "delegated", name), &st)
	return st.Uid, err
}

func delegated(*Lab) error {
	uid, err := owner("")
	if err != nil {
		return err
	}
	if uid == 0 {
		return errors.New("it is root's")
	}
	list, err := content("/sys/kernel/cgroup/delegate")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(list) {
		its, err := owner(name)
		if errors.Is(err, unix.ENOENT) {
			continue // of a controller that is not on
		}
		if err != nil {
			return err
		}
		if its != uid {
			return fmt.Errorf("%s is user %d's, the folder is user %d's", printable(name), its, uid)
		}
	}
	return nil
}

func limitsKept(*Lab) error {
	uid, err := owner("cgroup.max.depth")
	if err != nil {
		return err
	}
	if uid != 0 {
		return fmt.Errorf("cgroup.max.depth is user %d's", uid)
	}
	return nil
}

func moved(*Lab) error {
	uid, err := owner("")
	if err != nil {
		return err
	}
	its, err := owner("two")
	if err != nil {
		return fmt.Errorf("the group two: %w", err)
	}
	if its != uid {
		return fmt.Errorf("the group two is user %d's", its)
	}
	procs, _, err := file("", "delegated/two", "", "cgroup.procs")
	if err == nil && procs == "" {
		err = errors.New("no process is in the group two")
	}
	return err
}

var inView = of("cgroupns", func(_ *Lab, p process) error {
	return p.viewIs(func(s string) bool { return strings.HasSuffix(s, "/"+Cgroup+"/view") })
})

// viewIs asks about a process's cgroup of version 2, as the calling thread is told it.
func (p process) viewIs(right func(string) bool) error {
	text, err := content(p.proc("cgroup"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			if right(path) {
				return nil
			}
			return fmt.Errorf("it is %s", printable(path))
		}
	}
	return errors.New("it has none of version 2")
}

var viewFromInside = of("cgroupns", func(_ *Lab, p process) error {
	return p.within(func() error { return p.viewIs(func(s string) bool { return s == "/" }) }, "cgroup")
})
