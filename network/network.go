// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Network is what the containers of one network share. It is written down as
// JSON in its folder.
type Network struct {
	Dir    string `json:"dir"`  // where it is recorded
	Name   string `json:"name"` // as people call it, and its folder
	Driver string `json:"driver"`
	// Bridge is the link that containers are plugged into, and the name of
	// the network's table of nftables.
	Bridge string `json:"bridge,omitempty"`
	Parent string `json:"parent,omitempty"` // macvlan, ipvlan: the host's link
	Mode   string `json:"mode,omitempty"`   // macvlan, ipvlan: the kernel's mode

	Subnet   netip.Prefix `json:"subnet,omitzero"` // IPv4
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	Range    netip.Prefix `json:"range,omitzero"` // where containers' addresses are taken from
	Subnet6  netip.Prefix `json:"subnet6,omitzero"`
	Gateway6 netip.Addr   `json:"gateway6,omitzero"`

	MTU        int               `json:"mtu,omitempty"` // bytes
	Internal   bool              `json:"internal,omitempty"`
	Routed     bool              `json:"routed,omitempty"`  // IPv6 addresses are seen outside
	DisableDNS bool              `json:"no_dns,omitempty"`  // names are not answered
	Labels     map[string]string `json:"labels,omitempty"`  // for people
	Options    map[string]string `json:"options,omitempty"` // as they were given
	Created    time.Time         `json:"created,omitzero"`
}

// Drivers, the ways to join a container to a network.
const (
	DriverBridge  = "bridge"
	DriverMacvlan = "macvlan"
	DriverIPvlan  = "ipvlan"
	DriverNone    = "none"
)

// Default is the network that a container has if it names none. It is there
// while it has containers.
const Default = "bridge"

// IsDefault reports whether it is the one that nobody has to create.
func (n Network) IsDefault() bool { return n.Name == Default }

// DNS reports whether its containers find each other by name. Those of the
// default network don't, as with Docker, but for --link.
func (n Network) DNS() bool { return !n.IsDefault() && !n.DisableDNS && n.Driver != DriverNone }

// ID is a number as other engines give networks one: 64 hexadecimal digits, always the same for this one.
func (n Network) ID() string { return digest(n.Dir, n.Name, n.Created.Format(time.RFC3339Nano)) }

func digest(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, " ")))
	return hex.EncodeToString(sum[:])
}

// gateway is the bridge's own address, with the subnet's length.
func (n Network) gateway() netip.Prefix { return netip.PrefixFrom(n.Gateway, n.Subnet.Bits()) }

func (n Network) gateway6() netip.Prefix { return netip.PrefixFrom(n.Gateway6, n.Subnet6.Bits()) }

// bare is the network as its actions write it down: without what is for people.
func (n Network) bare() Network {
	n.Labels, n.Options, n.Created = nil, nil, time.Time{}
	return n
}

func (n Network) leases() string             { return filepath.Join(n.Dir, "leases") }
func (n Network) closing() string            { return filepath.Join(n.Dir, "closing") }
func (n Network) lease(a netip.Addr) string  { return filepath.Join(n.leases(), a.String()) }
func (n Network) record() string             { return filepath.Join(n.Dir, "network.json") }
func (n Network) names() string              { return filepath.Join(n.Dir, "names") }
func (n Network) ports() string              { return filepath.Join(n.Dir, "ports") }
func (n Network) all() string                { return filepath.Dir(n.Dir) }
func (n Network) forward(file string) string { return filepath.Join(n.all(), file) }

// same reports whether two definitions make the same links, addresses and rules.
func (n Network) same(o Network) bool {
	a, errA := json.Marshal(n.bare())
	b, errB := json.Marshal(o.bare())
	return errA == nil && errB == nil && string(a) == string(b)
}

// value is the network as its record has it.
func (n Network) value() ([]byte, error) {
	data, err := json.MarshalIndent(n, "", "  ")
	return append(data, '\n'), err
}

// readNetwork reads a network's record; nil if there is none.
func readNetwork(dir string) (*Network, error) {
	var n Network
	data, err := os.ReadFile(Network{Dir: dir}.record())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return nil, fmt.Errorf("read network %q: %w", dir, err)
	}
	n.Dir = dir
	return &n, nil
}

// List reads the networks of a state folder, by name. The default one is among
// them while it is there.
func List(stateDir string) ([]Network, error) {
	all := filepath.Join(stateDir, "network")
	entries, err := os.ReadDir(all)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []Network
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		n, err := readNetwork(filepath.Join(all, e.Name()))
		if err != nil {
			return nil, err
		}
		if n != nil {
			list = append(list, *n)
		}
	}
	return list, nil
}

// Lookup reads a network by its name, its ID, or the beginning of the ID if no other's begins so.
// The error is an [UnknownError] if there is none.
func Lookup(stateDir, name string) (Network, error) {
	all := filepath.Join(stateDir, "network")
	if checkName(name) == nil {
		n, err := readNetwork(filepath.Join(all, name))
		if err != nil {
			return Network{}, err
		}
		if n != nil {
			return *n, nil
		}
	}
	unknown := &UnknownError{Name: name}
	list, err := List(stateDir)
	var found []Network
	for _, n := range list {
		if unknown.Have = append(unknown.Have, n.Name); name != "" && strings.HasPrefix(n.ID(), name) {
			found = append(found, n)
		}
	}
	switch {
	case err != nil:
		return Network{}, errors.Join(err, unknown)
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Network{}, fmt.Errorf("find network %q: the IDs of %s and %s begin so: give more digits, or the name", name, found[0].Name, found[1].Name)
	}
	return Network{}, unknown
}

// checkName refuses what is no safe folder name.
func checkName(name string) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_.-", r)
	}
	if name == "" || len(name) > 128 || strings.ContainsAny(name[:1], "_.-") || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("use %q as a network's name: want letters, digits and any of _.- but not in front", name)
	}
	return nil
}

// A Member is a container on a network.
type Member struct {
	ID        string
	Addresses []netip.Addr
}

// Members are the containers that hold addresses of the network, by address.
func (n Network) Members() ([]Member, error) {
	var list []Member
	for _, dir := range []string{n.leases(), n.closing()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			a, err := netip.ParseAddr(e.Name())
			if err != nil {
				return nil, fmt.Errorf("read leases %q: %w", dir, err)
			}
			id, err := os.Readlink(filepath.Join(dir, e.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue // given back meanwhile
			}
			if err != nil {
				return nil, err
			}
			list = add(list, id, a)
		}
	}
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(a.Addresses[0].Compare(b.Addresses[0]), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

func add(list []Member, id string, a netip.Addr) []Member {
	for i := range list {
		if list[i].ID == id {
			list[i].Addresses = append(list[i].Addresses, a)
			slices.SortFunc(list[i].Addresses, netip.Addr.Compare)
			return list
		}
	}
	return append(list, Member{ID: id, Addresses: []netip.Addr{a}})
}

// lock locks a folder below base, and returns the function that lets go of it.
// The folder may go away with who has the lock, so the one that was locked may
// be an unlinked one. With create unset, a missing folder is fs.ErrNotExist.
func lock(dir string, create bool) (func(), error) {
	for {
		if create {
			for _, d := range []string{filepath.Dir(dir), dir} {
				if err := unix.Mkdir(d, 0o755); err != nil && err != unix.EEXIST && err != unix.ENOENT {
					return nil, &fs.PathError{Op: "mkdir", Path: d, Err: err}
				}
			}
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT && create && exists(filepath.Dir(filepath.Dir(dir))) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
		}
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Flock(fd, unix.LOCK_EX)
		}
		if err != nil {
			unix.Close(fd)
			return nil, &fs.PathError{Op: "flock", Path: dir, Err: err}
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && st.Nlink > 0 {
			return func() { unix.Close(fd) }, nil
		}
		unix.Close(fd)
	}
}

func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// replace writes a file so that a reader sees the old content or the new one.
func replace(path string, data []byte) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// remove unlinks a file. One that is not there is no error.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// rmdir removes a folder, and reports whether it is gone; it is not, without an
// error, if something is in it.
func rmdir(dir string) (gone bool, err error) {
	switch err := unix.Rmdir(dir); err {
	case nil, unix.ENOENT:
		return true, nil
	case unix.ENOTEMPTY, unix.EEXIST:
		return false, nil
	default:
		return false, &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
}

// isHex reports whether s is of hexadecimal digits only.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
