// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
)

// number is an IPv4 address as one, of which there are so many.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// after is the IPv4 address so many after a.
func after(a netip.Addr, n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], number(a)+n)
	return netip.AddrFrom4(b)
}

// last is the highest address of an IPv4 subnet, the one for all.
func last(p netip.Prefix) netip.Addr { return after(p.Masked().Addr(), 1<<(32-p.Bits())-1) }

// twin is the IPv6 address that goes with an IPv4 one: as far from the
// beginning of its subnet. So who has the one has the other.
func (n Network) twin(a netip.Addr) netip.Addr {
	if !n.Subnet6.IsValid() {
		return netip.Addr{}
	}
	b := n.Subnet6.Masked().Addr().As16()
	offset := number(a) - number(n.Subnet.Masked().Addr())
	binary.BigEndian.PutUint32(b[12:], binary.BigEndian.Uint32(b[12:])+offset)
	return netip.AddrFrom16(b)
}

// reserved reports whether an address of the subnet is nobody's to have.
func (n Network) reserved(a netip.Addr) bool {
	return a == n.Gateway || a == n.Subnet.Masked().Addr() || a == last(n.Subnet) ||
		n.Gateway6.IsValid() && n.twin(a) == n.Gateway6
}

// free finds an address that is not taken, by few questions: as addresses are
// given out from below, it looks for the end of the block that is taken, in
// steps that double, and then by halves. Only where that finds none, because
// the range is nearly full, each address is looked at.
//
// With again set, somebody was faster: it begins at a place by chance, which
// is the ID's, so that many who start at once don't all want the same one.
func (n Network) free(id string, again bool, taken func(netip.Addr) bool) (netip.Addr, error) {
	in := n.Subnet
	if n.Range.IsValid() {
		in = n.Range
	}
	first, size := in.Masked().Addr(), uint32(1)<<(32-in.Bits())
	if after(first, size-1) == last(n.Subnet) {
		size-- // the address for all is no end of a block
	}
	full := func(i uint32) bool {
		a := after(first, i)
		return n.reserved(a) || taken(a)
	}
	if again {
		const tries = 64
		h := fnv.New32a()
		h.Write([]byte(id))
		for i := range uint32(tries) {
			if at := (h.Sum32() + i) % size; !full(at) {
				return after(first, at), nil
			}
		}
	}
	low, high := uint32(0), uint32(0)
	for step := uint32(1); high < size && full(high); step *= 2 {
		low, high = high, high+step
	}
	if high >= size { // beyond the end: from there, in steps that double
		for back := uint32(1); high >= size && back < size-low; back *= 2 {
			if !full(size - back) {
				high = size - back
			}
		}
	}
	if high >= size {
		for i := range size {
			if !full(i) {
				return after(first, i), nil
			}
		}
		return netip.Addr{}, fmt.Errorf("%s has no free address: %w", in, ErrFull)
	}
	for high > low+1 {
		if middle := low + (high-low)/2; full(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return after(first, high), nil
}
