// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
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
	mu     sync.Mutex
	last   map[string]sample // by ID
}

type sample struct {
	at  time.Time
	cpu uint64 // ns
}

// Meter begins to measure the containers that are named, or all.
func (e *Engine) Meter(names []string, all bool) (*Meter, error) {
	m := &Meter{e: e, names: names, all: all, last: make(map[string]sample), memory: machineMemory()}
	var ids []string
	for _, name := range names {
		c, err := e.find(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, c.ID)
	}
	if len(names) == 0 {
		var err error
		if ids, err = e.Containers.IDs(); err != nil {
			return nil, err
		}
	}
	m.begin(ids)
	return m, nil
}

// begin notes how much of the processors each container has used: nothing else
// is known from two measurements only, and the memory is dear to ask for.
func (m *Meter) begin(ids []string) {
	each(len(ids), func(n int) {
		c, err := m.e.Containers.Look(ids[n])
		if err != nil || c.State == nil {
			return
		}
		now := time.Now()
		if cpu, err := c.State.Cgroups.CPU(); err == nil {
			m.mu.Lock()
			m.last[c.ID] = sample{now, cpu}
			m.mu.Unlock()
		}
	})
}

// Measure measures once.
func (m *Meter) Measure() ([]Usage, error) {
	var list []Usage
	if len(m.names) > 0 {
		for _, name := range m.names {
			i, err := m.e.Info(name)
			if err != nil {
				return nil, err
			}
			list = append(list, m.measure(name, i))
		}
		return list, nil
	}
	infos, err := m.e.List()
	if err != nil {
		return nil, err
	}
	infos = slices.DeleteFunc(infos, func(i *Info) bool { return i.State == nil && !m.all })
	list = make([]Usage, len(infos))
	each(len(infos), func(n int) { list[n] = m.measure(infos[n].ID[:12], infos[n]) })
	return list, nil
}

func (m *Meter) measure(asked string, i *Info) Usage {
	u := Usage{Asked: asked, ID: i.ID, Name: i.Name, Unknown: i.State == nil}
	if u.Unknown {
		return u
	}
	now := time.Now()
	s, err := i.State.Cgroups.Stats()
	if err != nil {
		u.Unknown = true // it has just ended
		return u
	}
	m.mu.Lock()
	last, ok := m.last[i.ID]
	m.last[i.ID] = sample{now, s.CPU}
	m.mu.Unlock()
	if ok && s.CPU >= last.cpu && now.After(last.at) {
		u.CPU = float64(s.CPU-last.cpu) / float64(now.Sub(last.at).Nanoseconds()) * 100
	}
	u.Memory, u.Limit, u.PIDs = int64(s.Memory), m.memory, int64(s.Pids)
	if s.MemoryLimit < math.MaxInt64 && int64(s.MemoryLimit) < m.memory {
		u.Limit = int64(s.MemoryLimit)
	}
	u.Read, u.Write = i.State.Cgroups.BlockIO()
	u.Rx, u.Tx = traffic(i.State)
	return u
}

// traffic is what the links of a container's network namespace have counted,
// but for the loopback.
func traffic(s *container.State) (rx, tx int64) {
	var own, its unix.Stat_t
	if unix.Stat("/proc/self/ns/net", &own) == nil && unix.Stat(fmt.Sprintf("/proc/%d/ns/net", s.Pid), &its) == nil && own.Ino == its.Ino {
		return 0, 0 // the host's
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/dev", s.Pid))
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, counts, ok := strings.Cut(lines.Text(), ":")
		c := strings.Fields(counts)
		if !ok || len(c) < 9 || strings.TrimSpace(name) == "lo" {
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
