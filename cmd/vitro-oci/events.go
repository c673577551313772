// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/container"
)

// event is a line of `events`, as runc has it.
type event struct {
	Type string `json:"type"` // "stats" or "oom"
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

// statistics are the data of an event "stats".
type statistics struct {
	*cgroup.Usage
	IntelRdt   struct{}        `json:"intel_rdt"` // nothing is counted
	Interfaces []linkStatistic `json:"network_interfaces"`
}

// linkStatistic is what a network interface has carried, as the container sees it.
type linkStatistic struct {
	Name                                    string
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// watchEvents writes what a container uses every now and then, and when it is
// out of memory, until it ends; with --stats what it uses now.
func watchEvents(inv *invocation) (int, error) {
	interval := 5 * time.Second
	if text := inv.get("interval"); text != "" {
		var err error
		if interval, err = time.ParseDuration(text); err != nil || interval <= 0 {
			return 1, fmt.Errorf("read option --interval: %q is not a time such as 5s", text)
		}
	}
	id, err := inv.id()
	if err != nil {
		return 1, err
	}
	c, err := inv.look(id)
	if err != nil {
		return 1, err
	}
	pidfd, err := c.State.Open()
	if err != nil {
		return 1, fmt.Errorf("watch container %q: %w", id, err)
	}
	defer unix.Close(pidfd)
	w := &watcher{inv: inv, c: c, out: json.NewEncoder(inv.stdout)}
	if inv.has("stats") {
		err = w.stats()
	} else {
		err = w.follow(pidfd, interval)
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// watcher writes the events of one container.
type watcher struct {
	inv *invocation
	c   *container.Container
	out *json.Encoder
	oom *cgroup.OOMWatch
}

func (w *watcher) stats() error {
	usage, err := w.c.State.Cgroups.Usage()
	if err != nil {
		return fmt.Errorf("measure container %q: %w", w.c.ID, err)
	}
	return w.out.Encode(&event{"stats", w.c.ID, &statistics{Usage: usage, Interfaces: interfaces(w.c.State.Pid)}})
}

// follow waits for whichever comes first: the time, an OOM, the end.
func (w *watcher) follow(pidfd int, interval time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: -1, Events: unix.POLLIN}}
	var err error
	w.oom, err = w.c.State.Cgroups.WatchOOM()
	switch {
	case errors.Is(err, cgroup.ErrNoController):
		w.inv.warn("no cgroup counts the container's memory: its OOMs are not heard of")
	case err != nil:
		return err
	default:
		defer w.oom.Close()
		fds[1].Fd = int32(w.oom.FD())
	}
	for next := time.Now().Add(interval); ; {
		left := max(0, time.Until(next))
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for container %q: %w", w.c.ID, err)
		}
		if err := w.news(); n > 0 && err != nil {
			return err
		}
		if n > 0 && fds[0].Revents != 0 {
			return nil
		}
		if time.Now().Before(next) {
			continue
		}
		// a cgroup that is gone belongs to a container that ends: that is heard next
		if err := w.stats(); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			return err
		}
		next = time.Now().Add(interval)
	}
}

// news writes of an OOM, if there was one.
func (w *watcher) news() error {
	if w.oom == nil {
		return nil
	}
	if oom, err := w.oom.Next(); err != nil || !oom {
		return err
	}
	return w.out.Encode(&event{Type: "oom", ID: w.c.ID})
}

// interfaces are those of the container's own network namespace; nil if it
// shares ours, or can't be looked into. The loopback's packets go nowhere.
func interfaces(pid int) []linkStatistic {
	proc := "/proc/" + strconv.Itoa(pid)
	theirs, err := os.Readlink(proc + "/ns/net")
	if ours, _ := os.Readlink("/proc/self/ns/net"); err != nil || theirs == ours {
		return nil
	}
	f, err := os.Open(proc + "/net/dev")
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(f)
	return parseInterfaces(string(text))
}

// parseInterfaces reads /proc/PID/net/dev (proc_pid_net(5)): two lines of titles,
// then a line for each, of eight numbers received and eight sent.
func parseInterfaces(text string) (all []linkStatistic) {
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || len(f) < 16 || name == "lo" {
			continue
		}
		n := make([]uint64, len(f))
		for i := range f {
			n[i], _ = strconv.ParseUint(f[i], 10, 64)
		}
		all = append(all, linkStatistic{name, n[0], n[1], n[2], n[3], n[8], n[9], n[10], n[11]})
	}
	return all
}
