// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/internal/outside"
	"vitro/network/usernet"
	"vitro/plan"
)

// A portMap is a map of the network's table from ports of the host to those of
// containers; without a value, a set of those of containers.
type portMap struct {
	name       string
	key, value nftables.SetDatatype
	ipv6, at   bool // at: only at one address of the host's
}

// maps are those of the network's table.
func (n Network) maps() []portMap {
	if n.Internal {
		return nil
	}
	port := []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}
	var list []portMap
	for _, m := range []struct {
		name     string
		address  nftables.SetDatatype
		ipv6, at bool
	}{
		{"ports", nftables.TypeIPAddr, false, false}, {"ports_at", nftables.TypeIPAddr, false, true},
		{"ports6", nftables.TypeIP6Addr, true, false}, {"ports6_at", nftables.TypeIP6Addr, true, true},
	} {
		if m.ipv6 && !n.Subnet6.IsValid() {
			continue
		}
		key := port
		if m.at {
			key = append([]nftables.SetDatatype{m.address}, port...)
		}
		list = append(list, portMap{m.name, nftables.MustConcatSetType(key...),
			nftables.MustConcatSetType(m.address, nftables.TypeInetService), m.ipv6, m.at})
	}
	if n.Routed && n.Subnet6.IsValid() {
		key := nftables.MustConcatSetType(append([]nftables.SetDatatype{nftables.TypeIP6Addr}, port...)...)
		list = append(list, portMap{name: reached, key: key, ipv6: true})
	}
	return list
}

// reached is the set of published ports where containers are reached by their own addresses.
const reached = "reached6"

func (m portMap) isMap() bool { return m.value.Name != "" }

func (n Network) sets(t *nftables.Table) []*nftables.Set {
	var list []*nftables.Set
	for _, m := range n.maps() {
		list = append(list, &nftables.Set{Table: t, Name: m.name, IsMap: m.isMap(), Concatenation: !m.isMap(), KeyType: m.key, DataType: m.value})
	}
	return list
}

// A Publication is one container's published ports. It is written down beside the network, so that
// the rules can be made again, and a port's owner found.
type Publication struct {
	ID       string     `json:"id"`
	Name     string     `json:"name,omitempty"`
	Address  netip.Addr `json:"address,omitzero"`
	Address6 netip.Addr `json:"address6,omitzero"`
	Ports    []Port     `json:"ports"`
}

func readPublication(file string) (p Publication, err error) {
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	return p, err
}

// An entry is an element of a map: for nft(8), and as the kernel has it.
type entry struct {
	set       string
	key, text string
	element   nftables.SetElement
}

func (p Publication) entries() (list []entry) {
	comment := p.Name
	if comment == "" {
		comment = short(p.ID)
	}
	for _, port := range p.Ports {
		if port.Host == netip.IPv6Loopback() {
			continue // the kernel lets nothing go from there: see package relay
		}
		number, _ := protocol(port.Proto)
		for _, to := range []netip.Addr{p.Address, p.Address6} {
			if !to.IsValid() || port.Host.IsValid() && port.Host.Is4() != to.Is4() {
				continue
			}
			e := entry{set: "ports", key: fmt.Sprintf("%s . %d", port.Proto, port.HostPort)}
			key := append(word(number), portWord(port.HostPort)...)
			if to.Is6() {
				e.set += "6"
			}
			if port.Host.IsValid() && !port.Host.IsUnspecified() {
				e.set += "_at"
				e.key = port.Host.String() + " . " + e.key
				key = append(port.Host.AsSlice(), key...)
			}
			e.text = fmt.Sprintf("%s comment %q : %s . %d", e.key, comment, to, port.Container)
			e.element = nftables.SetElement{Key: key, Val: append(to.AsSlice(), portWord(port.Container)...), Comment: comment}
			list = append(list, e)
			if to.Is6() {
				list = add6(list, to, port, comment)
			}
		}
	}
	return list
}

// add6 adds an element of the set of ports that are reached by the container's own address. Several ports of the host may
// lead to the same.
func add6(list []entry, to netip.Addr, port Port, comment string) []entry {
	number, _ := protocol(port.Proto)
	e := entry{set: reached, key: fmt.Sprintf("%s . %s . %d", to, port.Proto, port.Container)}
	if slices.ContainsFunc(list, func(o entry) bool { return o.set == e.set && o.key == e.key }) {
		return list
	}
	e.text = fmt.Sprintf("%s comment %q", e.key, comment)
	e.element = nftables.SetElement{Key: slices.Concat(to.AsSlice(), word(number), portWord(port.Container)), Comment: comment}
	return append(list, e)
}

// word and portWord are numbers as the kernel has them in keys: padded to 32 bits.
func word(b byte) []byte { return []byte{b, 0, 0, 0} }

func portWord(port uint16) []byte {
	b := make([]byte, 4)
	binary.BigEndian.PutUint16(b, port)
	return b
}

// inSet are the elements for a map, in portions that fit in a message: the
// length of an attribute has 16 bits.
func inSet(entries []entry, set string) (portions [][]nftables.SetElement) {
	const portion = 256
	var list []nftables.SetElement
	for _, e := range entries {
		if e.set == set {
			list = append(list, e.element)
		}
	}
	for part := range slices.Chunk(list, portion) {
		portions = append(portions, part)
	}
	return portions
}

func (p Publication) add(c *nftables.Conn, sets []*nftables.Set) error {
	entries := p.entries()
	for _, s := range sets {
		for _, part := range inSet(entries, s.Name) {
			if err := c.SetAddElements(s, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// Publish has ports of the host lead to the container.
type Publish struct {
	Network Network `json:"network"`
	Link    string  `json:"link"` // the host's end of the container's cable
	Publication
}

func (a *Publish) Verb() string    { return "publish" }
func (a *Publish) Undo() plan.Host { return &Unpublish{Network: a.Network, Publication: a.Publication} }
func (a *Publish) Line() string {
	return fmt.Sprintf("nft elements of inet %s: %s to %s", a.Network.Bridge, portList(a.Ports), a.Address)
}

func (a *Publish) file() string { return filepath.Join(a.Network.ports(), a.ID) }

// loopback reports whether a port is to be reached on 127.0.0.1.
func (p Publication) loopback() bool {
	return slices.ContainsFunc(p.Ports, func(p Port) bool {
		return !p.Host.IsValid() || p.Host.Is4() && (p.Host.IsUnspecified() || p.Host.IsLoopback())
	})
}

// udp reports whether there is a port without connections. The kernel remembers where packets
// from a client went, and would go on so when the port leads elsewhere.
func (p Publication) udp() bool {
	return slices.ContainsFunc(p.Ports, func(p Port) bool { return p.Proto == "udp" })
}

func (a *Publish) Shell(s *plan.Script) {
	data, _ := json.Marshal(a.Publication)
	s.Run("printf '%%s\\n' %s >%s", plan.Quote(string(data)), plan.Quote(a.file()))
	if a.loopback() {
		s.Run("echo 1 >%s", routeLocalnet(a.Network.Bridge))
	}
	s.Run("ip link set %s type bridge_slave hairpin on", a.Link)
	s.Run("nft -f - <<'RULES'\n%sRULES", a.script("add"))
	a.Undo().Shell(s.Undoing())
}

func (p Publication) elements(set string, text func(entry) string) string {
	var list []string
	for _, e := range p.entries() {
		if e.set == set {
			list = append(list, text(e))
		}
	}
	return strings.Join(list, ", ")
}

// script is the same for nft(8).
func (a *Publish) script(verb string) string {
	var b strings.Builder
	for _, m := range a.Network.maps() {
		text := func(e entry) string { return e.text }
		if verb == "delete" {
			text = func(e entry) string { return e.key }
		}
		if list := a.elements(m.name, text); list != "" {
			fmt.Fprintf(&b, "%s element inet %s %s { %s }\n", verb, a.Network.Bridge, m.name, list)
		}
	}
	return b.String()
}

func (a *Publish) Do(*plan.Env) error {
	data, err := json.Marshal(a.Publication)
	if err != nil {
		return err
	}
	if err := replace(a.file(), append(data, '\n')); err != nil {
		return err
	}
	if a.loopback() {
		if err := sysctl(routeLocalnet(a.Network.Bridge), "1"); err != nil { // it goes with the bridge
			return err
		}
	}
	if err := route(a.hairpin); err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: a.Network.Bridge, Family: nftables.TableFamilyINet}
	if err := a.add(c, a.Network.sets(t)); err != nil {
		return err
	}
	err = c.Flush()
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) {
		// Whoever looked after the other container was killed, and its sockets with it.
		taken := &PortError{Port: a.Ports[0], Err: unix.EADDRINUSE}
		taken.Owner = ownerBut(a.Network.all(), a.Ports, a.ID)
		return errors.Join(taken, remove(a.file()))
	}
	if err != nil {
		return fmt.Errorf("add %s to table inet %s: %w", portList(a.Ports), t.Name, missingTables(err))
	}
	if outside.Inside() { // the rules are for who asks from the user's other networks
		if _, err := ask(a.Network.all(), usernet.Publish, a.ID, Taking{Address: a.Address, Address6: a.Address6}); err != nil {
			return err
		}
	}
	return a.forget()
}

// hairpin has the bridge send packets back where they came from: where br_netfilter has rules apply to
// what bridges pass on, a container that asks for its own published port is answered
// by the bridge, and not by way of the host.
func (a *Publish) hairpin(h *netlink.Handle) error {
	l, err := h.LinkByName(a.Link)
	if err == nil {
		err = h.LinkSetHairpin(l, true)
	}
	if err != nil {
		return fmt.Errorf("set hairpin mode of %s: %w", a.Link, err)
	}
	return nil
}

func routeLocalnet(link string) string { return "/proc/sys/net/ipv4/conf/" + link + "/route_localnet" }

// forget has the kernel forget where it sent UDP packets for the ports.
func (p Publication) forget() error {
	if !p.udp() {
		return nil
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		var filters []netlink.CustomConntrackFilter
		for _, port := range p.Ports {
			if port.Proto != "udp" {
				continue
			}
			f := new(netlink.ConntrackFilter)
			if err := errors.Join(f.AddProtocol(unix.IPPROTO_UDP), f.AddPort(netlink.ConntrackOrigDstPort, port.HostPort)); err != nil {
				return err
			}
			filters = append(filters, f)
		}
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, filters...); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("forget connections of %s: %w", portList(p.Ports), err)
		}
	}
	return nil
}

// Unpublish takes the container's ports away. What is not there is no error.
type Unpublish struct {
	Network Network `json:"network"`
	Publication
}

func (a *Unpublish) Verb() string    { return "unpublish" }
func (a *Unpublish) Undo() plan.Host { return nil }
func (a *Unpublish) Line() string {
	return fmt.Sprintf("delete nft elements of inet %s: %s", a.Network.Bridge, portList(a.Ports))
}

func (a *Unpublish) publish() *Publish {
	return &Publish{Network: a.Network, Publication: a.Publication}
}

func (a *Unpublish) Shell(s *plan.Script) {
	s.Run("nft -f - <<'RULES'\n%sRULES", a.publish().script("delete"))
	file := a.publish().file()
	s.Run("rm %s", plan.Quote(file))
}

func (a *Unpublish) Do(*plan.Env) error {
	file := a.publish().file()
	if !exists(file) {
		return nil // it has not come so far, or is done
	}
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	if err := a.del(c); err != nil {
		return fmt.Errorf("delete %s of table inet %s: %w", portList(a.Ports), a.Network.Bridge, err)
	}
	if err := remove(file); err != nil {
		return err
	}
	return a.forget()
}

// del deletes the elements, all at once, or one by one if some are missing.
func (a *Unpublish) del(c *nftables.Conn) error {
	t := &nftables.Table{Name: a.Network.Bridge, Family: nftables.TableFamilyINet}
	entries, sets := a.entries(), a.Network.sets(t)
	for _, s := range sets {
		for _, part := range inSet(entries, s.Name) {
			if err := c.SetDeleteElements(s, part); err != nil {
				return err
			}
		}
	}
	err := c.Flush()
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	for _, s := range sets {
		for _, part := range inSet(entries, s.Name) {
			for _, e := range part {
				if err := c.SetDeleteElements(s, []nftables.SetElement{e}); err != nil {
					return err
				}
				if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
					return err
				}
			}
		}
	}
	return nil
}
