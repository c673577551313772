// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go/features"
)

func shownFeatures(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := oci(&out, "features"); err != nil {
		t.Fatalf("features: %v", err)
	}
	return out.Bytes()
}

// What features.md of the specification has in its example is there, and
// nothing that the specification doesn't know.
func TestFeatures(t *testing.T) {
	text := shownFeatures(t)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var f features.Features
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.OCIVersionMin != "1.0.0" || len(f.Hooks) != 6 || f.Annotations["vitro.version"] == "" {
		t.Errorf("%s", text)
	}
	if _, ok := f.Annotations["io.github.seccomp.libseccomp.version"]; ok {
		t.Error("there is no libseccomp in this program")
	}
	for list, want := range map[*[]string][]string{
		&f.Linux.Namespaces:        {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
		&f.Linux.Seccomp.Operators: {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"},
	} {
		if !slices.Equal(*list, want) {
			t.Errorf("%q, want %q", *list, want)
		}
	}
	for _, has := range []struct {
		list []string
		word string
	}{
		{f.MountOptions, "rro"}, // what containerd and Docker look for
		{f.Linux.Capabilities, "CAP_CHECKPOINT_RESTORE"},
		{f.Linux.Seccomp.Actions, "SCMP_ACT_NOTIFY"},
		{f.Linux.Seccomp.Archs, "SCMP_ARCH_X86_64"},
		{f.Linux.Seccomp.KnownFlags, "SECCOMP_FILTER_FLAG_LOG"},
	} {
		if !slices.Contains(has.list, has.word) {
			t.Errorf("no %s among %q", has.word, has.list)
		}
	}
	all := keysOf(t, text)
	for _, k := range []string{".linux.cgroup.v1", ".linux.cgroup.v2", ".linux.cgroup.systemd", ".linux.cgroup.systemdUser", ".linux.cgroup.rdma", ".linux.seccomp.enabled",
		".linux.seccomp.supportedFlags[]", ".linux.apparmor.enabled", ".linux.selinux.enabled", ".linux.intelRdt.enabled", ".linux.intelRdt.schemata", ".linux.intelRdt.monitoring",
		".linux.mountExtensions.idmap.enabled", ".linux.netDevices.enabled"} {
		if !all[k] {
			t.Errorf("no %s", k)
		}
	}
}

// runc's features have nothing that is missing here.
func TestFeaturesAsRunc(t *testing.T) {
	theirs, err := exec.Command("runc", "features").Output()
	if err != nil {
		t.Skipf("needs a runc that has features: %v", err)
	}
	got := keysOf(t, shownFeatures(t))
	for k := range keysOf(t, theirs) {
		if !got[k] && !strings.HasPrefix(k, ".annotations.") && !strings.HasPrefix(k, ".potentiallyUnsafeConfigAnnotations") && !strings.HasPrefix(k, ".linux.memoryPolicy") {
			t.Errorf("runc has %s", k)
		}
	}
}
