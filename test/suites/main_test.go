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

// What ginkgo writes, as TAP, and read again.
func TestWriteTAP(t *testing.T) {
	var b strings.Builder
	err := writeTAP(&b, []byte(`[{"SpecReports": [
		{"LeafNodeType": "BeforeSuite", "State": "passed"},
		{"ContainerHierarchyTexts": ["[k8s.io] Streaming", "runtime"], "LeafNodeType": "It", "LeafNodeText": "exec", "State": "passed"},
		{"ContainerHierarchyTexts": ["[k8s.io] Streaming"], "LeafNodeType": "It", "LeafNodeText": "attach", "State": "failed", "Failure": {"Message": "a\nb"}},
		{"ContainerHierarchyTexts": ["[k8s.io] Streaming"], "LeafNodeType": "It", "LeafNodeText": "forward", "State": "skipped", "Failure": {"Message": "no"}},
		{"ContainerHierarchyTexts": ["[k8s.io] Networking"], "LeafNodeType": "It", "LeafNodeText": "dns", "State": "skipped"}]}]`), "[k8s.io] Streaming")
	if err != nil {
		t.Fatal(err)
	}
	r := parse([]byte(b.String()))
	if got, want := strings.Join(append(append(r.passed, r.failed...), r.skipped...), "|"), "Streaming runtime exec|Streaming attach|Streaming forward"; got != want || r.String() != "1 / 1 / 1" {
		t.Errorf("got %s, %v; want %s", got, r, want)
	}
}
