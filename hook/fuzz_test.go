// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// FuzzStatus: the number is 0 or the last word of a line NSpid.
func FuzzStatus(f *testing.F) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		f.Fatal(err)
	}
	if got, want := lastNSpid(string(own)), os.Getpid(); got != want {
		f.Errorf("in our own status: %d; want %d", got, want)
	}
	f.Add(string(own))
	for _, s := range [...]string{"NSpid:\t7\t1\n", "NSpid:", "NSpid:\n", "NSpid:\t-1\nNSpid: x\nNSpid: 3", "NSpid:\t99999999999999999999\n", "Name:\tNSpid: 5\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, status string) {
		n := lastNSpid(status)
		if n < 0 {
			t.Errorf("%q: %d", status, n)
		}
		if again := lastNSpid(fmt.Sprintf("NSpid:\t1 %d\n%s", n, status)); n > 0 && again != n {
			t.Errorf("%q: %d; with the same in front %d", status, n, again)
		}
		if n > 0 && !strings.Contains(status, "NSpid:") {
			t.Errorf("%q: %d out of nothing", status, n)
		}
	})
}
