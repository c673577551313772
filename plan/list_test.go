// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for list, want := range map[string][]uint64{
		"0": {1}, "0-3,7": {0x8f}, "1, 0": {3}, "3-3": {8}, "63-64": {1 << 63, 1}, "128": {0, 0, 1}, "0,0": {1},
	} {
		if got, err := ParseList(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %x, %v; want %x", list, got, err, want)
		}
	}
	for list, want := range map[string]string{
		"": `read list "": "" is neither a number nor a range such as 0-3`, "1,": `read list "1,": "" is neither a number nor a range such as 0-3`,
		"-1": `read list "-1": "-1" is neither a number nor a range such as 0-3`, "2-1": `read list "2-1": the range 2-1 goes backwards`,
		"8192": `read list "8192": 8192 is above 8191`, "0x1": `read list "0x1": "0x1" is neither a number nor a range such as 0-3`,
		"1-2-3": `read list "1-2-3": "1-2-3" is neither a number nor a range such as 0-3`,
	} {
		if _, err := ParseList(list); err == nil || err.Error() != want {
			t.Errorf("%q: %v; want %s", list, err, want)
		}
	}
}

// FuzzParseList: what is read has the numbers that the list names, no more.
func FuzzParseList(f *testing.F) {
	for _, s := range []string{"0-3,7", "1,", "-", "8191", "9-", "1-2-3", " 1 , 2 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := ParseList(s)
		if err != nil {
			return
		}
		var again []string
		for n := range 64 * len(set) {
			if set[n/64]>>(n%64)&1 != 0 {
				again = append(again, fmt.Sprint(n))
			}
		}
		same, err := ParseList(strings.Join(again, ","))
		if err != nil || !slices.Equal(same, set) {
			t.Errorf("%q is %x; written out it is %x, %v", s, set, same, err)
		}
		if len(maskBytes(s)) != 8*len(set) {
			t.Errorf("%q: %d bytes for %d words", s, len(maskBytes(s)), len(set))
		}
	})
}
