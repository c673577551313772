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
	if s, err := parseStat(own); err != nil || s.start == 0 || s.parent != os.Getppid() {
		f.Errorf("our own: %+v, %v", s, err)
	}
	f.Add(string(own), "x")
	for _, s := range [...]string{"", ")", "1 (a) b) R 1", "7 (c) Z" + strings.Repeat(" 18446744073709551615", 19), "7 (c) S" + strings.Repeat(" -1", 30), ")\n\x00"} {
		f.Add(s, "a) Z 1 (b")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		s, err := parseStat([]byte(text))
		if err == nil && (s.letter == 0 || !strings.Contains(text, fmt.Sprint(s.start))) {
			t.Errorf("%q: %+v", text, s)
		}
		whole := fmt.Sprintf("7 (%s) Z%s 42 0", name, strings.Repeat(" 1", 18))
		if s, err := parseStat([]byte(whole)); s != (stat{'Z', 1, 42}) || err != nil {
			t.Errorf("%q: %+v, %v", whole, s, err)
		}
	})
}
