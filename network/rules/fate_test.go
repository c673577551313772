// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"strings"
	"testing"
)

// chainsOf reads "NAME: rule; rule" lines; the first chain is the one that packets come in by.
func chainsOf(policy, text string) (list []Chain) {
	for line := range strings.Lines(text) {
		name, body, _ := strings.Cut(strings.TrimSpace(line), ":")
		c := Chain{Family: "inet", Table: "t", Name: name}
		for r := range strings.SplitSeq(body, ";") {
			c.Rules = append(c.Rules, Rule{Text: strings.TrimSpace(r)})
		}
		list = append(list, c)
	}
	list[0].Policy = policy
	return list
}

// What becomes of a published port's first packet (in by any link, out by br0), and of a container's (in by br0).
func TestFollow(t *testing.T) {
	for _, c := range []struct {
		policy, text string
		ports, out   Fate
	}{
		{"accept", "f: ", Accept, Accept},
		{"drop", "f: ", Drop, Drop},
		{"accept", "f: reject", Drop, Drop},
		{"accept", "f: log; REJECT", Drop, Drop},
		{"accept", "f: jump no-reject\nno-reject: ", Accept, Accept},
		{"accept", "f: ct state { established, related } accept; ct status dnat accept; reject", Accept, Drop},
		{"accept", "f: ct state established,related,dnat accept; drop", Accept, Drop},
		{"drop", "f: ct state new accept", Accept, Accept},
		{"accept", "f: ct state != established drop", Drop, Drop},
		{"accept", "f: ct state vmap { invalid : drop, new : jump more }\nmore: accept", Depends, Depends},
		{"accept", "f: ct state vmap @named", Depends, Depends},
		{"drop", `f: iifname "br0" accept`, Drop, Accept},
		{"drop", `f: oifname "br0" accept`, Accept, Drop},
		{"drop", `f: oifname "br*" accept`, Accept, Depends},
		{"drop", `f: iifname != "br0" oifname "br0" accept`, Accept, Drop},
		{"accept", `f: iifname != "br0" oifname "br0" drop`, Drop, Accept},
		{"drop", `f: iifname "up0" oifname "br0" accept`, Depends, Drop},
		{"drop", `f: iif 1 accept; iif 7 accept`, Depends, Depends},
		{"drop", `f: iifname "lo" accept`, Drop, Drop},
		{"drop", "f: tcp dport 80 accept", Depends, Depends},
		{"drop", "f: udp dport 53 accept; meta l4proto icmp accept; meta l4proto icmp -m icmp accept", Drop, Drop},
		{"accept", "f: meta nfproto ipv6 drop; ip6 daddr { fd00::/8 } drop", Accept, Accept},
		{"accept", "f: meta nfproto ipv4 drop", Drop, Drop},
		{"accept", "f: ip daddr @bad drop", Depends, Depends},
		{"accept", "f: limit drop; [quota] drop", Depends, Depends},
		{"accept", "f: queue", Depends, Depends},
		{"drop", "f: jump a; accept\na: return; drop", Accept, Accept},
		{"drop", "f: goto a; accept\na: return; accept", Drop, Drop},
		{"drop", "f: jump a; accept\na: goto b; drop\nb: ", Accept, Accept},
		{"accept", "f: jump a\na: tcp dport 22 return; drop", Depends, Depends},
		{"accept", "f: jump a; jump a; drop\na: ", Drop, Drop},
		{"accept", "f: jump gone", Depends, Depends},
	} {
		list := chainsOf(c.policy, c.text)
		if got := Follow(list, &list[0], Packet{Out: "br0", Published: true}); got != c.ports {
			t.Errorf("%s, policy %s: of published ports %s, want %s", c.text, c.policy, got, c.ports)
		}
		if got := Follow(list, &list[0], Packet{In: "br0"}); got != c.out {
			t.Errorf("%s, policy %s: of what goes out %s, want %s", c.text, c.policy, got, c.out)
		}
	}
}
