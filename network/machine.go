// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/internal/outside"
	"vitro/network/rules"
)

// A Machine is what a new network has to get along with. It is read only when a
// network is made: containers' starts cost no such question to the kernel.
type Machine struct {
	Used   []netip.Prefix `json:"used"`              // addresses, routes, name servers, networks
	Names  []string       `json:"names"`             // of links and of nftables' tables
	Uplink string         `json:"uplink,omitempty"`  // the link that the default route leads to
	MTU    int            `json:"mtu"`               // the uplink's, in bytes
	NoIPv6 bool           `json:"no_ipv6,omitempty"` // the kernel has none, or is not to use it
	Rules  []rules.Chain  `json:"rules,omitempty"`   // of whoever has set some
}

// ReadMachine asks the kernel, and reads which networks are recorded.
func ReadMachine(stateDir string) (*Machine, error) {
	m := &Machine{NoIPv6: !hasIPv6()}
	if err := list(m.readLinks); err != nil {
		return nil, fmt.Errorf("read links and routes: %w", err)
	}
	if err := m.readTables(); err != nil {
		return nil, fmt.Errorf("read nftables: %w", missingTables(err))
	}
	if outside.Inside() {
		used, err := askUsed(stateDir)
		if err != nil {
			return nil, err
		}
		m.Used = append(m.Used, used...)
	}
	networks, err := List(stateDir)
	if err != nil {
		return nil, err
	}
	for _, n := range networks {
		if n.Driver != DriverBridge {
			continue
		}
		m.Names = append(m.Names, n.Bridge)
		m.use(n.Subnet)
		m.use(n.Subnet6)
	}
	return m, m.readNameservers("/etc/resolv.conf")
}

// hasIPv6 reports whether the machine has IPv6: the kernel can, and it isn't turned off.
func hasIPv6() bool {
	text, err := os.ReadFile(disableIPv6("all"))
	return err == nil && strings.TrimSpace(string(text)) == "0"
}

func (m *Machine) readLinks(h *netlink.Handle) error {
	m.Used, m.Names, m.Uplink, m.MTU = nil, nil, "", 1500 // Ethernet's, if there is no uplink
	links, err := h.LinkList()
	if err != nil {
		return err
	}
	byIndex := make(map[int]*netlink.LinkAttrs)
	for _, l := range links {
		m.Names = append(m.Names, l.Attrs().Name)
		byIndex[l.Attrs().Index] = l.Attrs()
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		if family == unix.AF_INET6 && m.NoIPv6 {
			continue
		}
		addrs, err := h.AddrList(nil, family)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			m.use(prefix(a.IPNet.IP, a.IPNet.Mask))
		}
		if err := m.readRoutes(h, family, byIndex); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) readRoutes(h *netlink.Handle, family int, links map[int]*netlink.LinkAttrs) error {
	routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	best := -1
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		p := prefix(r.Dst.IP, r.Dst.Mask)
		m.use(p)
		link := links[r.LinkIndex]
		if r.Type == unix.RTN_UNICAST && family == unix.AF_INET && p.IsValid() && p.Bits() == 0 && link != nil && link.MTU > 0 && (best < 0 || r.Priority < best) {
			best, m.MTU, m.Uplink = r.Priority, link.MTU, link.Name
		}
	}
	return nil
}

// use notes that a range of addresses has a place. The default route covers
// everything and says nothing; nor do the halves and quarters that VPNs write
// in order to override it. Each link has fe80::/64 to itself.
func (m *Machine) use(p netip.Prefix) {
	const shortest = 8
	if p.IsValid() && p.Bits() >= shortest && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
		m.Used = append(m.Used, p.Masked())
	}
}

func (m *Machine) readTables() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := c.ListTables()
	if err != nil {
		return err
	}
	for _, t := range tables {
		m.Names = append(m.Names, t.Name)
	}
	m.Rules, err = rules.Read()
	return err
}

// readNameservers notes the addresses of the host's name servers: they may be
// behind the default route, where no other fact shows them.
func (m *Machine) readNameservers(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, s := range parseResolv(text).servers {
		if a, err := netip.ParseAddr(s); err == nil {
			a = a.WithZone("")
			m.use(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return nil
}

// prefix converts a range; the zero Prefix if it is none.
func prefix(ip, mask []byte) netip.Prefix {
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || a.BitLen() != 8*len(mask) {
		return netip.Prefix{}
	}
	bits := 0
	for _, b := range mask {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	return netip.PrefixFrom(a, bits)
}
