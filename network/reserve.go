// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/outside"
	"vitro/network/relay"
	"vitro/network/usernet"
	"vitro/plan"
)

// Reserve takes ports of the host, by binding a socket to each: so the kernel
// says whether one is taken, by whomever, and keeps others from taking it. No packet gets to
// most of these sockets, and nobody listens on them; to the others, see package relay.
//
// They stay open as long as this process lives, and whatever program it executes
// next: the one that looks after the container. A crash gives them back.
type Reserve struct {
	Dir   string `json:"dir"` // the folder of all networks, to find a port's owner
	ID    string `json:"id"`  // the container's
	Ports []Port `json:"ports"`
	IPv6  bool   `json:"ipv6,omitempty"` // the host has it
	// Address and Address6 are the container's: for who passes on what comes in, where rules can't.
	Address  netip.Addr `json:"address,omitzero"`
	Address6 netip.Addr `json:"address6,omitzero"`
	// Again: the ports were chosen among others. If one is taken now, choose anew.
	Again bool `json:"again,omitempty"`
}

func (a *Reserve) Verb() string    { return "reserve" }
func (a *Reserve) Undo() plan.Host { return &Unreserve{Dir: a.Dir, ID: a.ID, Ports: a.Ports} }
func (a *Reserve) Line() string    { return "reserve " + portList(a.Ports) }

// Shell has no socket to hold: it looks whether somebody listens.
func (a *Reserve) Shell(s *plan.Script) {
	for _, p := range a.Ports {
		at := ""
		if p.Host.IsValid() && !p.Host.IsUnspecified() {
			at = " and src " + p.Host.String()
		}
		flag := map[string]string{"tcp": "-tl", "udp": "-u", "sctp": "-Sl"}[p.Proto]
		s.Run(`[ -z "$(ss -Hna %s "sport = %d%s")" ] || { echo 'port %d/%s is taken' >&2; exit 1; }`, flag, p.HostPort, at, p.HostPort, p.Proto)
	}
}

func (a *Reserve) Do(*plan.Env) error {
	if outside.Inside() {
		_, err := ask(a.Dir, usernet.Reserve, a.ID, Taking{Ports: a.Ports, IPv6: a.IPv6, Address: a.Address, Address6: a.Address6})
		if a.Again && errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("%w: %w", err, ErrTaken)
		}
		return err
	}
	var held sockets
	for _, p := range a.Ports {
		if _, err := held.bind(p, a.IPv6, false); err != nil {
			held.close()
			var taken *PortError
			if errors.As(err, &taken) && errors.Is(err, unix.EADDRINUSE) {
				if a.Again {
					return fmt.Errorf("port %d/%s: %w", p.HostPort, p.Proto, ErrTaken)
				}
				taken.Owner = owner(a.Dir, p)
			}
			return err
		}
	}
	for _, fd := range held {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			held.close()
			return err
		}
	}
	return nil
}

// Hold takes the container's ports again, for a process that takes over from one that was
// killed. The rules are there already: a port that somebody has taken since leads
// to the container all the same.
func (a Attachments) Hold() error {
	if outside.Inside() {
		return nil // vitro-net has them
	}
	var errs []error
	for _, p := range a.Ports {
		errs = append(errs, (&Reserve{Ports: []Port{p}, IPv6: a.IPv6}).Do(nil))
	}
	return errors.Join(errs...)
}

// Unreserve closes the sockets of a Reserve, if this process has them.
type Unreserve struct {
	Dir   string `json:"dir,omitempty"`
	ID    string `json:"id,omitempty"`
	Ports []Port `json:"ports"`
}

func (a *Unreserve) Verb() string         { return "unreserve" }
func (a *Unreserve) Undo() plan.Host      { return nil }
func (a *Unreserve) Line() string         { return "let go of " + portList(a.Ports) }
func (a *Unreserve) Shell(s *plan.Script) {}

// Do knows the sockets by what they are bound to: nobody else in this process
// can have one that is bound to the same.
func (a *Unreserve) Do(*plan.Env) error {
	if outside.Inside() && a.ID != "" {
		if _, err := ask(a.Dir, usernet.Release, a.ID, Taking{}); err != nil && !errors.Is(err, usernet.ErrGone) {
			return err
		}
		return nil
	}
	sockets, err := relay.Sockets()
	if err != nil {
		return err
	}
	for _, s := range sockets {
		if a.has(bound(s)) {
			unix.Close(s.FD)
		}
	}
	return nil
}

func (a *Unreserve) has(p Port) bool {
	for _, o := range a.Ports {
		if o.HostPort == p.HostPort && o.Proto == p.Proto && (o.Host == p.Host || !o.Host.IsValid() && p.Host.IsUnspecified()) {
			return true
		}
	}
	return false
}

// bound is the port that a socket holds.
func bound(s relay.Socket) Port {
	host, _ := netip.AddrFromSlice([]byte(s.At.IP))
	p := Port{Host: host, HostPort: s.At.Port}
	for _, known := range protocols {
		if int(known.number) == s.Proto {
			p.Proto = known.name
		}
	}
	return p
}

// sockets are bound, and have no peer.
type sockets []int

func (s *sockets) close() {
	for _, fd := range *s {
		unix.Close(fd)
	}
	*s = nil
}

// bind takes a port for IPv4, IPv6 or both, and returns its number: port 0 is
// one that the kernel chooses. The error is a [PortError]. Who is going to listen
// is to have a socket; else a port goes without one where only root may bind it.
func (s *sockets) bind(p Port, ipv6, listen bool) (uint16, error) {
	hosts := []netip.Addr{p.Host}
	if !p.Host.IsValid() {
		hosts = []netip.Addr{netip.IPv4Unspecified()}
		if ipv6 {
			hosts = append(hosts, netip.IPv6Unspecified())
		}
	}
	var own sockets
	for _, host := range hosts {
		fd, err := bindTo(host, p, listen)
		if errors.Is(err, unix.EACCES) && !listen {
			err = nil // the table of rules takes that right, too
		}
		if fd >= 0 {
			own = append(own, fd)
		}
		if err == nil && p.HostPort == 0 {
			got, _ := relay.Bound(fd)
			p.HostPort = got.At.Port
		}
		if err != nil {
			own.close()
			return 0, &PortError{Port: p, Err: err}
		}
	}
	*s = append(*s, own...)
	return p.HostPort, nil
}

// bindTo returns -1 without an error where there is nothing to ask: the kernel has no such
// sockets, so nobody has one.
//
// Who listens may have connections left on the port from before, that are about to
// go. The kernel lets a second socket bind then, and only one listen.
func bindTo(host netip.Addr, p Port, listen bool) (int, error) {
	number, _ := protocol(p.Proto)
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	if host.Is6() {
		domain = unix.AF_INET6
	}
	if p.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, int(number))
	if err != nil {
		if p.HostPort != 0 && (errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT)) {
			return -1, nil
		}
		return -1, err
	}
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(p.HostPort), Addr: as4(host)}
	if host.Is6() {
		to = &unix.SockaddrInet6{Port: int(p.HostPort), Addr: host.As16()}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	// Connections that package relay has closed don't keep the port; but nobody gets it beside us.
	past := (host.Is6() || listen) && kind == unix.SOCK_STREAM
	if err == nil && past {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, to)
	}
	if err == nil && past && !listen {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}
	if err == nil && listen && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func as4(a netip.Addr) (b [4]byte) {
	if a.Is4() {
		b = a.As4()
	}
	return b
}

// portList names ports for people.
func portList(ports []Port) string {
	var texts []string
	for _, p := range ports {
		text := fmt.Sprintf("%d/%s", p.HostPort, p.Proto)
		if p.Host.IsValid() {
			text = p.Host.String() + " " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
