// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Kind is one of the eight kinds of namespaces.
type Kind uint8

// The kinds, in the order in which they are shown: what a container has first
// to itself comes first.
const (
	User Kind = iota
	Mount
	PID
	Network
	IPC
	UTS
	Cgroup
	Time
	kinds
)

// kindTable is what the kernel says of the kinds: the name in /proc/PID/ns,
// the inode number of the machine's first one (include/uapi/linux/nsfs.h; of
// mnt and net since Linux 6.18), and the flag of clone(2).
var kindTable = [kinds]struct {
	name  string
	first uint64
	flag  uint64
}{
	User:    {"user", 0xeffffffd, 0x10000000},
	Mount:   {"mnt", 0xeffffff8, 0x00020000},
	PID:     {"pid", 0xeffffffc, 0x20000000},
	Network: {"net", 0xeffffff9, 0x40000000},
	IPC:     {"ipc", 0xefffffff, 0x08000000},
	UTS:     {"uts", 0xeffffffe, 0x04000000},
	Cgroup:  {"cgroup", 0xeffffffb, 0x02000000},
	Time:    {"time", 0xeffffffa, 0x00000080},
}

// links are the names in /proc/PID/ns: the process's own namespaces by kind,
// then those of its children to come.
var links = [...]struct {
	name string
	kind Kind
}{
	{"user", User}, {"mnt", Mount}, {"pid", PID}, {"net", Network}, {"ipc", IPC}, {"uts", UTS}, {"cgroup", Cgroup}, {"time", Time},
	{"pid_for_children", PID}, {"time_for_children", Time},
}

// String is the kind's name in /proc/PID/ns.
func (k Kind) String() string {
	if k < kinds {
		return kindTable[k].name
	}
	return "?"
}

// MarshalText is the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the name.
func (k *Kind) UnmarshalText(text []byte) error {
	found, ok := parseKind(string(text))
	if !ok {
		return fmt.Errorf("read kind of namespace %q: there is none", text)
	}
	*k = found
	return nil
}

func parseKind(name string) (Kind, bool) {
	for k, row := range kindTable {
		if row.name == name {
			return Kind(k), true
		}
	}
	return 0, false
}

func kindOfFlag(flag int) (Kind, bool) {
	for k, row := range kindTable {
		if row.flag == uint64(flag) {
			return Kind(k), true
		}
	}
	return 0, false
}

// Kinds are all kinds, in the order in which they are shown.
func Kinds() []Kind {
	list := make([]Kind, kinds)
	for i := range list {
		list[i] = Kind(i)
	}
	return list
}

// A KindError is a name that no kind of namespace has.
type KindError struct{ Name string }

func (e *KindError) Error() string {
	return fmt.Sprintf("read kind of namespace %q: there is none", e.Name)
}

// Hint lists those that there are.
func (e *KindError) Hint() string {
	var names []string
	for _, row := range kindTable {
		names = append(names, row.name)
	}
	return "the kinds are " + strings.Join(names, ", ")
}

// ParseKinds reads a list of kinds: "user,pid,uts".
func ParseKinds(text string) ([]Kind, error) {
	var list []Kind
	for name := range strings.SplitSeq(text, ",") {
		k, ok := parseKind(strings.TrimSpace(name))
		if !ok {
			return nil, &KindError{name}
		}
		if !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	return list, nil
}

// parseLink reads what a link to a namespace says: "net:[4026531840]".
func parseLink[T string | []byte](text T) (k Kind, id uint64, ok bool) {
	name, rest, found := strings.Cut(string(text), ":[")
	number, closed := strings.CutSuffix(rest, "]")
	if !found || !closed {
		return 0, 0, false
	}
	if k, ok = parseKind(name); !ok {
		return 0, 0, false
	}
	id, err := strconv.ParseUint(number, 10, 64)
	return k, id, err == nil
}

// IsInitial reports whether a namespace is the machine's first, as far as its
// number tells: before Linux 6.18 those of mnt and net were not fixed.
func IsInitial(k Kind, id uint64) bool { return k < kinds && kindTable[k].first == id }
