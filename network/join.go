// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vitro/host"
	"vitro/network/relay"
	"vitro/plan"
)

// A Request says to which networks a container is to be joined, and how.
type Request struct {
	StateDir string // the engine's
	Folder   string // the container's
	ID, Name string // the container's
	Wishes   []Wish // the networks, the way out by the first that has one
	Ports    []PortWish
	Exposed  []string // see ParseExposed
	// Again: the last plan has failed with ErrTaken.
	Again bool
	// Look: nothing is to be started, so ports that others have don't matter.
	Look bool

	taken []Endpoint // what a container that runs has already
}

// A Wish is one network that a container is to be joined to. What is left open
// is chosen.
type Wish struct {
	Network   string
	IP, IP6   netip.Addr
	MAC       string
	Aliases   []string
	Interface string
}

// Facts are what [Facts.Plan] decides by.
type Facts struct {
	Dir      string
	Machine  *Machine // only if the default network is to be made
	Networks []Place
	Ports    []Port
	IPv6     bool // the host has it
}

// A Place is a free one in a network.
type Place struct {
	Network           Network
	Address, Address6 netip.Addr
}

// An Attachment is what joins one container to its networks.
type Attachment struct {
	Attachments
	Before   []plan.Step // need no child
	After    []plan.Step // need the child's network namespace
	Warnings []string    // what may keep packets from passing, and what to do
}

// Read collects the facts. The state folder has to be there: networks are recorded in
// a folder below it. It lists nothing: what it costs doesn't grow with containers.
//
// The address is only certain once the step "lease" is done: if that fails with
// [ErrTaken], read the facts with Again, and plan anew.
func Read(r Request) (Facts, error) {
	f := Facts{Dir: filepath.Join(r.StateDir, "network")}
	for _, w := range r.Wishes {
		p, err := f.place(r, w)
		if err != nil {
			return f, fmt.Errorf("join network %q: %w", w.Network, err)
		}
		f.Networks = append(f.Networks, p)
	}
	var err error
	f.IPv6 = len(r.Ports) > 0 && hasIPv6()
	if r.Look {
		for _, w := range r.Ports {
			f.Ports = append(f.Ports, Port{Host: w.Host, HostPort: w.Low, Container: w.Container, Proto: w.Proto})
		}
	} else {
		f.Ports, err = choose(f.Dir, r.Ports, f.IPv6)
	}
	return f, err
}

func (f *Facts) place(r Request, w Wish) (p Place, err error) {
	p.Network, err = Lookup(r.StateDir, w.Network)
	var unknown *UnknownError
	if errors.As(err, &unknown) && w.Network == Default {
		if f.Machine, err = ReadMachine(r.StateDir); err == nil {
			p.Network, err = f.Machine.Define(f.Dir, Definition{Name: Default}, [5]byte{})
		}
	}
	if err != nil || p.Network.Driver == DriverNone {
		return p, err
	}
	n := p.Network
	p.Address, p.Address6 = w.IP, w.IP6
	taken := func(a netip.Addr) bool {
		if _, err := os.Readlink(n.lease(a)); err == nil {
			return true
		}
		if !n.Subnet6.IsValid() || w.IP6.IsValid() {
			return false
		}
		_, err := os.Readlink(n.lease(n.twin(a)))
		return err == nil
	}
	if !p.Address.IsValid() {
		if p.Address, err = n.free(r.ID, r.Again, taken); err != nil {
			return p, err
		}
	}
	if !p.Address6.IsValid() {
		p.Address6 = n.twin(p.Address)
	}
	return p, nil
}

// publisher is the network that ports lead to: the first that the world can
// reach; -1 if there is none.
func publisher(places []Place) int {
	return slices.IndexFunc(places, func(p Place) bool { return p.Network.publishes() })
}

// publishes reports whether ports of the host can lead to the network's containers.
func (n Network) publishes() bool { return n.Driver == DriverBridge && !n.Internal }

// Plan decides how the container is joined to its networks. It is pure.
func (f Facts) Plan(r Request) (Attachment, error) {
	a := Attachment{Attachments: Attachments{ID: r.ID, Name: r.Name, Ports: f.Ports, IPv6: f.IPv6, Exposed: r.Exposed}}
	if r.ID == "" {
		return a, errors.New("join network: a container without an ID")
	}
	if err := f.endpoints(r, &a); err != nil {
		return a, err
	}
	for i, p := range f.Networks {
		f.plug(&a, i, p, r.Wishes[i])
	}
	if err := f.publish(r, &a); err != nil {
		return a, err
	}
	for i, e := range a.Endpoints {
		if e.Address.IsValid() {
			a.After = append(a.After, plan.Step{Action: &Announce{Network: f.Networks[i].Network.bare(), ID: r.ID, Entry: announcement(r.Name, r.ID, e)},
				Why: "the others on the network find the container by its names"})
		}
	}
	if f.Machine != nil {
		i := slices.IndexFunc(f.Networks, func(p Place) bool { return p.Network.IsDefault() })
		n := f.Networks[i].Network
		for _, filter := range n.Filters(f.Machine.Rules) {
			a.Warnings = append(a.Warnings, filter.Warning(n))
		}
	}
	return a, nil
}

// Record are the steps that write the attachments down in the container's folder.
func (a Attachment) Record(folder string) ([]plan.Step, error) {
	data, err := a.encode()
	steps := []plan.Step{{Action: &host.File{Path: filepath.Join(folder, attachmentsFile), Content: string(data)},
		Why: "which networks the container is on, and what it is called there"}}
	if ways := a.Relays(); len(ways) > 0 {
		steps = append(steps, plan.Step{Action: &host.File{Path: filepath.Join(folder, relay.File), Content: relay.Text(ways)},
			Why: "what comes by ::1, or by IPv6 that the container has not, is carried to it by the process beside it"})
	}
	return steps, err
}

// endpoints decides what each place looks like.
func (f Facts) endpoints(r Request, a *Attachment) error {
	for i, p := range f.Networks {
		e, err := endpoint(r, i, p)
		if err != nil {
			return fmt.Errorf("join network %q: %w", p.Network.Name, err)
		}
		for _, o := range slices.Concat(r.taken, a.Endpoints) {
			switch {
			case o.Network == e.Network:
				return fmt.Errorf("join network %q: it is named twice", e.Network)
			case o.Interface != "" && o.Interface == e.Interface:
				return fmt.Errorf("join network %q: there is a link %s already", e.Network, e.Interface)
			case o.Gateway.IsValid() && e.Gateway.IsValid():
				e.Gateway = netip.Addr{} // the way out is by the first
			}
			if o.Gateway6.IsValid() {
				e.Gateway6 = netip.Addr{}
			}
		}
		a.Endpoints = append(a.Endpoints, e)
	}
	if i := publisher(f.Networks); i >= 0 && len(f.Ports) > 0 {
		a.Endpoints[i].Publishes = true
	}
	return nil
}

// Check refuses a wish that its network can't grant, whoever else is on it. A
// default network that isn't made yet has no addresses to choose from.
func Check(dir string, w Wish) error {
	n, err := Lookup(dir, w.Network)
	if err != nil {
		if !errors.As(err, new(*UnknownError)) || w.Network != Default {
			return err
		}
		if w.IP.IsValid() || w.IP6.IsValid() {
			return errors.New("choose an address: this network is made with its first container, and has none yet")
		}
		return nil
	}
	const nobody = "000000000000"
	p := Place{Network: n, Address: w.IP, Address6: w.IP6}
	if !p.Address.IsValid() && n.Driver != DriverNone {
		if p.Address, err = n.free(nobody, false, func(netip.Addr) bool { return false }); err != nil {
			return err
		}
	}
	_, err = endpoint(Request{ID: nobody, Wishes: []Wish{w}}, 0, p)
	return err
}

func endpoint(r Request, i int, p Place) (Endpoint, error) {
	n, w := p.Network, r.Wishes[i]
	e := Endpoint{Network: n.Name, NetworkID: n.ID(), Driver: n.Driver, Aliases: w.Aliases, DNS: n.DNS(), Interface: w.Interface}
	if n.Driver == DriverNone {
		return e, nil
	}
	for _, name := range w.Aliases {
		if !isHostname(name) {
			return e, fmt.Errorf("use %q as an alias: it is no name of a host", name)
		}
	}
	if e.Interface == "" {
		e.Interface = fmt.Sprintf("eth%d", i)
	}
	if err := checkLink(e.Interface); err != nil || e.Interface == "lo" {
		return e, errors.Join(fmt.Errorf("use %q as the name of a link", e.Interface), err)
	}
	if err := n.checkAddress(p.Address); err != nil {
		return e, err
	}
	e.Address = netip.PrefixFrom(p.Address, n.Subnet.Bits())
	if p.Address6.IsValid() {
		if !n.Subnet6.IsValid() || !n.Subnet6.Contains(p.Address6) || p.Address6 == n.Gateway6 || p.Address6 == n.Subnet6.Addr() {
			return e, fmt.Errorf("use address %s: it is no container's address in %s", p.Address6, prefixText(n.Subnet6))
		}
		e.Address6 = netip.PrefixFrom(p.Address6, n.Subnet6.Bits())
	}
	if !n.Internal {
		e.Gateway, e.Gateway6 = n.Gateway, n.Gateway6
	}
	if n.Driver != DriverIPvlan {
		e.MAC = mac(p.Address, false).String()
		if w.MAC != "" {
			hw, err := net.ParseMAC(w.MAC)
			if err != nil || len(hw) != 6 || hw[0]&1 != 0 {
				return e, fmt.Errorf("use %q as a hardware address: want six bytes, such as 02:42:ac:11:00:02, not of a group", w.MAC)
			}
			e.MAC = hw.String()
		}
	}
	if n.Driver == DriverBridge {
		for k := i; ; k++ {
			e.Link = linkName(r.ID, k)
			if !slices.ContainsFunc(r.taken, func(o Endpoint) bool { return o.Link == e.Link }) {
				break
			}
		}
	}
	return e, nil
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return "a network without IPv6"
	}
	return p.String()
}

func (n Network) checkAddress(a netip.Addr) error {
	if !a.Is4() || !n.Subnet.Contains(a) || n.reserved(a) {
		return fmt.Errorf("use address %s: it is no container's address in %s", a, n.Subnet)
	}
	return nil
}

// plug adds the steps for one network.
func (f Facts) plug(a *Attachment, i int, p Place, w Wish) {
	n, e := p.Network.bare(), a.Endpoints[i]
	if n.Driver == DriverNone {
		return
	}
	lease := &Lease{Network: n, Addresses: []netip.Addr{p.Address}, ID: a.ID, Link: e.Link, Again: !w.IP.IsValid() && !w.IP6.IsValid()}
	if p.Address6.IsValid() {
		lease.Addresses = append(lease.Addresses, p.Address6)
	}
	before := []plan.Step{{Action: lease, Why: "no other container gets this address, and the network stays while it is held"}}
	address := &Address{Link: e.Interface, Address: e.Address, Address6: e.Address6, Gateway: e.Gateway, Gateway6: e.Gateway6}
	var link plan.Host = &Vlan{Driver: n.Driver, Mode: n.Mode, Parent: n.Parent, Name: e.Interface, MAC: e.MAC, MTU: n.MTU}
	why := "a station of its own on the wire that the host is on"
	if n.Driver == DriverBridge {
		before = append(before, bridgeSteps(n)...)
		link = &Veth{Name: e.Link, Bridge: n.Bridge, Peer: e.Interface, MAC: mac(p.Address, true).String(), PeerMAC: e.MAC, MTU: n.MTU}
		why = "a cable from the container to the switch"
	}
	a.Before = append(a.Before, before...)
	a.After = append(a.After, plan.Step{Action: link, Why: why},
		plan.Step{Action: address, Why: "the container's own address, and its way out"})
}

// bridgeSteps make what the containers of a network share.
func bridgeSteps(n Network) []plan.Step {
	var steps []plan.Step
	for _, f := range n.forwards() {
		why := "the kernel passes packets between the containers' bridge and the world"
		if f.IPv6 {
			why = "and those of IPv6"
		}
		steps = append(steps, plan.Step{Action: f, Why: why})
	}
	why := "the world doesn't know the way to the subnet: packets leave with the host's address"
	if n.Internal {
		why = "the network is by itself"
	}
	return append(steps,
		plan.Step{Action: &Bridge{Network: n}, Why: "the switch that all containers are plugged into, and their gateway"},
		plan.Step{Action: &Firewall{Network: n}, Why: why})
}

// publish adds the steps for ports.
func (f Facts) publish(r Request, a *Attachment) error {
	if len(f.Ports) == 0 || len(f.Networks) == 0 { // then they wait for one
		return nil
	}
	i := publisher(f.Networks)
	if i < 0 {
		return fmt.Errorf("publish %s: the container is on no network that can be reached from outside", portList(f.Ports))
	}
	e := a.Endpoints[i]
	for _, p := range f.Ports {
		if !p.Host.Is6() {
			continue
		}
		if !f.IPv6 {
			return fmt.Errorf("publish %s: this machine has no IPv6", portList([]Port{p}))
		}
		if _, relayed := p.relay(e); relayed && p.Proto == "sctp" {
			return fmt.Errorf("publish %s: the kernel can't translate it, and SCTP is not carried otherwise; an address of IPv4 would do", portList([]Port{p}))
		}
	}
	chosen := slices.ContainsFunc(r.Ports, func(w PortWish) bool { return !w.fixed() })
	pub := a.publication(e)
	a.Before = append(a.Before, plan.Step{Action: &Reserve{Dir: f.Dir, ID: r.ID, Ports: f.Ports, IPv6: f.IPv6, Address: pub.Address, Address6: pub.Address6, Again: chosen},
		Why: "nobody else on the host gets these ports"})
	a.After = append(a.After, plan.Step{Action: &Publish{Network: f.Networks[i].Network.bare(), Link: e.Link, Publication: a.publication(e)},
		Why: "who asks the host on these ports is sent on to the container"})
	return nil
}

// linkName is the name of the host's end, at most 15 bytes (IFNAMSIZ): the start
// of the ID, by which people know the container, or a digest of an ID that is
// not made of hexadecimal digits; and which of the container's cables it is.
func linkName(id string, i int) string {
	const digits = 10
	if len(id) < digits || !isHex(id[:digits]) {
		h := fnv.New64a()
		h.Write([]byte(id))
		id = fmt.Sprintf("%016x", h.Sum64())
	}
	name := "v" + id[:digits]
	if i > 0 {
		name += fmt.Sprintf("-%d", i)
	}
	return name
}

// ParseWish reads what --network is given: NAME, or NAME:KEY=VALUE,… as with Podman,
// or name=NAME,KEY=VALUE,… as with Docker.
func ParseWish(text string) (w Wish, err error) {
	name, rest, _ := strings.Cut(text, ":")
	if strings.HasPrefix(text, "name=") {
		name, rest = "", text
	}
	w.Network = name
	for _, field := range strings.Split(rest, ",") {
		if rest == "" {
			break
		}
		key, value, _ := strings.Cut(field, "=")
		if err := w.set(key, value); err != nil {
			return w, fmt.Errorf("read --network %q: %w", text, err)
		}
	}
	if w.Network == "default" {
		w.Network = Default
	}
	if err := checkName(w.Network); err != nil {
		return w, fmt.Errorf("read --network %q: %w", text, err)
	}
	return w, nil
}

// Text is the wish as ParseWish reads it.
func (w Wish) Text() string {
	var fields []string
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, key+"="+value)
		}
	}
	for _, a := range [...]struct {
		key string
		netip.Addr
	}{{"ip", w.IP}, {"ip6", w.IP6}} {
		if a.IsValid() {
			add(a.key, a.String())
		}
	}
	add("mac", w.MAC)
	for _, alias := range w.Aliases {
		add("alias", alias)
	}
	add("interface_name", w.Interface)
	if len(fields) == 0 {
		return w.Network
	}
	return w.Network + ":" + strings.Join(fields, ",")
}

// Address sets the address of a family, by the word for it, ip or ip6, if the text has one.
func (w *Wish) Address(family, text string) error {
	if text == "" {
		return nil
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || a.Zone() != "" || a.Is4() != (family == "ip"):
		return fmt.Errorf("use %q as %s: not such an address", text, family)
	case a.Is4():
		w.IP = a
	default:
		w.IP6 = a
	}
	return nil
}

func (w *Wish) set(key, value string) (err error) {
	switch key {
	case "name":
		w.Network = value
	case "ip", "ip6":
		return w.Address(key, value)
	case "mac", "mac-address":
		w.MAC = value
	case "alias":
		w.Aliases = append(w.Aliases, value)
	case "interface_name", "interface-name":
		w.Interface = value
	default:
		return fmt.Errorf("%q: there are ip, ip6, mac, alias, interface_name", key)
	}
	return nil
}
