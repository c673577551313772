// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/network"
)

// A lease waits while another process changes leases. If that one was the last
// to leave, the folder whose lock it waited for is gone: it must not go on there.
func TestLeaseWaitsForTheLastToLeave(t *testing.T) {
	state := t.TempDir()
	all := filepath.Join(state, "network", "bridge")
	if err := os.MkdirAll(all, 0o755); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(all)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	n := there
	n.Dir = all
	lease := &network.Lease{Network: n, Addresses: addrs("172.29.0.2"), ID: id1}
	done := make(chan error, 1)
	go func() { done <- lease.Do(nil) }()
	for end := time.Now().Add(30 * time.Second); !waitedFor(t, held); {
		if time.Now().After(end) || len(done) > 0 {
			t.Fatal("the lease didn't wait for the lock")
		}
	}
	if err := os.Remove(all); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(held.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("lease after the last one has left: %v", err)
	}
	if id, err := os.Readlink(filepath.Join(n.Dir, "leases", "172.29.0.2")); id != id1 {
		t.Errorf("lease is of %q, %v; want %q", id, err, id1)
	}
}

// waitedFor reports whether somebody waits for the lock on the file:
// proc_locks(5) has such a line, with "->", below the holder's.
func waitedFor(t *testing.T, f *os.File) bool {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Skipf("needs /proc/locks: %v", err)
	}
	inode := fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)
	for line := range strings.Lines(string(locks)) {
		if strings.Contains(line, "->") && strings.Contains(line, inode) {
			return true
		}
	}
	return false
}
