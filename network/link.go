// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// route runs f with a netlink socket for links, addresses and routes in the
// thread's network namespace.
func route(f func(*netlink.Handle) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return f(h)
}

// list runs f as route does, and again while the kernel says that what f was
// listing has changed under it.
func list(f func(*netlink.Handle) error) error {
	const tries = 20
	return route(func(h *netlink.Handle) (err error) {
		for range tries {
			if err = f(h); !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		return err
	})
}

// linkNames lists the links of a type.
func linkNames(kind string) (names []string, err error) {
	err = list(func(h *netlink.Handle) error {
		names = nil
		links, err := h.LinkList()
		for _, l := range links {
			if l.Type() == kind {
				names = append(names, l.Attrs().Name)
			}
		}
		return err
	})
	return names, err
}

// delLink deletes a link by name, in one round trip. A link that is not there
// is no error; nor is no name.
func delLink(name string) error {
	if name == "" {
		return nil
	}
	req := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err == nil || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("delete link %s: %w", name, err)
}

// linkAttrs has what all links of this package are made with.
func linkAttrs(name string, mac net.HardwareAddr, mtu int) netlink.LinkAttrs {
	l := netlink.NewLinkAttrs()
	l.Name, l.HardwareAddr, l.MTU = name, mac, mtu
	return l
}
