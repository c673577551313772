// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// A Link is what a plan depends on of a network device.
type Link struct {
	Address string `json:"address"`        // of its hardware, in hexadecimal
	Kind    string `json:"kind,omitempty"` // of a virtual device: "veth"
}

// FindLink looks a network device up by its name; nil if there is none.
func FindLink(name string) (*Link, error) {
	r, err := dialRoute()
	if err != nil {
		return nil, err
	}
	defer r.close()
	l, err := r.link(name)
	if err != nil || l == nil {
		return nil, err
	}
	return &Link{Address: l.address, Kind: l.kind}, nil
}

// NetDevice moves a network device into the child's network namespace, under
// another name if it is to have one, with its permanent global addresses, and
// sets it up (runtime-spec, config-linux.md, "Network Devices").
type NetDevice struct {
	Name string `json:"name"`
	To   string `json:"to"` // its name there; "eth%d" has the kernel choose a number
	Link Link   `json:"link"`
	// Joined: the namespace is somebody else's, and outlives the container.
	Joined bool `json:"joined,omitempty"`
}

func (a *NetDevice) Verb() string { return "net-device" }
func (a *NetDevice) Line() string {
	return fmt.Sprintf("ip link set %s netns $PID name %s", a.Name, a.To)
}

func (a *NetDevice) Shell(s *plan.Script) {
	name, to := plan.Quote(a.Name), plan.Quote(a.To)
	s.Run(`addresses=$(ip -o addr show dev %s scope global permanent | awk '{ print $4 }')`, name)
	s.Run(`ip link set %s netns "$PID" name %s`, name, to)
	s.Run(`for a in $addresses; do nsenter -t "$PID" -n ip addr add "$a" dev %s; done`, to)
	s.Run(`nsenter -t "$PID" -n ip link set %s up`, to)
}

// Undo gives a physical device its name back: when the namespace ends, the
// kernel returns it under the name that it had there. A virtual device ends with
// the namespace. One in somebody else's namespace stays: the specification
// forbids to fetch it.
func (a *NetDevice) Undo() plan.Host {
	if a.Joined || a.Link.Kind != "" || a.To == a.Name || strings.Contains(a.To, "%") {
		return nil
	}
	return &NameBack{Name: a.Name, From: a.To, Address: a.Link.Address}
}

func (a *NetDevice) Do(e *plan.Env) error {
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := os.Open("/proc/" + strconv.Itoa(e.Pid) + "/ns/net")
	if err != nil {
		return err
	}
	defer there.Close()
	m := mover{hereNS: here, thereNS: there}
	if m.here, err = dialRoute(); err != nil {
		return err
	}
	defer m.here.close()
	if m.there, err = dialRouteIn(there); err != nil {
		return err
	}
	defer m.there.close()
	return m.move(a.Name, a.To)
}

// mover has a socket in each of two network namespaces.
type mover struct {
	here, there     *rtnl
	hereNS, thereNS *os.File
}

var errNoLink = errors.New("there is no network device of this name")

func (m *mover) move(name, to string) error {
	l, err := m.here.link(name)
	if err != nil {
		return err
	}
	if l == nil {
		return errNoLink
	}
	addresses, err := m.here.addresses(l.index)
	if err != nil {
		return fmt.Errorf("read its addresses: %w", err)
	}
	before, err := m.there.links()
	if err != nil {
		return err
	}
	for i := range before {
		if before[i].name == to {
			return fmt.Errorf("the container's network namespace has a device %q already", to)
		}
	}
	_, err = m.here.call(unix.RTM_NEWLINK, unix.NLM_F_ACK, ifinfo(l.index, 0, 0),
		attr32(unix.IFLA_NET_NS_FD, uint32(m.thereNS.Fd())), attrString(unix.IFLA_IFNAME, to))
	if err == nil {
		err = m.arrive(before, to, addresses)
	}
	if err != nil {
		m.back(before, l, addresses)
	}
	return err
}

// arrived is the device that has come to the other namespace.
func (m *mover) arrived(before []link) (*link, error) {
	after, err := m.there.links()
	if err != nil {
		return nil, err
	}
next:
	for i := range after {
		for k := range before {
			if before[k].index == after[i].index {
				continue next
			}
		}
		return &after[i], nil
	}
	return nil, errors.New("it did not arrive")
}

func (m *mover) arrive(before []link, to string, addresses [][]byte) error {
	l, err := m.arrived(before)
	if err != nil {
		return err
	}
	if prefix, _, template := strings.Cut(to, "%d"); !strings.HasPrefix(l.name, prefix) || !template && l.name != to {
		return fmt.Errorf("it arrived as %q", l.name)
	}
	return setUp(m.there, l.index, addresses)
}

// setUp gives a device its addresses, and sets it up.
func setUp(r *rtnl, index int32, addresses [][]byte) error {
	for _, a := range addresses {
		request := append([]byte(nil), a...)
		copy(request[4:8], ifinfo(index, 0, 0)[4:8]) // the index is at the same place
		if _, err := r.call(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, request); err != nil {
			return fmt.Errorf("restore its addresses: %w", err)
		}
	}
	if _, err := r.call(unix.RTM_NEWLINK, unix.NLM_F_ACK, ifinfo(index, unix.IFF_UP, unix.IFF_UP)); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	return nil
}

// back returns a device that has come only half the way.
func (m *mover) back(before []link, l *link, addresses [][]byte) {
	at, err := m.arrived(before)
	if err != nil {
		return
	}
	if _, err := m.there.call(unix.RTM_NEWLINK, unix.NLM_F_ACK, ifinfo(at.index, 0, 0),
		attr32(unix.IFLA_NET_NS_FD, uint32(m.hereNS.Fd())), attrString(unix.IFLA_IFNAME, l.name)); err != nil {
		return
	}
	if now, err := m.here.link(l.name); err == nil && now != nil && l.flags&unix.IFF_UP != 0 {
		_ = setUp(m.here, now.index, addresses)
	}
}

// NameBack gives a device that the kernel has returned from an ended network
// namespace the name that it had before. The kernel takes a moment for it: Do
// waits for a second. A device that doesn't come is no error: it may have been
// unplugged, or be there under its name.
type NameBack struct {
	Name    string `json:"name"`
	From    string `json:"from"`
	Address string `json:"address"`
}

func (a *NameBack) Verb() string { return "name-back" }
func (a *NameBack) Line() string { return fmt.Sprintf("ip link set %s name %s", a.From, a.Name) }
func (a *NameBack) Shell(s *plan.Script) {
	s.Run("ip link set %s name %s", plan.Quote(a.From), plan.Quote(a.Name))
}
func (a *NameBack) Undo() plan.Host { return nil }

func (a *NameBack) Do(*plan.Env) error {
	r, err := dialRoute()
	if err != nil {
		return err
	}
	defer r.close()
	deadline := time.Now().Add(time.Second)
	for pause := time.Millisecond; ; pause *= 2 {
		if l, err := r.link(a.Name); err != nil || l != nil {
			return err
		}
		l, err := r.link(a.From)
		if err != nil {
			return err
		}
		if l != nil && l.address == a.Address { // and no other device of the host's
			_, err = r.call(unix.RTM_NEWLINK, unix.NLM_F_ACK, ifinfo(l.index, 0, 0), attrString(unix.IFLA_IFNAME, a.Name))
			return err
		}
		if time.Now().After(deadline) {
			return nil
		}
		time.Sleep(pause)
	}
}
