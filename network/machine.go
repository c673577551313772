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

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Facts are what [Facts.Plan] decides by. Machine is read only while there is
// no network yet: later containers cost no question to the kernel.
type Facts struct {
	Dir     string       `json:"dir"`               // the folder of all networks
	Network *Network     `json:"network,omitempty"` // the default one, if it is recorded
	Leases  []netip.Addr `json:"leases,omitempty"`  // those of Network, in order
	Machine *Machine     `json:"machine,omitempty"`
}

// A Machine is what a new network has to get along with.
type Machine struct {
	Used    []netip.Prefix `json:"used"`              // IPv4: addresses, routes, name servers
	Names   []string       `json:"names"`             // of links and of nftables' tables
	MTU     int            `json:"mtu"`               // the uplink's, in bytes
	Filters []string       `json:"filters,omitempty"` // chains that drop what they forward by default
}

// Read collects the facts. The folder is the engine's state folder and has to
// be there: networks are recorded in a folder below it.
func Read(stateDir string) (Facts, error) {
	f := Facts{Dir: filepath.Join(stateDir, "network")}
	var err error
	if f.Network, err = readNetwork(filepath.Join(f.Dir, defaultName)); err != nil {
		return f, err
	}
	if f.Network != nil {
		f.Leases, err = f.Network.readLeases()
		return f, err
	}
	f.Machine = new(Machine)
	if err := list(f.Machine.readLinks); err != nil {
		return f, fmt.Errorf("read links and routes: %w", err)
	}
	if err := f.Machine.readTables(); err != nil {
		return f, fmt.Errorf("read nftables: %w", missingTables(err))
	}
	return f, f.Machine.readNameservers("/etc/resolv.conf")
}

func (m *Machine) readLinks(h *netlink.Handle) error {
	*m = Machine{MTU: 1500} // Ethernet's, if there is no uplink
	links, err := h.LinkList()
	if err != nil {
		return err
	}
	mtu := make(map[int]int)
	for _, l := range links {
		m.Names = append(m.Names, l.Attrs().Name)
		mtu[l.Attrs().Index] = l.Attrs().MTU
	}
	addrs, err := h.AddrList(nil, unix.AF_INET)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		m.use(prefix(a.IPNet.IP, a.IPNet.Mask))
	}
	routes, err := h.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
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
		if p.Bits() == 0 && mtu[r.LinkIndex] > 0 && (best < 0 || r.Priority < best) {
			best, m.MTU = r.Priority, mtu[r.LinkIndex]
		}
	}
	return nil
}

// use notes that a range of addresses has a place. The default route covers
// everything and says nothing; nor do the halves and quarters that VPNs write
// in order to override it.
func (m *Machine) use(p netip.Prefix) {
	const shortest = 8
	if p.IsValid() && p.Bits() >= shortest {
		m.Used = append(m.Used, p.Masked())
	}
}

func (m *Machine) readTables() error {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	tables, err := c.ListTables()
	if err != nil {
		return err
	}
	for _, t := range tables {
		m.Names = append(m.Names, t.Name)
	}
	chains, err := c.ListChains()
	if err != nil {
		return err
	}
	for _, ch := range chains {
		drops := ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop
		ipv4 := ch.Table.Family == nftables.TableFamilyIPv4 || ch.Table.Family == nftables.TableFamilyINet
		if drops && ipv4 && ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookForward {
			m.Filters = append(m.Filters, fmt.Sprintf("%s %s %s", family(ch.Table.Family), ch.Table.Name, ch.Name))
		}
	}
	return nil
}

func family(f nftables.TableFamily) string {
	if f == nftables.TableFamilyINet {
		return "inet"
	}
	return "ip"
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
		if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
			m.use(netip.PrefixFrom(a, 32))
		}
	}
	return nil
}

// prefix converts an IPv4 range; the zero Prefix if it is something else.
func prefix(ip, mask []byte) netip.Prefix {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || !a.Unmap().Is4() || len(mask) != 4 {
		return netip.Prefix{}
	}
	bits := 0
	for _, b := range mask {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	return netip.PrefixFrom(a.Unmap(), bits)
}

// overlaps reports whether p has an address in common with one of the ranges.
func overlaps(p netip.Prefix, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, p.Overlaps)
}
