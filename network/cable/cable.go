// SPDX-License-Identifier: Apache-2.0

package cable

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/internal/netns"
	"vitro/plan"
	"vitro/plan/run"
)

// Read looks at the machine, as far as the request is concerned.
func Read(r Request) (f Facts, err error) {
	if f.Own, err = netns.IDOf("/proc/thread-self/ns/net"); err != nil {
		return f, err
	}
	target := fmt.Sprintf("/proc/%d/ns/net", r.PID)
	if f.Target, err = netns.IDOf(target); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return f, refuse("only root, or who owns the process, may", "process %d: %w", r.PID, unix.EACCES)
		}
		return f, refuse("pidof, pgrep and ps name those that there are", "process %d: there is none", r.PID)
	}
	if _, err := os.Lstat(filepath.Join(netnsDir, filepath.Base(r.Name))); err == nil {
		f.Taken = true
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); errors.Is(err, fs.ErrNotExist) {
		f.NoIPv6 = true
	}
	if f.Links, err = readLinks(); err != nil {
		return f, err
	}
	if f.Own == f.Target {
		return f, nil
	}
	err = netns.In(target, func() error {
		links, err := readLinks()
		for _, l := range links {
			f.Inner = append(f.Inner, l.Name)
		}
		if lo, e := netlink.LinkByName("lo"); e == nil {
			f.Loopback = lo.Attrs().RawFlags&unix.IFF_UP != 0
		}
		return err
	})
	if errors.Is(err, fs.ErrPermission) {
		return f, refuse("run it as root; in a user namespace, as its root", "network namespace of process %d: it needs CAP_SYS_ADMIN to go there", r.PID)
	}
	return f, err
}

func readLinks() ([]Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	names := make(map[int]string)
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var list []Link
	for _, l := range links {
		k := Link{Name: l.Attrs().Name, Kind: l.Type(), Master: names[l.Attrs().MasterIndex]}
		for _, a := range addrs {
			ip, ok := netip.AddrFromSlice(a.IP)
			if bits, _ := a.Mask.Size(); ok && a.LinkIndex == l.Attrs().Index {
				k.Addresses = append(k.Addresses, netip.PrefixFrom(ip.Unmap(), bits))
			}
		}
		list = append(list, k)
	}
	return list, nil
}

// Attach does a plan of Plan's. The way back stands in the folder, under the name, before each
// step is done. If a step fails, those before it are taken back.
func Attach(dir, name string, p *plan.Plan) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	u, err := run.CreateUndo(path)
	if errors.Is(err, fs.ErrExist) {
		return refuse("vitro network detach "+name, "name %q: it is attached already", name)
	}
	if err != nil {
		return err
	}
	defer u.Close()
	if err := run.HostNoting(p, u); err != nil {
		return errors.Join(err, run.Undo(path, Actions))
	}
	return nil
}

// Detach goes the way back. It is right after a crash at any moment, and if the process has
// ended long ago.
func Detach(dir, name string) error {
	path := filepath.Join(dir, name)
	if name == "" || name != filepath.Base(name) || name[0] == '.' {
		return &Error{fmt.Errorf("detach: name %q: not one that was attached", name), ""}
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		known := "none is attached"
		if list := Names(dir); len(list) > 0 {
			known = "attached are: " + strings.Join(list, ", ")
		}
		return &Error{fmt.Errorf("detach: name %q: not one that was attached", name), known}
	}
	err := run.Undo(path, Actions)
	_ = unix.Rmdir(dir) // if it was the last
	return err
}

// Names are what is attached.
func Names(dir string) (names []string) {
	entries, _ := os.ReadDir(dir) // none: nothing is
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
