// SPDX-License-Identifier: Apache-2.0

package container

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// FuzzStat: what a process calls itself changes nothing of what is read of it.
func FuzzStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	if _, start, err := parseStat(own); err != nil || start == 0 {
		f.Errorf("our own: %d, %v", start, err)
	}
	f.Add(string(own), "x")
	for _, s := range [...]string{"", ")", "1 (a) b) R 1", "7 (c) Z" + strings.Repeat(" 18446744073709551615", 19), "7 (c) S" + strings.Repeat(" -1", 30), ")\n\x00"} {
		f.Add(s, "a) Z 1 (b")
	}
	f.Fuzz(func(t *testing.T, stat, name string) {
		letter, start, err := parseStat([]byte(stat))
		if err == nil && (letter == 0 || !strings.Contains(stat, fmt.Sprint(start))) {
			t.Errorf("%q: %q, %d", stat, letter, start)
		}
		whole := fmt.Sprintf("7 (%s) Z%s 42 0", name, strings.Repeat(" 1", 18))
		if letter, start, err := parseStat([]byte(whole)); letter != 'Z' || start != 42 || err != nil {
			t.Errorf("%q: %q, %d, %v", whole, letter, start, err)
		}
	})
}
