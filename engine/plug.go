// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vitro/host"
	"vitro/network"
	"vitro/plan"
	"vitro/spec"
)

// networkDefault is the bridge for root; an ordinary user's container has a
// network namespace with nothing in it but the loopback.
func (e *Engine) networkDefault(f *Flags, p *Prepared, try int) error {
	switch {
	case e.inside || e.root && !inUserNS():
		return nil
	case try == onlyLook && f.bridged():
		f.Network, f.Networks, f.Publish, f.PublishAll, f.Link, f.NetworkAlias, f.IP, f.IP6, f.MAC = "none", nil, nil, false, nil, nil, "", "", ""
		return nil
	}
	switch {
	case f.Network == "":
		f.Network = "none"
		why := e.alone
		if why == "" {
			why = "vitro run has the container made in the namespace that vitro-net holds, on the user's bridge; this here stays outside"
		}
		p.Notes = append(p.Notes, "network: loopback only: "+why+" (--network=host shares the host's network)")
		if len(f.Publish) > 0 || f.PublishAll {
			return hint(errors.New("read --publish: a container of an ordinary user is on no network yet"), "--network=host shares the host's network, and its ports")
		}
	case f.bridged():
		return hint(fmt.Errorf("run container with --network=%s: a bridge takes root", f.Network), "--network=host shares the host's network, --network=none is loopback only")
	}
	return nil
}

// bridged reports whether the container is on networks of ours: the default
// one, or those that are named.
func (f *Flags) bridged() bool {
	switch kind, _, _ := strings.Cut(f.Network, ":"); kind {
	case "host", "none", "private", "container", "ns":
		return false
	}
	return true
}

// wires are the networks that the flags name, each with what is wished on it; none
// of --network=none, which can still be connected.
func (f *Flags) wires() ([]network.Wish, error) {
	switch {
	case f.Network == "none":
		return nil, nil
	case !f.bridged():
		return nil, hint(fmt.Errorf("change the networks of a container of --network=%s: it has none of its own", f.Network), "make it anew, with --network NAME")
	}
	return (&draft{Flags: f}).networkWishes()
}

// rewire has the flags name other networks. What other flags wish on them goes
// into the networks' own texts.
func (f *Flags) rewire(list []network.Wish) {
	unnamed := f.Network == ""
	f.Network, f.Networks, f.Unplugged = "", nil, len(list) == 0
	f.IP, f.IP6, f.MAC, f.NetworkAlias = "", "", "", nil
	for i, w := range list {
		if text := w.Text(); i > 0 {
			f.Networks = append(f.Networks, text)
		} else if !unnamed || text != network.Default { // without which an ordinary user may be
			f.Network = text
		}
	}
}

// onlyOnNetworks are the flags that say nothing where the network is not ours to make.
func (f *Flags) onlyOnNetworks() error {
	for _, n := range []struct {
		name string
		set  bool
	}{
		{"publish", len(f.Publish) > 0}, {"publish-all", f.PublishAll}, {"ip", f.IP != ""}, {"ip6", f.IP6 != ""}, {"mac-address", f.MAC != ""},
		{"network-alias", len(f.NetworkAlias) > 0}, {"link", len(f.Link) > 0}, {"network", len(f.Networks) > 0},
	} {
		if n.set {
			text := "leave one of the two away"
			if other, ok := joined(f.Network); ok && strings.HasPrefix(n.name, "publish") {
				text = "ports are published where the network is made: for " + other
			}
			return hint(fmt.Errorf("read --%s: with --network=%s the container has no network of its own", n.name, f.Network), "%s", text)
		}
	}
	return nil
}

// networkWishes are the networks that the flags name.
func (d *draft) networkWishes() ([]network.Wish, error) {
	if d.Unplugged {
		return nil, nil
	}
	first := d.Network
	if first == "" {
		first = network.Default
	}
	var list []network.Wish
	for _, text := range append([]string{first}, d.Networks...) {
		w, err := network.ParseWish(text)
		if err != nil {
			return nil, err
		}
		if other := (&Flags{Network: w.Network}); !other.bridged() {
			return nil, fmt.Errorf("read --network %s: it can't be had together with networks", text)
		}
		w.Aliases = append(w.Aliases, d.NetworkAlias...)
		if len(w.Aliases) > 0 && w.Network == network.Default {
			return nil, hint(errors.New("read --network-alias: on the default network nobody looks names up"), "vitro network create NAME, and --network NAME")
		}
		list = append(list, w)
	}
	w := &list[0]
	if err := errors.Join(w.Address("ip", d.IP), w.Address("ip6", d.IP6)); err != nil {
		return nil, err
	}
	if d.MAC != "" {
		w.MAC = d.MAC
	}
	return list, nil
}

// ports are what the container exposes, and what is published of it.
func (d *draft) ports() (list []network.PortWish, exposed []string, err error) {
	exposed, err = network.ParseExposed(slices.Concat(slices.Sorted(maps.Keys(d.image.ExposedPorts)), d.Expose))
	if err != nil {
		return nil, nil, err
	}
	for _, text := range d.Publish {
		ports, err := network.ParsePorts(text)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, ports...)
	}
	if !d.PublishAll {
		return list, exposed, nil
	}
	for _, e := range exposed {
		ports, err := network.ParsePorts(e)
		if err != nil {
			return nil, nil, err
		}
		if !slices.ContainsFunc(list, func(w network.PortWish) bool { return w.Container == ports[0].Container && w.Proto == ports[0].Proto }) {
			list = append(list, ports...)
		}
	}
	return list, exposed, nil
}

// plug joins the container to its networks, and makes the files that go with it.
func (d *draft) plug(r *spec.Request, p *Prepared) error {
	var at network.Attachment
	if !d.bridged() {
		if err := d.onlyOnNetworks(); err != nil {
			return err
		}
	} else if err := d.attach(&at); err != nil {
		return err
	}
	p.Warnings, p.asks = at.Warnings, at.DNS()
	files, err := d.files(&at)
	if err != nil {
		return err
	}
	if at.ID != "" {
		record, err := at.Record(d.dir)
		if err != nil {
			return err
		}
		files = append(files, record...)
	}
	r.Before = slices.Concat(r.Before, at.Before, files)
	r.After = append(r.After, at.After...)
	return nil
}

func (d *draft) attach(at *network.Attachment) error {
	request := network.Request{StateDir: d.e.Dir, Folder: d.dir, ID: d.id, Name: d.Name, Again: d.try > 0, Look: d.try == onlyLook}
	var err error
	if request.Wishes, err = d.networkWishes(); err != nil {
		return err
	}
	if request.Ports, request.Exposed, err = d.ports(); err != nil {
		return err
	}
	facts, err := network.Read(request)
	if err != nil {
		return err
	}
	*at, err = facts.Plan(request)
	return err
}

// files are the steps for the three files of /etc that go with the network.
func (d *draft) files(at *network.Attachment) ([]plan.Step, error) {
	name := d.spec.Hostname
	if name == "" {
		name = hostHostname()
	}
	links, err := d.links()
	if err != nil {
		return nil, err
	}
	hosts, err := network.Hosts(name, at.Address(), at.Gateway(), append(links, d.AddHost...))
	if err != nil {
		return nil, err
	}
	read := func(file string) []byte { b, _ := os.ReadFile(file); return b }
	resolver := network.Resolver{
		Host: read("/etc/resolv.conf"), Uplink: read("/run/systemd/resolve/resolv.conf"),
		Servers: d.DNS, Search: d.DNSSearch, Options: d.DNSOption, Own: d.Network != "host",
	}
	if d.e.inside && d.bridged() {
		resolver.Host, resolver.Uplink = insideResolv(resolver.Host), nil
	}
	resolv, err := resolver.File()
	if err != nil {
		return nil, err
	}
	if at.DNS() {
		up, own := resolver.Upstream(), []byte(nil)
		if own, err = resolver.Forwarded(); err != nil {
			return nil, err
		}
		at.Upstream, resolv = &up, own
	}
	var files plan.Plan
	for _, f := range []struct{ name, content, why string }{
		{"hosts", string(hosts), "the container finds itself by its name"},
		{"hostname", name + "\n", "the name that the container goes by"},
		{"resolv.conf", string(resolv), "the name servers that the container can reach"},
	} {
		if content, ok := d.sharedFile(f.name); ok {
			f.content = content
		}
		files.Add(f.why, &host.File{Path: filepath.Join(d.dir, f.name), Content: f.content})
	}
	return files.Steps, nil
}

// links are the lines of /etc/hosts for --link NAME[:ALIAS].
func (d *draft) links() ([]string, error) {
	var lines []string
	for _, text := range d.Link {
		name, alias, ok := strings.Cut(text, ":")
		if !ok {
			alias = name
		}
		id, _, err := d.e.running(name)
		if err != nil {
			return nil, fmt.Errorf("read --link %s: %w", text, err)
		}
		other, err := network.ReadAttachments(filepath.Join(d.e.Containers.Root, id))
		if err != nil {
			return nil, fmt.Errorf("read --link %s: %w", text, err)
		}
		addr := other.Address()
		if !addr.IsValid() {
			return nil, fmt.Errorf("read --link %s: container %q has no address", text, name)
		}
		for _, n := range slices.Compact([]string{alias, name, id[:12]}) {
			lines = append(lines, n+"="+addr.String())
		}
	}
	return lines, nil
}
