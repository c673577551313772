// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// idMaps are the users and groups of a new user namespace.
type idMaps struct {
	uid, gid []specs.LinuxIDMapping
	keep     bool   // the user is the same inside and outside
	joined   bool   // the namespace is another container's
	block    uint32 // of --userns=auto: the first ID, without its last 16 bits
}

// single reports whether only one user exists in the namespace.
func (m *idMaps) single() bool {
	return len(m.uid) == 1 && m.uid[0].Size == 1
}

// inUserNS reports whether we are in a user namespace ourselves: its root is
// not the machine's.
func inUserNS() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(m)), " ") != "0 0 4294967295"
}

// usersFor decides about --userns: the maps of a new namespace, nil for none.
func (e *Engine) usersFor(f *Flags, id string) (*idMaps, error) {
	kind, arg, _ := strings.Cut(f.Userns, ":")
	switch kind {
	case "container":
		m, err := e.usersOf(arg)
		if err != nil {
			return nil, fmt.Errorf("join --userns=%s: %w", f.Userns, err)
		}
		return m, nil
	case "", "host":
		if e.root {
			return nil, nil // the machine's users
		}
		return e.maps, nil // the nearest that there is: an ordinary user can't do without
	case "keep-id":
		if e.root {
			return nil, hint(errors.New("read --userns=keep-id: this is root, which stays the same anyway"), "--userns=auto gives the container users of its own")
		}
		return e.maps.keepID(e.uid, e.gid), nil
	case "auto", "private":
		if e.root && !inUserNS() {
			return autoMaps(e, id)
		}
		if e.root {
			return &idMaps{uid: one(0, 0), gid: one(0, 0)}, nil
		}
		return e.maps, nil
	case "single":
		return &idMaps{uid: one(0, os.Geteuid()), gid: one(0, os.Getegid())}, nil
	}
	return nil, hint(fmt.Errorf("read --userns=%s: no such mode", f.Userns), "the modes are host, keep-id, auto, single, container:ID")
}

func one(inside, outside int) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: uint32(inside), HostID: uint32(outside), Size: 1}}
}

// ownMaps are an ordinary user's: root inside is the user, and the others are
// from the user's subordinate ranges (subuid(5)), if there are any and the
// programs to map them are installed. Else root is alone.
//
// Among the user's networks all of them are mapped already, to the same.
func (e *Engine) ownMaps() (*idMaps, error) {
	if e.inside {
		m, err := mapsOf("self")
		if err != nil {
			return nil, err
		}
		for _, rs := range [...][]specs.LinuxIDMapping{m.uid, m.gid} {
			for i := range rs {
				rs[i].HostID = rs[i].ContainerID
			}
		}
		return m, nil
	}
	uid, gid := e.uid, e.gid
	m := &idMaps{uid: one(0, uid), gid: one(0, gid)}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	uids, err := subordinate("/etc/subuid", name, uid)
	if err != nil {
		return nil, err
	}
	gids, err := subordinate("/etc/subgid", name, uid)
	if err != nil {
		return nil, err
	}
	if len(uids) == 0 || len(gids) == 0 || !have("newuidmap") || !have("newgidmap") {
		return m, nil
	}
	m.uid, m.gid = append(m.uid, uids...), append(m.gid, gids...)
	return m, nil
}

func have(program string) bool { _, err := exec.LookPath(program); return err == nil }

// subordinate reads a user's ranges, NAME:FIRST:COUNT, and maps them to 1 and up.
func subordinate(file, name string, uid int) ([]specs.LinuxIDMapping, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []specs.LinuxIDMapping
	next := uint32(1)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		p := strings.Split(lines.Text(), ":")
		if len(p) != 3 || p[0] != name && p[0] != strconv.Itoa(uid) {
			continue
		}
		first, err1 := strconv.ParseUint(p[1], 10, 32)
		count, err2 := strconv.ParseUint(p[2], 10, 32)
		if err1 != nil || err2 != nil || count == 0 || first+count > 1<<32 {
			return nil, fmt.Errorf("read %s: %q is no range", file, lines.Text())
		}
		out = append(out, specs.LinuxIDMapping{ContainerID: next, HostID: uint32(first), Size: uint32(count)})
		next += uint32(count)
	}
	return out, nil
}

// keepID maps the user to itself, and the rest around it.
func (m *idMaps) keepID(uid, gid int) *idMaps {
	k := &idMaps{keep: true, uid: keep(m.uid[1:], uid, m.uid[0].HostID), gid: keep(m.gid[1:], gid, m.gid[0].HostID)}
	return k
}

// keep maps id to what it is in our own namespace; the subordinate IDs go to 0 up to it, and behind it.
func keep(sub []specs.LinuxIDMapping, id int, own uint32) []specs.LinuxIDMapping {
	out := one(id, int(own))
	next := uint32(0)
	for _, r := range sub {
		if n := min(r.Size, uint32(max(id-int(next), 0))); n > 0 {
			out = append(out, specs.LinuxIDMapping{ContainerID: next, HostID: r.HostID, Size: n})
			r.HostID, r.Size, next = r.HostID+n, r.Size-n, next+n
		}
		if r.Size > 0 {
			next = max(next, uint32(id)+1)
			out = append(out, specs.LinuxIDMapping{ContainerID: next, HostID: r.HostID, Size: r.Size})
			next += r.Size
		}
	}
	return out
}
