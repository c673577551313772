// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestNetDevices: the host's device is the container's, with its address, up and renamed.
func TestNetDevices(t *testing.T) {
	for _, users := range []bool{false, true} {
		b := newBundle(t, "ip -o addr show dev inside; ip link show dev inside")
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Skipf("needs CAP_SYS_ADMIN, for a network namespace: %v", err)
		}
		oracle(t, "ip", "link", "add", "port", "type", "veth", "peer", "name", "other")
		oracle(t, "ip", "addr", "add", "192.0.2.9/24", "dev", "port")
		if users {
			b.users(t)
		}
		b.Linux.NetDevices = map[string]specs.LinuxNetDevice{"port": {Name: "inside"}}
		got := b.says(t)
		has(t, "addresses", got, "192.0.2.9/24")
		has(t, "flags", got, ",UP")
		if left := oracle(t, "ip", "-o", "link", "show"); strings.Contains(left, "port") {
			t.Errorf("the host has it still:\n%s", left)
		}
	}
}
