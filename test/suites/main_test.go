// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// What bats and crun's tests write.
func TestParse(t *testing.T) {
	r := parse([]byte(`1..5
ok 1 runc run
not ok 2 runc run [execve error]
# (in test file run.bats, line 220)
ok 3 runc run (hugetlb limits) # skip test requires cgroups_hugetlb
ok 4 - owner-device
ok 5 - deny-devices #SKIP
`))
	for _, c := range []struct {
		name string
		got  []string
		want string
	}{
		{"passed", r.passed, "runc run|owner-device"},
		{"failed", r.failed, "runc run [execve error]"},
		{"skipped", r.skipped, "runc run (hugetlb limits)|deny-devices"},
	} {
		if got := strings.Join(c.got, "|"); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}
