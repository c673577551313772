// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Frames as ping(8) sends them, to 192.0.2.1 and 2001:db8::1.
const (
	ping4 = "02760000000202760000000108004500001c00004000400106aba9fe4d02c00002010800e5f212340001"
	ping6 = "027600000002027600000001 86dd 6000000000083a40 fd76697472 6f00000000000000000002 20010db8000000000000000000000001 80000000 12340001"
)

func frame(t testing.TB, text string) []byte {
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(text), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// full has no room for a socket, so nothing is sent.
func full() *pinger {
	p := newPinger(nil)
	for i := range pingMost {
		p.open[pinging{id: uint16(i)}] = -1
	}
	return p
}

func TestTake(t *testing.T) {
	for text, want := range map[string]bool{ping4: true, ping6: true, ping4[:60]: false, ping6[:70]: false, "": false, ping4[:24]: false} {
		if got := full().take(frame(t, text)); got != want {
			t.Errorf("%s: taken: %t, want %t", text, got, want)
		}
	}
}

// What comes back is a frame to who has asked, whose checksums are right.
func TestReply(t *testing.T) {
	for text, c := range map[string]struct {
		k    pinging
		at   int
		ipv6 bool
	}{
		ping4: {pinging{from: netip.MustParseAddr("169.254.77.2"), to: netip.MustParseAddr("192.0.2.1")}, header.IPv4MinimumSize, false},
		ping6: {pinging{from: netip.MustParseAddr("fd76:6974:726f::2"), to: netip.MustParseAddr("2001:db8::1")}, header.IPv6MinimumSize, true},
	} {
		asked := frame(t, text)
		icmp := bytes.Clone(asked[header.EthernetMinimumSize+c.at:])
		icmp[0] = 0 // an echo reply
		if c.ipv6 {
			icmp[0] = 129
		}
		got := reply(c.k, asked[:header.EthernetMinimumSize], icmp)
		e := header.Ethernet(got)
		if a := header.Ethernet(asked); e.SourceAddress() != a.DestinationAddress() || e.DestinationAddress() != a.SourceAddress() || e.Type() != a.Type() {
			t.Errorf("%s: the frame is %x", text, got)
		}
		b := got[header.EthernetMinimumSize:]
		if c.ipv6 {
			h := header.IPv6(b)
			sum := header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: header.ICMPv6(h.Payload()), Src: h.SourceAddress(), Dst: h.DestinationAddress()})
			if !h.IsValid(len(b)) || addr(h.SourceAddress()) != c.k.to || addr(h.DestinationAddress()) != c.k.from || header.ICMPv6(h.Payload()).Checksum() != sum {
				t.Errorf("%s: the packet is %x", text, b)
			}
			continue
		}
		h := header.IPv4(b)
		if !h.IsValid(len(b)) || !h.IsChecksumValid() || addr(h.SourceAddress()) != c.k.to || addr(h.DestinationAddress()) != c.k.from || checksum.Checksum(h.Payload(), 0) != 0xffff {
			t.Errorf("%s: the packet is %x", text, b)
		}
	}
}

// A container may send any bytes.
func FuzzTake(f *testing.F) {
	for _, text := range [...]string{ping4, ping6, ""} {
		f.Add(frame(f, text))
	}
	p := full()
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		p.take(b)
		if !bytes.Equal(b, before) {
			t.Error("it has changed the frame, which goes on to the stack")
		}
	})
}
