// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNetns does something in a network namespace: a name of ip(8)'s, or "" for ours.
func inNetns(name string, do func() error) error {
	if name == "" {
		return do()
	}
	return within(filepath.Join(netns, name), unix.CLONE_NEWNET, do)
}

// end asks for a link that is up and has an address.
func end(ns, name, prefix string) func(*Lab) error {
	return func(*Lab) error {
		return inNetns(ns, func() error { return upWith(name, prefix) })
	}
}

func upWith(name, prefix string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("%s is down", name)
	}
	if want := map[string]string{"lab-br": "bridge", "lab-0": "veth", "lab-1": "veth"}[name]; want != "" && link.Type() != want {
		return fmt.Errorf("%s is a %s, not a %s", name, printable(link.Type()), want)
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var its []string
	for _, a := range list {
		if a.IPNet.String() == prefix {
			return nil
		}
		its = append(its, a.IPNet.String())
	}
	return differs(name, strings.Join(its, " "), prefix)
}

var innerEnd = of("veth", func(_ *Lab, p process) error {
	return p.within(func() error { return upWith("lab-1", "198.51.100.2/30") }, "net")
})

var named = of("veth", func(_ *Lab, p process) error {
	its, err := inode(p.proc("ns/net"))
	if err != nil {
		return err
	}
	file, err := inode(filepath.Join(netns, "lab-veth"))
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(netns, "lab-veth"), err)
	}
	if file != its {
		return errors.New("that is another one: mount /proc/PID/ns/net there")
	}
	return nil
})

func growing(l *Lab) error {
	text, err := content(l.path("nc"))
	if err != nil {
		return err
	}
	want := "x"
	for line := range strings.Lines(text) {
		if err := differs("a line", strings.TrimSpace(line), want); err != nil {
			return err
		}
		want += "x"
	}
	if len(want) < 4 {
		return fmt.Errorf("it got %d", len(want)-1)
	}
	return nil
}

func spaces(*Lab) error {
	for _, n := range [...]string{"lab-host", "lab-a", "lab-b", "lab-out"} {
		if err := inNetns(n, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func plugged(*Lab) error {
	return inNetns("lab-host", func() error {
		bridge, err := netlink.LinkByName("lab-br")
		if err != nil {
			return fmt.Errorf("lab-br: %w", err)
		}
		for _, n := range [...]string{"lab-a", "lab-b"} {
			link, err := netlink.LinkByName(n)
			if err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
			if link.Attrs().MasterIndex != bridge.Attrs().Index {
				return fmt.Errorf("%s is not", n)
			}
			if link.Attrs().Flags&net.FlagUp == 0 {
				return fmt.Errorf("%s is down", n)
			}
		}
		return nil
	})
}

func wayOut(*Lab) error {
	for ns, prefix := range map[string]string{"lab-a": "192.0.2.2/24", "lab-b": "192.0.2.3/24"} {
		err := inNetns(ns, func() error {
			if err := upWith("eth0", prefix); err != nil {
				return err
			}
			routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			for _, r := range routes {
				if (r.Dst == nil || r.Dst.IP.IsUnspecified()) && r.Gw.String() == "192.0.2.1" {
					return nil
				}
			}
			return errors.New("it has no default route by 192.0.2.1")
		})
		if err != nil {
			return fmt.Errorf("%s: %w", ns, err)
		}
	}
	return nil
}

func forwards(*Lab) error {
	return inNetns("lab-host", func() error {
		text, err := content("/proc/sys/net/ipv4/ip_forward") // which shows the calling thread's
		if err != nil {
			return err
		}
		return differs("ip_forward", text, "1")
	})
}

func masquerades(*Lab) error {
	return inNetns("lab-host", func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := c.ListChains()
		if err != nil {
			return fmt.Errorf("list chains: %w", err)
		}
		for _, chain := range chains {
			if chain.Table.Name != Table {
				continue
			}
			rules, err := c.GetRules(chain.Table, chain)
			if err != nil {
				return fmt.Errorf("list rules: %w", err)
			}
			for _, r := range rules {
				for _, e := range r.Exprs {
					if _, ok := e.(*expr.Masq); ok {
						return nil
					}
				}
			}
		}
		return fmt.Errorf("no rule in a table %s masquerades", Table)
	})
}

// What is to be gone.

func noProcesses(l *Lab) error {
	list, err := l.processes()
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%d is, of lesson %s", list[0].pid, printable(list[0].lesson))
	}
	return err
}

func noMounts(l *Lab) error {
	list, err := l.mounts()
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%s is", printable(list[0].target))
	}
	return err
}

func noGroups(*Lab) error {
	list, err := tops()
	if err != nil {
		return err
	}
	for _, dir := range list {
		if _, err := os.Lstat(dir); err == nil {
			return fmt.Errorf("%s is", dir)
		}
	}
	return nil
}

func noLinks(*Lab) error {
	links, err := labLinks()
	if err != nil {
		return err
	}
	if len(links) > 0 {
		return fmt.Errorf("the link %s is", printable(links[0].Attrs().Name))
	}
	files, err := filepath.Glob(filepath.Join(netns, Prefix+"*"))
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("%s is", printable(files[0]))
	}
	return err
}

func noFolder(l *Lab) error {
	if _, err := os.Lstat(l.Dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is", l.Dir)
	}
	return nil
}
