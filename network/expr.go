// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The expressions that rules are made of, as nft(8) makes them of its words.

// Places of addresses in a packet: RFC 791, section 3.1, and RFC 8200, section 3.
const (
	source4, destination4 = 12, 16
	source6, destination6 = 8, 24
)

var loopback4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)

// register2 and register3 are the words of 32 bits behind the first of register 1
// (NFT_REG32_01, NFT_REG32_02): what is looked up in a map is a row of words.
const (
	register1 = unix.NFT_REG_1
	register2 = unix.NFT_REG32_00 + 1
	register3 = unix.NFT_REG32_00 + 2
)

func isFamily(family byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: []byte{family}},
	}
}

func load(register, base uint32, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBase(base), Offset: offset, Len: length}
}

// inIPv4 matches packets with an address, at a place in the header, in a subnet.
func inIPv4(offset uint32, p netip.Prefix) []expr.Any {
	if p.Bits()%8 == 0 { // nft compares whole bytes without a mask
		n := uint32(p.Bits() / 8)
		return join(isFamily(unix.NFPROTO_IPV4), []expr.Any{
			load(register1, unix.NFT_PAYLOAD_NETWORK_HEADER, offset, n),
			&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: p.Masked().Addr().AsSlice()[:n]},
		})
	}
	return join(isFamily(unix.NFPROTO_IPV4), masked(offset, p))
}

// fromIPv6 matches packets with a source address in a subnet.
func fromIPv6(p netip.Prefix) []expr.Any {
	if p.Bits()%8 == 0 {
		n := uint32(p.Bits() / 8)
		return join(isFamily(unix.NFPROTO_IPV6), []expr.Any{
			load(register1, unix.NFT_PAYLOAD_NETWORK_HEADER, source6, n),
			&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: p.Masked().Addr().AsSlice()[:n]},
		})
	}
	return join(isFamily(unix.NFPROTO_IPV6), masked(source6, p))
}

func masked(offset uint32, p netip.Prefix) []expr.Any {
	addr := p.Masked().Addr().AsSlice()
	n := uint32(len(addr))
	return []expr.Any{
		load(register1, unix.NFT_PAYLOAD_NETWORK_HEADER, offset, n),
		&expr.Bitwise{SourceRegister: register1, DestRegister: register1, Len: n, Mask: net.CIDRMask(p.Bits(), int(8*n)), Xor: make([]byte, n)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: addr},
	}
}

// isLoopback6 matches packets to ::1.
func isLoopback6() []expr.Any {
	return join(isFamily(unix.NFPROTO_IPV6), []expr.Any{
		load(register1, unix.NFT_PAYLOAD_NETWORK_HEADER, destination6, 16),
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: netip.IPv6Loopback().AsSlice()},
	})
}

// toThisHost matches packets to one of the host's addresses.
func toThisHost() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: register1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// toContainer looks a packet up in a map, and sends it on to the address and
// port that it finds there.
func toContainer(family byte, name string) []expr.Any {
	exprs := isFamily(family)
	proto, port := uint32(register1), uint32(register2)
	value := uint32(register2) // of the port that is found, behind the address
	if family == unix.NFPROTO_IPV6 {
		value = unix.NFT_REG_2
	}
	switch name {
	case "ports_at":
		exprs = append(exprs, load(register1, unix.NFT_PAYLOAD_NETWORK_HEADER, destination4, 4))
		proto, port = register2, register3
	case "ports6_at":
		exprs = append(exprs, load(register1, unix.NFT_PAYLOAD_NETWORK_HEADER, destination6, 16))
		proto, port = unix.NFT_REG_2, unix.NFT_REG32_00+5
	}
	return append(exprs,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: proto},
		load(port, unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
		&expr.Lookup{SourceRegister: register1, DestRegister: register1, IsDestRegSet: true, SetName: name},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family), RegAddrMin: register1, RegProtoMin: value},
	)
}

// isReached looks up whether a packet is for a published port, by the container's own address.
func isReached() []expr.Any {
	return append(isFamily(unix.NFPROTO_IPV6),
		load(register1, unix.NFT_PAYLOAD_NETWORK_HEADER, destination6, 16),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_2},
		load(unix.NFT_REG32_00+5, unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
		&expr.Lookup{SourceRegister: register1, SetName: reached})
}

// isICMP6 matches ICMPv6, RFC 4443.
func isICMP6() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register1, Data: []byte{unix.IPPROTO_ICMPV6}},
	}
}

// withIDs names the sets of a transaction by their numbers in it: names count
// only when it is done.
func withIDs(exprs []expr.Any, sets []*nftables.Set) []expr.Any {
	for _, e := range exprs {
		if l, ok := e.(*expr.Lookup); ok {
			for _, s := range sets {
				if s.Name == l.SetName {
					l.SetID = s.ID
				}
			}
		}
	}
	return exprs
}

// ifname compares a name of a link, padded to its full length.
func ifname(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return []expr.Any{&expr.Meta{Key: key, Register: register1}, &expr.Cmp{Op: op, Register: register1, Data: data}}
}

// fromOutside matches packets that come to the bridge from another link.
func fromOutside(bridge string) []expr.Any {
	return join(ifname(expr.MetaKeyIIFNAME, expr.CmpOpNeq, bridge), ifname(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge))
}

// answers matches packets of a connection that was let through before.
func answers() []expr.Any {
	return connection(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// translated matches packets of a connection whose destination is a published port.
func translated() []expr.Any {
	const statusDNAT = 1 << 5 // IPS_DST_NAT
	return connection(expr.CtKeySTATUS, statusDNAT)
}

func connection(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: register1},
		&expr.Bitwise{SourceRegister: register1, DestRegister: register1, Len: 4, Xor: make([]byte, 4), Mask: binaryutil.NativeEndian.PutUint32(bits)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register1, Data: make([]byte, 4)},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
