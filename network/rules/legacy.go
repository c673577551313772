// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// A layout is where ip_tables has what (include/uapi/linux/netfilter_ipv4/ip_tables.h, and
// ip6_tables.h).
type layout struct {
	family       string
	xt           xt.TableFamily
	socket       int
	level        int
	names        string // of the tables that there are; to ask for another would make it
	address      int    // its size
	links        int    // where the names of links begin
	protocol     int
	inverted     int
	targetOffset int
	size         int
}

var layouts = [...]layout{
	{"ip", unix.NFPROTO_IPV4, unix.AF_INET, unix.IPPROTO_IP, "/proc/thread-self/net/ip_tables_names", 4, 16, 80, 83, 88, 112},
	{"ip6", unix.NFPROTO_IPV6, unix.AF_INET6, unix.IPPROTO_IPV6, "/proc/thread-self/net/ip6_tables_names", 16, 64, 128, 132, 140, 168},
}

// infoSize and its parts: struct ipt_getinfo.
const (
	nameSize   = 32
	infoSize   = nameSize + 4*(1+5+5+2)
	entriesAt  = 40 // of struct ipt_get_entries
	tablesSize = 16 << 20
)

// readLegacy reads what iptables-legacy has set.
func readLegacy() (list []Chain, err error) {
	for i := range layouts {
		l := &layouts[i]
		names, err := os.ReadFile(l.names)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // no such module, or not ours to see
		}
		if err != nil {
			return nil, err
		}
		for table := range strings.FieldsSeq(string(names)) {
			info, blob, err := l.fetch(table)
			if err != nil {
				return nil, fmt.Errorf("table %s %s: %w", l.family, table, err)
			}
			chains, err := l.parse(table, info, blob)
			if err != nil {
				return nil, fmt.Errorf("table %s %s: %w", l.family, table, err)
			}
			list = append(list, chains...)
		}
	}
	return list, nil
}

var errTorn = errors.New("its entries make no sense")

// parse reads a table as the kernel gives it: entries in a row, where a chain of a person's own begins with
// one whose target is ERROR, and jumps are offsets.
func (l *layout) parse(table string, info, blob []byte) (list []Chain, err error) {
	if len(info) < infoSize {
		return nil, errTorn
	}
	ne := binary.NativeEndian
	starts := make(map[int]string) // of chains
	for h := range hooks[:5] {
		if ne.Uint32(info[nameSize:])&(1<<h) != 0 {
			starts[int(ne.Uint32(info[nameSize+4+4*h:]))] = hooks[h]
		}
	}
	// Two rounds: jumps name chains that may come later.
	for at := 0; at < len(blob); {
		e, err := l.entry(blob, at)
		if err != nil {
			return nil, err
		}
		if e.target == "ERROR" {
			starts[at+len(e.raw)] = text(e.targetData)
		}
		at += len(e.raw)
	}
	var chain *Chain
	for at := 0; at < len(blob); {
		e, err := l.entry(blob, at)
		if err != nil {
			return nil, err
		}
		if name, ok := starts[at]; ok && at+len(e.raw) <= len(blob) && name != "ERROR" {
			list = append(list, Chain{Family: l.family, Table: table, Name: name, Legacy: true})
			chain = &list[len(list)-1]
			for h := range hooks[:5] {
				if ne.Uint32(info[nameSize:])&(1<<h) != 0 && int(ne.Uint32(info[nameSize+4+4*h:])) == at {
					chain.Name, chain.Hook, chain.Type = strings.ToUpper(hooks[h]), hooks[h], "filter"
					if table == "nat" {
						chain.Type = "nat"
					}
				}
			}
		}
		if e.target != "ERROR" && chain != nil {
			l.add(chain, e, info, at, starts)
		}
		at += len(e.raw)
	}
	return list, nil
}

// add says an entry, or takes it for the chain's policy.
func (l *layout) add(c *Chain, e *entry, info []byte, at int, starts map[int]string) {
	ne := binary.NativeEndian
	for h := range hooks[:5] {
		if c.Hook == hooks[h] && int(ne.Uint32(info[nameSize+24+4*h:])) == at {
			c.Policy, c.Packets = e.verdict(starts), e.packets(l)
			return
		}
	}
	t := &translator{family: l.family}
	l.head(t, e.raw)
	for _, m := range e.matches {
		info, err := xt.Unmarshal(m.name, l.xt, uint32(m.revision), m.data)
		if err != nil {
			info = nil
		}
		t.match(m.name, info)
	}
	if e.target == "" {
		if c.Hook == "" && len(e.matches) == 0 && len(t.words) == 0 && e.verdict(starts) == "return" {
			return // the end of a person's own chain
		}
		t.say("%s", e.verdict(starts))
	} else {
		raw := xt.Unknown(e.targetData)
		var info xt.InfoAny = &raw
		if e.revision != 0 || l.family != "ip" { // else a range as old as ip_tables
			info, _ = xt.Unmarshal(e.target, l.xt, uint32(e.revision), e.targetData) // nil: its name is all that is known
		}
		t.target(e.target, info)
	}
	t.flush()
	ends := strings.ToLower(e.target)
	if ends == "" {
		ends = e.verdict(starts)
	}
	c.Rules = append(c.Rules, Rule{Text: strings.Join(t.words, " "), Comment: t.comment, NAT: t.nat, Packets: e.packets(l), Ends: ends})
}

// An entry is a rule of ip_tables.
type entry struct {
	raw        []byte
	matches    []extension
	target     string // "" is a verdict
	revision   byte
	targetData []byte
}

type extension struct {
	name     string
	revision byte
	data     []byte
}

const extensionSize = 32 // of struct xt_entry_match, before its data

func readExtension(b []byte) (x extension, size int, err error) {
	if len(b) < extensionSize {
		return x, 0, errTorn
	}
	size = int(binary.NativeEndian.Uint16(b))
	if size < extensionSize || size > len(b) {
		return x, 0, errTorn
	}
	return extension{text(b[2:31]), b[31], b[extensionSize:size]}, size, nil
}

func text(b []byte) string { return unix.ByteSliceToString(b) }

func (l *layout) entry(blob []byte, at int) (*entry, error) {
	b := blob[at:]
	if len(b) < l.size {
		return nil, errTorn
	}
	target, next := int(binary.NativeEndian.Uint16(b[l.targetOffset:])), int(binary.NativeEndian.Uint16(b[l.targetOffset+2:]))
	if target < l.size || next < target || next > len(b) || next == 0 {
		return nil, errTorn
	}
	e := &entry{raw: b[:next]}
	for m := l.size; m < target; {
		x, size, err := readExtension(b[m:target])
		if err != nil {
			return nil, err
		}
		e.matches = append(e.matches, x)
		m += size
	}
	x, _, err := readExtension(b[target:next])
	if err != nil {
		return nil, err
	}
	e.target, e.revision, e.targetData = x.name, x.revision, x.data
	return e, nil
}

// packets is the entry's counter, the second but last eight bytes of its head.
func (e *entry) packets(l *layout) uint64 { return binary.NativeEndian.Uint64(e.raw[l.size-16:]) }

// verdict is what a target without a name says: an action, or where to jump to.
func (e *entry) verdict(starts map[int]string) string {
	if len(e.targetData) < 4 {
		return "?"
	}
	switch n := int32(binary.NativeEndian.Uint32(e.targetData)); n {
	case -1:
		return "drop"
	case -2:
		return "accept"
	case -5:
		return "return"
	default:
		return "jump " + starts[int(n)]
	}
}

// head says the part that each entry has: addresses, links, protocol.
func (l *layout) head(t *translator, b []byte) {
	inverted := b[l.inverted]
	not := func(bit byte) string {
		if inverted&bit != 0 {
			return "!= "
		}
		return ""
	}
	for i, name := range [...]string{"saddr", "daddr"} {
		a, m := b[i*l.address:(i+1)*l.address], b[(2+i)*l.address:(3+i)*l.address]
		if zero(m) {
			continue
		}
		addr, _ := netip.AddrFromSlice(a)
		s := addr.String()
		if n := ones(m); n < 8*l.address {
			s += fmt.Sprint("/", n)
		}
		t.condition(&register{name: l.family + " " + name}, not([...]byte{8, 16}[i]), s)
	}
	for i, name := range [...]string{"iifname", "oifname"} {
		if s := text(b[l.links+16*i : l.links+16*i+16]); s != "" {
			if mask := b[l.links+32+16*i:]; mask[min(len(s), 15)] == 0 {
				s = strings.TrimSuffix(s, "+") + "*"
			}
			t.condition(&register{name: name}, not([...]byte{1, 2}[i]), fmt.Sprintf("%q", s))
		}
	}
	if p := binary.NativeEndian.Uint16(b[l.protocol:]); p != 0 {
		if inverted&64 != 0 {
			t.say("meta l4proto != %s", protocolName(byte(p)))
			return
		}
		t.protocol = protocolName(byte(p))
		t.seen.Protocol = t.protocol
	}
}
