// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/container"
	"vitro/internal/ocijson"
)

// updateContainer changes a running container's limits. What is not named stays.
// If one can't be changed, none is.
func updateContainer(inv *invocation) (int, error) {
	change, err := inv.readChange(os.Stdin)
	if err != nil {
		return 1, err
	}
	c, err := inv.lock()
	if err != nil {
		return 1, err
	}
	defer c.Release()
	if c.State == nil || !c.State.Alive() {
		err = container.ErrStopped
	} else {
		err = c.Limit(change)
	}
	if err != nil {
		return 1, fmt.Errorf("update container %q: %w", c.ID, err)
	}
	return 0, nil
}

// readChange reads the resources from a file or the standard input, or else of
// the options, as runc does: a file's name makes all other options count for
// nothing.
func (inv *invocation) readChange(stdin io.Reader) (*specs.LinuxResources, error) {
	for _, name := range [...]string{"l3-cache-schema", "mem-bw-schema"} {
		if inv.get(name) != "" {
			return nil, fmt.Errorf("read option --%s: vitro has no linux.intelRdt", name)
		}
	}
	file := inv.get("resources")
	if file == "" {
		return inv.resources()
	}
	if file == "-" {
		file = "standard input"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read resources: %w", err)
		}
		defer f.Close()
		stdin = f
	}
	data, err := io.ReadAll(io.LimitReader(stdin, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	r, err := ocijson.DecodeLinuxResources(data)
	if err != nil {
		return nil, fmt.Errorf("read resources of %s: %w", file, err)
	}
	return r, nil
}

// resources are those of the options. An empty one is none.
func (inv *invocation) resources() (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{CPU: new(specs.LinuxCPU), Memory: new(specs.LinuxMemory), BlockIO: new(specs.LinuxBlockIO), Pids: new(specs.LinuxPids)}
	r.CPU.Cpus, r.CPU.Mems = inv.get("cpuset-cpus"), inv.get("cpuset-mems")
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	add(read(inv, "blkio-weight", uint16Of, &r.BlockIO.Weight))
	add(read(inv, "cpu-period", uint64Of, &r.CPU.Period))
	add(read(inv, "cpu-quota", int64Of, &r.CPU.Quota))
	add(read(inv, "cpu-burst", uint64Of, &r.CPU.Burst))
	add(read(inv, "cpu-share", uint64Of, &r.CPU.Shares))
	add(read(inv, "cpu-rt-period", uint64Of, &r.CPU.RealtimePeriod))
	add(read(inv, "cpu-rt-runtime", int64Of, &r.CPU.RealtimeRuntime))
	add(read(inv, "cpu-idle", int64Of, &r.CPU.Idle))
	add(read(inv, "memory", sizeOf, &r.Memory.Limit))
	add(read(inv, "memory-reservation", sizeOf, &r.Memory.Reservation))
	add(read(inv, "memory-swap", sizeOf, &r.Memory.Swap))
	add(read(inv, "pids-limit", int64Of, &r.Pids.Limit))
	for _, name := range [...]string{"kernel-memory", "kernel-memory-tcp"} {
		if inv.get(name) != "" {
			inv.warn("--%s is ignored: no kernel since 5.4 keeps such a limit", name)
		}
	}
	return r, errors.Join(errs...)
}

// read reads an option, if it is given.
func read[T any](inv *invocation, name string, parse func(string) (T, error), to **T) error {
	text := inv.get(name)
	if text == "" {
		return nil
	}
	n, err := parse(text)
	if err != nil {
		return fmt.Errorf("read option --%s: %q: %w", name, text, err)
	}
	*to = &n
	return nil
}

var (
	errNumber = errors.New("not a number, or out of range")
	errSize   = errors.New("not a size such as 512m, nor -1 for no limit")
)

func uint16Of(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, errNumber
	}
	return uint16(n), nil
}

func uint64Of(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

func int64Of(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errNumber
	}
	return n, nil
}

// sizeOf reads a number of bytes, with one of the letters b, k, m, g, t, p, in
// either case, and with "b" or "ib" behind, as Docker and runc take it: 1.5G is
// 1536 MiB.
func sizeOf(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	digits := strings.TrimRight(s, "bBiIkKmMgGtTpP ")
	unit := strings.ToLower(strings.TrimSpace(s[len(digits):]))
	power := 0
	switch {
	case unit == "" || unit == "b":
	case len(unit) == 1 || unit[1:] == "b" || unit[1:] == "ib":
		power = 1 + strings.IndexByte("kmgtp", unit[0])
	default:
		return 0, errSize
	}
	if power < 1 && unit != "" && unit != "b" {
		return 0, errSize
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64>>(10*power) {
		return n << (10 * power), nil
	}
	f, err := strconv.ParseFloat(digits, 64)
	if f *= math.Pow(1024, float64(power)); err != nil || strings.Trim(digits, "0123456789.") != "" || f >= math.MaxInt64 {
		return 0, errSize
	}
	return int64(f), nil
}
