// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// maxListed bounds the numbers in a list: no kernel has more processors or nodes.
const maxListed = 8192

// ParseList reads a list of processors or memory nodes as cpuset(7) has it,
// "0-3,7", into a set of bits. An empty list is an error.
func ParseList(s string) ([]uint64, error) {
	var set []uint64
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		switch {
		case err1 != nil || err2 != nil:
			return nil, fmt.Errorf("read list %q: %q is neither a number nor a range such as 0-3", s, part)
		case from > to:
			return nil, fmt.Errorf("read list %q: the range %s goes backwards", s, part)
		case to >= maxListed:
			return nil, fmt.Errorf("read list %q: %d is above %d", s, to, maxListed-1)
		}
		for n := from; n <= to; n++ {
			for uint64(len(set)) <= n/64 {
				set = append(set, 0)
			}
			set[n/64] |= 1 << (n % 64)
		}
	}
	return set, nil
}

// maskBytes is a list as the kernel takes it. What can't be read is empty: who
// decides has read it before.
func maskBytes(list string) []byte {
	set, err := ParseList(list)
	if err != nil {
		set = []uint64{0}
	}
	b := make([]byte, 0, 8*len(set))
	for _, w := range set {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	return b
}
