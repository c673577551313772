// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// namespaceOf is the path of a running container's namespace, by the
// container's name, its ID, or the beginning of it.
func (e *Engine) namespaceOf(name, kind string) (string, error) {
	_, pid, err := e.running(name)
	if err != nil {
		return "", err
	}
	p := fmt.Sprintf("/proc/%d/ns/%s", pid, kind)
	if _, err := os.Stat(p); err != nil {
		return "", err
	}
	return p, nil
}

// running finds a running container: its ID and its first process.
func (e *Engine) running(name string) (id string, pid int, err error) {
	c, err := e.find(name)
	if err != nil {
		return "", 0, err
	}
	if c.State == nil || !c.State.Alive() {
		return "", 0, hint(fmt.Errorf("join container %q: it does not run", name), "vitro start %s", name)
	}
	return c.ID, c.State.Pid, nil
}

// joined is the container that a flag's value names: "container:ID".
func joined(value string) (name string, ok bool) { return strings.CutPrefix(value, "container:") }

// shareUsers has an ordinary user's container share the users of the container
// whose other namespaces it shares: only there it has a right to them.
func (e *Engine) shareUsers(f *Flags) error {
	if e.root || f.Userns != "" {
		return nil
	}
	for _, n := range namespaceFlags {
		if name, ok := joined(n.flag(f)); ok {
			if _, _, err := e.running(name); err != nil {
				return fmt.Errorf("join --%s=%s: %w", n.name, n.flag(f), err)
			}
			f.Userns = n.flag(f)
			return nil
		}
	}
	return nil
}

// usersOf are the maps of a running container's user namespace; nil if its
// users are the machine's.
func (e *Engine) usersOf(name string) (*idMaps, error) {
	_, pid, err := e.running(name)
	if err != nil {
		return nil, err
	}
	m, err := mapsOf(strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	m.joined = true
	if len(m.uid) == 1 && m.uid[0].HostID == 0 && m.uid[0].Size == 1<<32-1 {
		return nil, nil
	}
	return m, nil
}

// mapsOf are the maps of a process's user namespace.
func mapsOf(pid string) (*idMaps, error) {
	m := new(idMaps)
	for _, t := range []struct {
		kind string
		to   *[]specs.LinuxIDMapping
	}{{"uid", &m.uid}, {"gid", &m.gid}} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%s/%s_map", pid, t.kind))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			var r specs.LinuxIDMapping
			if _, err := fmt.Sscan(line, &r.ContainerID, &r.HostID, &r.Size); err != nil {
				return nil, fmt.Errorf("read %s map of process %s: %w", t.kind, pid, err)
			}
			*t.to = append(*t.to, r)
		}
	}
	return m, nil
}

// sharedFile is a file of the container whose network this one shares: names go with
// the network. The second result is false if it shares none.
func (d *draft) sharedFile(name string) (string, bool) {
	other, ok := joined(d.Network)
	if !ok {
		return "", false
	}
	id, _, err := d.e.running(other)
	if err != nil {
		return "", false // namespaceOf says why
	}
	data, err := os.ReadFile(filepath.Join(d.e.Containers.Root, id, name))
	return string(data), err == nil
}
