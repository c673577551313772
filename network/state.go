// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Network is what the containers of one network share.
type Network struct {
	Dir    string       `json:"dir"`    // where it is recorded
	Bridge string       `json:"bridge"` // the link's name, and the table's
	Subnet netip.Prefix `json:"subnet"` // IPv4; its first address is the bridge's
	MTU    int          `json:"mtu"`    // bytes
}

// defaultName is the folder of the network that a container has if it names none.
const defaultName = "default"

// Gateway is the bridge's own address, with the subnet's length.
func (n Network) Gateway() netip.Prefix {
	return netip.PrefixFrom(n.Subnet.Addr().Next(), n.Subnet.Bits())
}

func (n Network) leases() string            { return filepath.Join(n.Dir, "leases") }
func (n Network) lease(a netip.Addr) string { return filepath.Join(n.leases(), a.String()) }
func (n Network) record() string            { return filepath.Join(n.Dir, "bridge") }
func (n Network) all() string               { return filepath.Dir(n.Dir) }
func (n Network) forward() string           { return filepath.Join(n.all(), "forward") }

// value is the network as its record has it.
func (n Network) value() string { return fmt.Sprintf("%s %s %d", n.Bridge, n.Subnet, n.MTU) }

// readNetwork reads a network's record; nil if there is none.
func readNetwork(dir string) (*Network, error) {
	n := Network{Dir: dir}
	text, err := os.Readlink(n.record())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var subnet string
	if _, err := fmt.Sscanf(text, "%s %s %d", &n.Bridge, &subnet, &n.MTU); err != nil {
		return nil, fmt.Errorf("read network %q: %q: %w", n.record(), text, err)
	}
	if n.Subnet, err = netip.ParsePrefix(subnet); err != nil {
		return nil, fmt.Errorf("read network %q: %w", n.record(), err)
	}
	return &n, nil
}

// readLeases lists the leased addresses of the network, in order.
func (n Network) readLeases() ([]netip.Addr, error) {
	entries, err := os.ReadDir(n.leases())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var addrs []netip.Addr
	for _, e := range entries {
		a, err := netip.ParseAddr(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read leases %q: %w", n.leases(), err)
		}
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

// lock locks the folder of all networks, and returns the function that lets go
// of it. The folder goes away with its last network, so the one that was locked
// may be an unlinked one. With create unset, a missing folder is fs.ErrNotExist.
func lock(dir string, create bool) (func(), error) {
	for {
		if err := unix.Mkdir(dir, 0o755); create && err != nil && err != unix.EEXIST {
			return nil, &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT && create {
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

// isHex reports whether s is of hexadecimal digits only.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
