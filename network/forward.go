// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

const (
	ipForward = "/proc/sys/net/ipv4/ip_forward"
	bootID    = "/proc/sys/kernel/random/boot_id"
)

// Forward has the machine pass IPv4 packets on from one link to another. That
// it did not before is recorded, and put back when the last lease is released.
type Forward struct {
	Network Network `json:"network"`
}

func (a *Forward) Verb() string    { return "forward" }
func (a *Forward) Line() string    { return "write 1 to " + ipForward }
func (a *Forward) Undo() plan.Host { return nil } // Release does it

func (a *Forward) Shell(s *plan.Script) {
	s.Run("[ \"$(cat %[1]s)\" != 0 ] || { ln -sfT \"0 $(cat %[2]s)\" %[3]s; echo 1 >%[1]s; }", ipForward, bootID, plan.Quote(a.Network.forward()))
}

func (a *Forward) Do(*plan.Env) error {
	if off, err := forwardingIsOff(); err != nil || !off {
		return err // nobody turns it off while there is a lease
	}
	unlock, err := lock(a.Network.all(), false)
	if err != nil {
		return err
	}
	defer unlock()
	if off, err := forwardingIsOff(); err != nil || !off {
		return err
	}
	value, err := forwardRecord()
	if err != nil {
		return err
	}
	if err := remove(a.Network.forward()); err != nil {
		return err
	}
	if err := os.Symlink(value, a.Network.forward()); err != nil {
		return err
	}
	return sysctl(ipForward, "1")
}

func forwardingIsOff() (bool, error) {
	text, err := os.ReadFile(ipForward)
	return strings.TrimSpace(string(text)) == "0", err
}

// forwardRecord is what is written down when 0 has become 1. What a boot before
// this one began with says nothing about this one.
func forwardRecord() (string, error) {
	boot, err := os.ReadFile(bootID)
	return "0 " + strings.TrimSpace(string(boot)), err
}

// restoreForward turns forwarding off again if no network is left, and removes
// the folder of all networks.
//
// Any other bridge on the machine, even one without ports, keeps it on: other
// engines look at the value once, when they start, write it only if it is 0,
// and rely on it from then on.
//
// Precondition: the lock is held.
func restoreForward(n Network) error {
	entries, err := os.ReadDir(n.all())
	if err != nil {
		return err
	}
	if slices.ContainsFunc(entries, fs.DirEntry.IsDir) {
		return nil
	}
	want, err := forwardRecord()
	if err != nil {
		return err
	}
	if value, err := os.Readlink(n.forward()); err == nil && value == want {
		bridges, err := linkNames("bridge")
		if err != nil {
			return fmt.Errorf("list bridges: %w", err)
		}
		if len(bridges) == 0 {
			if err := sysctl(ipForward, "0"); err != nil {
				return err
			}
		}
	}
	if err := remove(n.forward()); err != nil {
		return err
	}
	_, err = rmdir(n.all())
	return err
}

// remove unlinks a file. One that is not there is no error.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sysctl writes a kernel parameter of the calling thread's network namespace.
func sysctl(path, value string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte(value))
	}
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", value, path, err)
	}
	return nil
}
