// SPDX-License-Identifier: Apache-2.0

package names

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lineSize is how long a container's line may be.
const lineSize = 4096

// recordSize is how long a network's definition may be.
const recordSize = 64 << 10

// defaultName is the network that a container has if it names none. As with
// Docker, its containers don't find each other by name.
const defaultName = "bridge"

// settling is how long after its time of change a folder may change once more
// with the same time: file systems count in the kernel's ticks.
const settling = 50 * time.Millisecond

// A host is a container, as one network knows it.
type host struct {
	id        string
	addresses []address
	names     []string // the first is the container's name; in lower case
}

// parseHost reads a line. One that makes no sense is nobody's.
func parseHost(id, line string) *host {
	line, _, _ = strings.Cut(line, "\n")
	words := strings.Fields(line)
	if len(words) < 2 {
		return nil
	}
	h := &host{id: id}
	for s := range strings.SplitSeq(words[0], ",") {
		a := parseAddress(s)
		if a == "" {
			return nil
		}
		h.addresses = append(h.addresses, a)
	}
	for _, w := range words[1:] {
		if w = strings.TrimSuffix(strings.ToLower(w), "."); !slices.Contains(h.names, w) && wireName(w) != nil {
			h.names = append(h.names, w)
		}
	}
	if len(h.names) == 0 {
		return nil
	}
	return h
}

// A stamp is what changes with a file.
type stamp struct {
	ino  uint64
	time unix.Timespec
	size int64
}

func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return stamp{st.Ino, st.Mtim, st.Size}, err
}

// An entry is a container's file, and what was in it.
type entry struct {
	stamp stamp
	host  *host // nil: nothing
}

// A segment is one of the networks' folders.
type segment struct {
	name     string
	suffix   string // a dot and the name
	path     string // of names
	stamp    stamp
	settled  bool // nothing can have changed without a new stamp
	entries  map[string]entry
	byName   map[string][]*host
	internal bool // it has no way out
	silent   bool // names are not answered on it
}

// A table is all that a container may know of others.
type table struct {
	dir, id string // the folder of all networks, and the container
	stamp   stamp
	settled bool
	nets    []*segment // all that there are, by name
	found   []address
	records []record
}

// refresh looks for what has changed.
func (t *table) refresh() {
	if st, err := stampOf(t.dir); err != nil {
		t.nets = nil
	} else if st != t.stamp || !t.settled {
		t.settled = old(st)
		t.stamp = st
		t.list()
	}
	for _, n := range t.nets {
		n.refresh(t.id)
	}
}

func old(st stamp) bool { return time.Since(time.Unix(st.time.Unix())) > settling }

// list finds the networks that there are, and keeps what is known of them.
func (t *table) list() {
	was := t.nets
	t.nets = nil
	for _, name := range readNames(t.dir) {
		n := &segment{name: strings.ToLower(name), suffix: "." + strings.ToLower(name), path: filepath.Join(t.dir, name, "names")}
		if i := slices.IndexFunc(was, func(o *segment) bool { return o.path == n.path }); i >= 0 {
			n = was[i]
		}
		t.nets = append(t.nets, n)
	}
	slices.SortFunc(t.nets, func(a, b *segment) int { return cmp.Compare(a.name, b.name) })
}

// readNames are a folder's names; none if it can't be read.
func readNames(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	return slices.DeleteFunc(names, func(s string) bool { return strings.HasPrefix(s, ".") })
}

// refresh reads the files that are new. Those of a network that the container
// isn't part of are none of its business.
func (n *segment) refresh(id string) {
	st, err := stampOf(n.path)
	if err != nil {
		*n = segment{name: n.name, suffix: n.suffix, path: n.path}
		return
	}
	if st == n.stamp && n.settled {
		return
	}
	n.settled = old(st)
	n.stamp = st
	if _, err := os.Lstat(filepath.Join(n.path, id)); err != nil {
		n.entries, n.byName = nil, nil
		return
	}
	n.record()
	n.read()
}

// record looks at the network's definition, as json.MarshalIndent writes it. In a
// text of a person's the quotation marks have backslashes before them.
func (n *segment) record() {
	text := readLine(filepath.Join(filepath.Dir(n.path), "network.json"), make([]byte, recordSize))
	n.internal = strings.Contains(text, `"internal": true`)
	n.silent = n.name == defaultName || strings.Contains(text, `"no_dns": true`)
}

func (n *segment) read() {
	buf := make([]byte, lineSize)
	was := n.entries
	n.entries = make(map[string]entry, len(was))
	changed := false
	for _, id := range readNames(n.path) {
		path := filepath.Join(n.path, id)
		st, err := stampOf(path)
		if err != nil {
			continue // it has just gone
		}
		e, ok := was[id]
		if !ok || e.stamp != st || !old(st) {
			e, changed = entry{st, parseHost(id, readLine(path, buf))}, true
		}
		n.entries[id] = e
	}
	if !changed && len(was) == len(n.entries) {
		return
	}
	n.byName = make(map[string][]*host)
	for _, id := range slices.Sorted(maps.Keys(n.entries)) {
		h := n.entries[id].host
		if h == nil {
			continue
		}
		for _, name := range h.names {
			n.byName[name] = append(n.byName[name], h)
		}
	}
}

// readLine is the content of a file, or the target of a symbolic link.
func readLine(path string, buf []byte) string {
	if n, err := unix.Readlink(path, buf); err == nil {
		return string(buf[:n])
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// member reports whether the container is in the network.
func (n *segment) member() bool { return n.entries != nil }

// outward reports whether questions may leave: unless all the networks that the
// container has are internal ones.
func (t *table) outward() bool {
	inside := false
	for _, n := range t.nets {
		if n.member() && !n.internal {
			return true
		}
		inside = inside || n.member()
	}
	return !inside
}

// find are the addresses of all containers of a name: that of a container, a short
// ID or an alias, alone or with a network's name behind it. The list is used again by the next call.
func (t *table) find(name string) (list []address, known bool) {
	t.found = t.found[:0]
	for _, n := range t.nets {
		if !n.silent {
			known = t.add(n.byName[name]) || known
		}
	}
	for _, n := range t.nets {
		if first, ok := strings.CutSuffix(name, n.suffix); ok && !known && !n.silent {
			known = t.add(n.byName[first])
		}
	}
	return t.found, known
}

func (t *table) add(hosts []*host) bool {
	for _, h := range hosts {
		for _, a := range h.addresses {
			if !slices.Contains(t.found, a) {
				t.found = append(t.found, a)
			}
		}
	}
	return len(hosts) > 0
}

// owner is the full name of the container that has the address.
func (t *table) owner(a address) (name string, known bool) {
	for _, n := range t.nets {
		for _, e := range n.entries {
			if e.host != nil && !n.silent && slices.Contains(e.host.addresses, a) {
				return e.host.names[0] + "." + n.name, true
			}
		}
	}
	return "", false
}

// answer is what the table knows about a question. The records are used again by the next call.
func (t *table) answer(q *query) (records []record, known bool) {
	if q.odd {
		return nil, false
	}
	defer func() { t.records = records[:0] }()
	records = t.records
	if list, known := t.find(q.name); known {
		for _, a := range list {
			typ := uint16(typeA)
			if len(a) == 16 {
				typ = typeAAAA
			}
			if q.typ == typ || q.typ == typeANY {
				records = append(records, record{typ, string(a)})
			}
		}
		return records, true
	}
	a := reverse(q.name)
	if a == "" {
		return nil, false
	}
	name, known := t.owner(a)
	if known && (q.typ == typePTR || q.typ == typeANY) {
		if w := wireName(name); w != nil {
			records = append(records, record{typePTR, string(w)})
		}
	}
	return records, known
}
