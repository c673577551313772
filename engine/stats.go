// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/processors"
	"vitro/internal/smallfile"
)

// A Usage is what a container uses.
type Usage struct {
	Asked    string // what the user called it
	ID, Name string
	CPU      float64 // per cent of one processor
	Memory   int64   // bytes, without the page cache
	Limit    int64   // of memory; the machine's, if it has none
	Rx, Tx   int64   // network, in bytes
	Read     int64   // block devices, in bytes
	Write    int64
	PIDs     int64
	Unknown  bool // it doesn't run
}

// A Meter measures what containers use. A share of a processor is known from
// the second time on.
type Meter struct {
	e      *Engine
	names  []string // empty: all that run
	all    bool
	memory int64
	net    uint64  // our own network namespace
	probes []probe // of the last measurement; the first time, for the next
	begun  bool
}

// A probe is one container's.
type probe struct {
	asked, id, name string
	state           *container.State // nil: it doesn't run
	at              time.Time        // when cpu was read; zero if it was not
	cpu             uint64           // ns
}

// Meter begins to measure the containers that are named, or all.
func (e *Engine) Meter(names []string, all bool) (*Meter, error) {
	m := &Meter{e: e, names: names, all: all, memory: machineMemory(), net: netns("self")}
	var err error
	if m.probes, err = m.find(); err != nil {
		return nil, err
	}
	// Nothing but this is known from two measurements only.
	processors.Each(len(m.probes), func(n int) {
		p := &m.probes[n]
		if p.state == nil {
			return
		}
		now := time.Now()
		if cpu, err := p.state.Cgroups.CPU(); err == nil {
			p.at, p.cpu = now, cpu
		}
	})
	return m, nil
}

// find finds the containers that are to be measured.
func (m *Meter) find() (list []probe, err error) {
	if len(m.names) > 0 {
		for _, name := range m.names {
			c, err := m.e.Info(name)
			if err != nil {
				return nil, err
			}
			list = append(list, probe{asked: name, id: c.ID, name: c.Name})
		}
	} else {
		cards, err := m.e.List()
		if err != nil {
			return nil, err
		}
		for _, c := range cards {
			if c.Pid != 0 || m.all {
				list = append(list, probe{asked: c.ID[:12], id: c.ID, name: c.Name})
			}
		}
	}
	processors.Each(len(list), func(n int) {
		if c, err := m.e.Containers.Look(list[n].id); err == nil && c.State != nil && c.State.Alive() {
			list[n].state = c.State
		}
	})
	return list, nil
}

// Measure measures once: the first time the containers that there were when the
// Meter was made, then those that there are.
func (m *Meter) Measure() ([]Usage, error) {
	if m.begun {
		last := make(map[string]probe, len(m.probes))
		for _, p := range m.probes {
			last[p.id] = p
		}
		var err error
		if m.probes, err = m.find(); err != nil {
			return nil, err
		}
		for n := range m.probes {
			p := &m.probes[n]
			p.at, p.cpu = last[p.id].at, last[p.id].cpu
		}
	}
	m.begun = true
	used := make([]Usage, len(m.probes))
	processors.Each(len(used), func(n int) { used[n] = m.measure(&m.probes[n]) })
	return slices.DeleteFunc(used, func(u Usage) bool { return u.Unknown && len(m.names) == 0 && !m.all }), nil
}

func (m *Meter) measure(p *probe) Usage {
	u := Usage{Asked: p.asked, ID: p.id, Name: p.name, Unknown: p.state == nil}
	if u.Unknown {
		return u
	}
	now := time.Now()
	s, err := p.state.Cgroups.Stats()
	if err != nil {
		u.Unknown = true // it has just ended
		return u
	}
	if !p.at.IsZero() && s.CPU >= p.cpu && now.After(p.at) {
		u.CPU = float64(s.CPU-p.cpu) / float64(now.Sub(p.at).Nanoseconds()) * 100
	}
	p.at, p.cpu = now, s.CPU
	u.Memory, u.Limit, u.PIDs = int64(s.Memory), m.memory, int64(s.Pids)
	if s.MemoryLimit < math.MaxInt64 && int64(s.MemoryLimit) < m.memory {
		u.Limit = int64(s.MemoryLimit)
	}
	u.Read, u.Write = p.state.Cgroups.BlockIO()
	if pid := strconv.Itoa(p.state.Pid); netns(pid) != m.net { // else it has the host's links
		u.Rx, u.Tx = traffic(pid)
	}
	return u
}

// netns is a process's network namespace, by its inode; 0 if it can't be known.
func netns(pid string) uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/"+pid+"/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
}

// traffic is what the links of a process's network namespace have counted, but
// for the loopback.
func traffic(pid string) (rx, tx int64) {
	data, err := smallfile.Read("/proc/" + pid + "/net/dev")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		name, counts, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "lo" {
			continue
		}
		c := strings.Fields(counts)
		if len(c) < 9 {
			continue
		}
		in, _ := strconv.ParseInt(c[0], 10, 64)
		out, _ := strconv.ParseInt(c[8], 10, 64)
		rx, tx = rx+in, tx+out
	}
	return rx, tx
}

// machineMemory is what the machine has, in bytes.
func machineMemory() int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return int64(s.Totalram) * int64(s.Unit)
}
