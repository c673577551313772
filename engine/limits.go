// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100_000

// limits reads what the container may use.
func (d *draft) limits() error {
	r := &specs.LinuxResources{}
	for _, read := range []func(*specs.LinuxResources) error{d.memory, d.cpu, d.blockIO} {
		if err := read(r); err != nil {
			return err
		}
	}
	if d.PidsLimit != 0 {
		limit := max(d.PidsLimit, -1)
		r.Pids = &specs.LinuxPids{Limit: &limit}
	}
	d.spec.Linux.Resources = r
	if d.OOMScoreAdj != 0 {
		d.spec.Process.OOMScoreAdj = &d.OOMScoreAdj
	}
	if err := d.ulimits(); err != nil {
		return err
	}
	parent := d.CgroupParent
	if parent == "" {
		parent = d.e.shared()
	}
	if strings.HasSuffix(parent, ".slice") {
		return hint(fmt.Errorf("read --cgroup-parent=%s: a slice is systemd's, and vitro makes cgroups itself", parent), "give a path: --cgroup-parent=/name")
	}
	d.spec.Linux.CgroupsPath = path.Join(parent, d.id)
	return nil
}

// shared is the cgroup that holds the containers' own. An ordinary user has it
// beside the cgroup that this process is in, if that part is the user's.
func (e *Engine) shared() string {
	if e.root {
		return "/vitro"
	}
	return "vitro"
}

// size reads an amount of memory: "50m".
func size(flag, text string) (int64, error) {
	n, err := units.RAMInBytes(text)
	if err != nil || n < 0 {
		return 0, hint(fmt.Errorf("read --%s=%s: not an amount of memory", flag, text), "a number and a unit, such as 50m or 2g")
	}
	return n, nil
}

func (d *draft) memory(r *specs.LinuxResources) error {
	m := &specs.LinuxMemory{}
	if d.Memory != "" {
		n, err := size("memory", d.Memory)
		if err != nil {
			return err
		}
		if n < 6<<20 {
			return hint(fmt.Errorf("read --memory=%s: too little: the container would be killed at its start", d.Memory), "6m is the least")
		}
		m.Limit = &n
		double := 2 * n
		m.Swap = &double // memory and swap together: as much swap again, as Docker has it
	}
	switch {
	case d.MemorySwap == "":
	case m.Limit == nil:
		return hint(errors.New("read --memory-swap: there is no limit of memory"), "it is memory and swap together: give --memory as well")
	case d.MemorySwap == "-1":
		unlimited := int64(-1)
		m.Swap = &unlimited
	default:
		n, err := size("memory-swap", d.MemorySwap)
		if err != nil {
			return err
		}
		if n < *m.Limit {
			return hint(fmt.Errorf("read --memory-swap=%s: less than --memory=%s", d.MemorySwap, d.Memory), "it is memory and swap together")
		}
		m.Swap = &n
	}
	if d.MemoryReservation != "" {
		n, err := size("memory-reservation", d.MemoryReservation)
		if err != nil {
			return err
		}
		m.Reservation = &n
	}
	if d.Swappiness != nil {
		if *d.Swappiness < 0 || *d.Swappiness > 100 {
			return hint(fmt.Errorf("read --memory-swappiness=%d: out of range", *d.Swappiness), "0 to 100; left away, the machine's holds")
		}
		n := uint64(*d.Swappiness)
		m.Swappiness = &n
	}
	if d.NoOOMKill {
		m.DisableOOMKiller = &d.NoOOMKill
	}
	if *m != (specs.LinuxMemory{}) {
		r.Memory = m
	}
	return nil
}

func (d *draft) cpu(r *specs.LinuxResources) error {
	c := &specs.LinuxCPU{Cpus: d.CpusetCPUs, Mems: d.CpusetMems}
	if d.CPUs != "" {
		if d.CPUQuota != 0 || d.CPUPeriod != 0 {
			return errors.New("read --cpus: it is --cpu-quota and --cpu-period in one: give it or them")
		}
		n, err := strconv.ParseFloat(d.CPUs, 64)
		if err != nil || n < 0.01 || n > 10_000 || math.IsNaN(n) {
			return hint(fmt.Errorf("read --cpus=%s: not a number of processors", d.CPUs), "from 0.01: --cpus=.5 is half of one")
		}
		period, quota := uint64(cpuPeriod), int64(math.Round(n*cpuPeriod))
		c.Period, c.Quota = &period, &quota
	}
	if d.CPUPeriod != 0 {
		c.Period = &d.CPUPeriod
	}
	if d.CPUQuota != 0 {
		c.Quota = &d.CPUQuota
	}
	if d.CPUShares != 0 {
		c.Shares = &d.CPUShares
	}
	if d.RealtimePeriod != 0 {
		c.RealtimePeriod = &d.RealtimePeriod
	}
	if d.RealtimeRuntime != 0 {
		c.RealtimeRuntime = &d.RealtimeRuntime
	}
	if *c != (specs.LinuxCPU{}) {
		r.CPU = c
	}
	return nil
}

func (d *draft) blockIO(r *specs.LinuxResources) error {
	b := &specs.LinuxBlockIO{}
	if d.BlkioWeight != 0 {
		if d.BlkioWeight < 10 || d.BlkioWeight > 1000 {
			return fmt.Errorf("read --blkio-weight=%d: want 10 to 1000", d.BlkioWeight)
		}
		b.Weight = &d.BlkioWeight
	}
	for _, t := range []struct {
		flag   string
		values []string
		bytes  bool
		to     *[]specs.LinuxThrottleDevice
	}{
		{"device-read-bps", d.ReadBps, true, &b.ThrottleReadBpsDevice},
		{"device-write-bps", d.WriteBps, true, &b.ThrottleWriteBpsDevice},
		{"device-read-iops", d.ReadIOps, false, &b.ThrottleReadIOPSDevice},
		{"device-write-iops", d.WriteIOps, false, &b.ThrottleWriteIOPSDevice},
	} {
		for _, v := range t.values {
			dev, err := throttle(t.flag, v, t.bytes)
			if err != nil {
				return err
			}
			*t.to = append(*t.to, dev)
		}
	}
	if b.Weight != nil || len(d.ReadBps)+len(d.WriteBps)+len(d.ReadIOps)+len(d.WriteIOps) > 0 {
		r.BlockIO = b
	}
	return nil
}

// splitThrottle reads PATH:RATE.
func splitThrottle(flag, text string, bytes bool) (path string, rate uint64, err error) {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 {
		return "", 0, hint(fmt.Errorf("read --%s=%s: no device and rate", flag, text), "for instance --%s /dev/sda:1mb", flag)
	}
	if bytes {
		var n int64
		if n, err = units.RAMInBytes(text[i+1:]); n < 0 {
			err = errors.New("negative")
		}
		rate = uint64(n)
	} else {
		rate, err = strconv.ParseUint(text[i+1:], 10, 64)
	}
	if err != nil {
		return "", 0, fmt.Errorf("read --%s=%s: %q is no rate", flag, text, text[i+1:])
	}
	return text[:i], rate, nil
}

// throttle finds the device.
func throttle(flag, text string, bytes bool) (t specs.LinuxThrottleDevice, err error) {
	path, rate, err := splitThrottle(flag, text, bytes)
	if err != nil {
		return t, err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return t, fmt.Errorf("read --%s=%s: open device: %w", flag, text, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return t, fmt.Errorf("read --%s=%s: %s is no block device", flag, text, path)
	}
	t.Major, t.Minor, t.Rate = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), rate
	return t, nil
}

// ulimits reads --ulimit NAME=SOFT[:HARD].
func (d *draft) ulimits() error {
	for _, text := range d.Ulimits {
		u, err := units.ParseUlimit(text)
		if err != nil {
			return hint(fmt.Errorf("read --ulimit %q: %w", text, err), "for instance --ulimit nofile=1024:2048")
		}
		d.spec.Process.Rlimits = append(d.spec.Process.Rlimits, specs.POSIXRlimit{
			Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
	}
	return nil
}
