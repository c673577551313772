// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/network/topology"
	"vitro/plan"
)

// A Report is what a person is told.
type Report struct {
	Lines   []Line
	Reached bool
}

// A Line is something that was found.
type Line struct {
	Place string // the namespace; "" goes on with the one before
	Stop  bool   // the packet comes no further
	Text  string
	Show  string // the command that shows it
	Try   string // what may help
}

// String prints the report.
func (r Report) String() string {
	var b strings.Builder
	for _, l := range r.Lines {
		if l.Place != "" {
			fmt.Fprintf(&b, "%s\n", l.Place)
		}
		mark := "  "
		if l.Stop {
			mark = "✗ "
		}
		fmt.Fprintf(&b, "  %s%s\n", mark, l.Text)
		for _, more := range [...]struct{ word, text string }{{"look", l.Show}, {"try", l.Try}} {
			if more.text != "" {
				fmt.Fprintf(&b, "      %s: %s\n", more.word, more.text)
			}
		}
	}
	return b.String()
}

// Explain decides what to say. It is pure.
func Explain(res *Result) Report {
	x := &explainer{res: res}
	for i := range res.Places {
		x.i, x.p, x.heading = i, &res.Places[i], res.Places[i].Name
		if x.place(); x.stopped {
			break
		}
	}
	x.heading = ""
	x.end()
	return Report{x.lines, !x.stopped}
}

type explainer struct {
	res     *Result
	i       int
	p       *Place
	heading string
	lines   []Line
	stopped bool
}

func (x *explainer) add(l Line) {
	l.Place, x.heading = x.heading, ""
	l.Text = topology.Clean(l.Text)
	if l.Show != "" && x.p != nil {
		if x.p.Command != "" && strings.ContainsAny(l.Show, ";|") {
			l.Show = "sh -c " + plan.Quote(l.Show)
		}
		l.Show = topology.Clean(x.p.Command + l.Show)
	}
	x.lines = append(x.lines, l)
}

func (x *explainer) say(show, format string, args ...any) {
	x.add(Line{Text: fmt.Sprintf(format, args...), Show: show})
}

// stop says why it comes no further. If it did, as the answer shows, there is nothing to say.
func (x *explainer) stop(show, try, format string, args ...any) {
	if x.connected() {
		return
	}
	if x.p != nil && isCommand(try) {
		try = x.p.Command + try
	}
	x.add(Line{Text: fmt.Sprintf(format, args...), Show: show, Try: topology.Clean(try), Stop: true})
	x.stopped = true
}

// isCommand tells a command from words.
func isCommand(try string) bool {
	for _, name := range [...]string{"nft ", "ip ", "sysctl "} {
		if strings.HasPrefix(try, name) {
			return true
		}
	}
	return false
}

// connected reports whether the other side has answered, and not by a refusal.
func (x *explainer) connected() bool { return x.res.Outcome == 0 }

// seen reports whether the packet passed one of our chains.
func (p *Place) seen(hook string, late bool) bool {
	return slices.ContainsFunc(p.There, func(e Event) bool { return e.Hook == hook && e.Late == late })
}

// place goes through a namespace, in the order in which the kernel does.
func (x *explainer) place() {
	p := x.p
	for _, step := range [...]func(){x.closed, x.arrival, x.routed, x.drops, x.decision, x.filtered, x.rewritten, x.delivery, x.leaving} {
		if step(); x.stopped || p.Closed != "" {
			return
		}
	}
}

func (x *explainer) closed() {
	switch {
	case x.p.Closed != "":
		x.say("", "couldn't look inside: %s", x.p.Closed)
	case !x.p.Tables:
		x.say("", "what the firewall does here can't be seen: that takes root's rights (CAP_NET_ADMIN)")
	}
}

// arrival is about the cable from the place before.
func (x *explainer) arrival() {
	if x.i == 0 {
		return
	}
	if len(x.p.There) > 0 || !x.p.Tables {
		if x.p.From != "" {
			x.say("", "it comes in by %s", x.p.From)
		}
		return
	}
	before := &x.res.Places[x.i-1]
	p := x.p
	x.p = before // most commands are for there
	x.heading = ""
	defer func() { x.p = p }()
	hop := before.hop()
	switch {
	case before.Route.LinkDown || before.Route.NoCarrier:
		return // said there
	case before.Route.Neighbour == "failed" || before.Route.Neighbour == "incomplete":
		x.stop("ip neigh show "+hop.String(), "", "nobody answers to the question who has %s on %s: no such address there, or its link is off", hop, before.Route.Link)
	case before.Route.NextOff != "":
		x.p = p
		x.stop("ip link show "+before.Route.NextOff, "ip link set "+before.Route.NextOff+" up", "link %s of %s is off", before.Route.NextOff, p.Name)
	case p.Tables && before.Tables && before.passed():
		x.stop("bridge link; bridge vlan; nft list ruleset bridge", "", "it left by %s, but didn't arrive in %s: a bridge between them, or a filter of its, keeps it", before.Route.Link, p.Name)
	}
}

// passed reports whether the packet went through the last of our chains on its way out.
func (p *Place) passed() bool { return p.seen("postrouting", true) }

// routed says the way out of the namespace that the packet begins in.
func (x *explainer) routed() {
	p, to := x.p, x.p.To.Addr()
	show := "ip route get " + to.String()
	switch {
	case p.Route.Err == unix.EACCES:
		x.stop(show+"; ip route show table all | grep prohibit", "", "a route forbids %s", to)
	case p.Route.Err == unix.EINVAL:
		x.stop(show+"; ip route show table all | grep blackhole", "", "a route throws away what is for %s", to)
	case p.Route.Err != 0:
		x.stop(show, "ip route add "+to.String()+" via GATEWAY", "there is no route to %s: %v", to, p.Route.Err)
	case p.Route.Local:
		x.say(show, "%s is an address of this namespace", to)
	case p.Route.Via.IsValid():
		x.say(show, "the route to %s is by %s, to %s", to, p.Route.Link, p.Route.Via)
	default:
		x.say(show, "the route to %s is by %s, directly", to, p.Route.Link)
	}
}

// drops are the rules of nftables that end it.
func (x *explainer) drops() {
	for _, e := range x.p.There {
		if e.Drop {
			x.drop(&e, "it")
			return // of a second try the same would be said
		}
	}
}

func (x *explainer) drop(e *Event, what string) {
	show := "nft -a list chain " + e.Chain
	if e.Policy {
		x.stop(show, "a rule that accepts it", "the policy of chain %s is to drop, and no rule of its accepts %s", e.Chain, what)
		return
	}
	rule := e.Rule
	if rule == "" {
		rule = "which is new, or gone"
	}
	x.stop(show, fmt.Sprintf("nft delete rule %s handle %d; or a rule before it that accepts", e.Chain, e.Handle), "chain %s ends %s by rule %d: %s", e.Chain, what, e.Handle, rule)
}

// decision is where the kernel decides whether the packet is for itself, or goes on.
func (x *explainer) decision() {
	p := x.p
	arrived := p.seen("prerouting", true)
	if !p.Tables || !arrived || p.seen("input", false) || p.seen("forward", false) {
		return
	}
	six := p.To.Addr().Is6()
	switch {
	case !p.Route.Local && !p.Forward:
		name := "net.ipv4.ip_forward"
		if six {
			name = "net.ipv6.conf.all.forwarding"
		}
		x.stop("sysctl "+name, "sysctl -w "+name+"=1", "it is for another machine, and this namespace passes nothing on: forwarding is off")
	case p.Filter > 0 && (p.Reverse.Err != 0 || p.Filter == 1 && p.Reverse.Link != p.From):
		back := "there is no way back to"
		if p.Reverse.Err == 0 {
			back = "by " + p.Reverse.Link + " is the way back to"
		}
		src := p.There[0].Source.Addr()
		x.stop(fmt.Sprintf("ip route get %s; sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.%s.rp_filter", src, p.From), "a route to "+src.String()+" by "+p.From+", or rp_filter=2",
			"rp_filter throws it away: it came in by %s, but %s %s", p.From, back, src)
	case p.To.Addr().IsLoopback():
		x.stop("sysctl net.ipv4.conf.all.route_localnet", "", "it is for %s, and comes from outside: the kernel lets no such packet in", p.To.Addr())
	default:
		x.stop("nstat -az | grep -E 'IpExt?In|Martian'", "sysctl -w net.ipv4.conf.all.log_martians=1", "the kernel's routing throws it away: an address that can't be, coming in by %s", p.From)
	}
}

// filtered is a packet that went in at a hook, and didn't come out.
func (x *explainer) filtered() {
	p := x.p
	if !p.Tables {
		return
	}
	for _, hook := range [...]string{"prerouting", "output", "forward", "input", "postrouting"} {
		if !p.seen(hook, false) || p.seen(hook, true) {
			continue
		}
		if len(p.Dropped) > 0 {
			x.stop("", "", "iptables ends it at %s: %s", hook, strings.Join(p.Dropped, "; "))
			return
		}
		x.stop("nft list hooks", "", "something ends it at %s that shows nothing to us: a BPF program, a queue, or a filter of another kind", hook)
		return
	}
	if x.i == 0 && !x.res.Sent && x.res.Outcome == unix.EPERM {
		x.stop("nft list ruleset", "", "a filter at output forbids it: %v", x.res.Outcome)
	}
}

// rewritten are addresses that rules have changed.
func (x *explainer) rewritten() {
	p := x.p
	if len(p.There) == 0 {
		return
	}
	first, last := p.There[0], p.There[len(p.There)-1]
	show := "nft list ruleset"
	for _, e := range p.There {
		if e.Rewrites {
			show = "nft -a list chain " + e.Chain
		}
	}
	if first.Destination != last.Destination {
		x.say(show, "a rule sends it on: %s becomes %s", first.Destination, last.Destination)
	}
	if first.Source != last.Source {
		x.say("", "its source %s becomes %s", first.Source, last.Source)
	}
}

// delivery is about the program at the end.
func (x *explainer) delivery() {
	p := x.p
	if !p.Route.Local || p.Tables && !p.seen("input", true) && len(p.There) > 0 && !p.loops() {
		return
	}
	port := p.To.Port()
	show := fmt.Sprintf("ss -Hln --%s --processes 'sport = :%d'", x.res.Request.Protocol(), port)
	var others []string
	for _, s := range p.Sockets {
		if s.Address.IsUnspecified() || s.Address == p.To.Addr() {
			x.say(show, "%s waits on %s", s.who(), netip.AddrPortFrom(s.Address, port))
			return
		}
		others = append(others, fmt.Sprintf("%s on %s", s.who(), s.Address))
	}
	switch {
	case len(others) > 0:
		x.stop(show, "have it listen on 0.0.0.0, or on "+p.To.Addr().String(), "nobody waits for %s/%s on %s, but %s", fmt.Sprint(port), x.res.Request.Protocol(), p.To.Addr(), strings.Join(others, ", "))
	default:
		x.stop(show, "start the program that is meant to listen there", "it arrives, but nobody waits for port %d/%s here", port, x.res.Request.Protocol())
	}
}

// loops reports whether the packet stays in its namespace.
func (p *Place) loops() bool { return p.seen("output", false) }

func (s Socket) who() string {
	if s.PID == 0 {
		return "a program"
	}
	return fmt.Sprintf("%s[%d]", s.Command, s.PID)
}

// leaving is about the way to the next place.
func (x *explainer) leaving() {
	p := x.p
	if p.Route.Local {
		return
	}
	switch {
	case p.Route.LinkDown:
		x.stop("ip link show "+p.Route.Link, "ip link set "+p.Route.Link+" up", "link %s is off", p.Route.Link)
	case p.Route.NoCarrier:
		x.stop("ip link show "+p.Route.Link, "switch the other end on", "link %s has no carrier: its other end is off, or nothing is plugged in", p.Route.Link)
	case p.Route.Next == "" && (p.Route.Neighbour == "failed" || p.Route.Neighbour == "incomplete"):
		x.stop("ip neigh show "+p.hop().String(), "", "nobody answers to the question who has %s on %s", p.hop(), p.Route.Link)
	case p.Route.Next == "":
		x.say("", "it leaves this machine by %s", p.Route.Link)
	}
}

// end is about the answer.
func (x *explainer) end() {
	if x.stopped {
		return
	}
	for i := range x.res.Places { // the answer's way
		x.p = &x.res.Places[i]
		for _, e := range x.p.Back {
			if e.Drop && !x.stopped {
				x.drop(&e, "the answer")
			}
		}
	}
	x.p = nil
	switch udp := x.res.Request.UDP; {
	case x.stopped:
	case x.res.Outcome == 0 && udp:
		x.say("", "an answer came back")
	case x.res.Outcome == 0:
		x.say("", "connected")
	case x.res.Outcome == unix.ECONNREFUSED:
		x.stop("", "", "the other side refuses: nobody waits there, or a filter says so")
	case x.res.Outcome == unix.ETIMEDOUT && udp && x.waited():
		x.say("", "it arrives; no answer came back, which an empty datagram needn't get")
	case x.res.Outcome == unix.ETIMEDOUT && udp:
		x.stop("", "", "no answer came back: it is lost on its way, or got none")
	case x.res.Outcome == unix.ETIMEDOUT:
		x.stop("", "", "no answer came back from outside of what can be seen here")
	default:
		x.stop("", "", "the kernel says: %v", x.res.Outcome)
	}
}

// waited reports whether the last place has a program that waits for the packet.
func (x *explainer) waited() bool {
	n := len(x.res.Places)
	return n > 0 && x.res.Places[n-1].Route.Local && len(x.res.Places[n-1].Sockets) > 0
}
