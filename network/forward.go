// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

const bootID = "/proc/sys/kernel/random/boot_id"

// forwardings are the kernel parameters by which the machine is a router, and
// the file in the folder of all networks that says what they were before.
var forwardings = [...]struct{ record, path string }{
	{"forward", "/proc/sys/net/ipv4/ip_forward"},
	{"forward6", "/proc/sys/net/ipv6/conf/all/forwarding"},
}

// Forward has the machine pass packets on from one link to another. That it did not
// before is recorded, and put back when the last network goes down.
type Forward struct {
	Network Network `json:"network"`
	IPv6    bool    `json:"ipv6,omitempty"`
}

func (a *Forward) which() (record, path string) {
	f := forwardings[0]
	if a.IPv6 {
		f = forwardings[1]
	}
	return a.Network.forward(f.record), f.path
}

func (a *Forward) Verb() string    { return "forward" }
func (a *Forward) Undo() plan.Host { return nil } // Release does it
func (a *Forward) Line() string {
	_, path := a.which()
	return "write 1 to " + path
}

func (a *Forward) Shell(s *plan.Script) {
	record, path := a.which()
	if a.IPv6 {
		s.Run(`grep -l 1 /proc/sys/net/ipv6/conf/*/accept_ra | while read -r f; do echo 2 >"$f"; done`)
	}
	s.Run("[ \"$(cat %[1]s)\" != 0 ] || { ln -sfT \"0 $(cat %[2]s)\" %[3]s; echo 1 >%[1]s; }", path, bootID, plan.Quote(record))
}

func (a *Forward) Do(*plan.Env) error {
	record, path := a.which()
	if off, err := isOff(path); err != nil || !off {
		return err // nobody turns it off while a network is up
	}
	unlock, err := lock(a.Network.all(), false)
	if err != nil {
		return err
	}
	defer unlock()
	if off, err := isOff(path); err != nil || !off {
		return err
	}
	if a.IPv6 {
		if err := keepRoutes(); err != nil {
			return err
		}
	}
	value, err := forwardRecord()
	if err != nil {
		return err
	}
	if err := remove(record); err != nil {
		return err
	}
	if err := os.Symlink(value, record); err != nil {
		return err
	}
	return sysctl(path, "1")
}

// keepRoutes has links go on listening to routers, which a link of a router
// does only with the value 2 (accept_ra in the kernel's ip-sysctl.rst): else the
// machine would lose its default route. The value means the same as 1 when
// forwarding is off again, so it stays.
func keepRoutes() error {
	files, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	if err != nil {
		return err
	}
	for _, file := range files {
		if filepath.Base(filepath.Dir(file)) == "all" {
			continue
		}
		text, err := os.ReadFile(file)
		if err == nil && strings.TrimSpace(string(text)) == "1" {
			err = sysctl(file, "2")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the link has gone
			return err
		}
	}
	return nil
}

func isOff(path string) (bool, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)) == "0", err
}

// forwardRecord is what is written down when 0 has become 1. What a boot before
// this one began with says nothing about this one.
func forwardRecord() (string, error) {
	boot, err := os.ReadFile(bootID)
	return "0 " + strings.TrimSpace(string(boot)), err
}

// restoreForward turns forwarding off again if no network is up, and removes
// the folder of all networks if it is empty.
//
// Any other bridge on the machine, even one without ports, keeps it on: other
// engines look at the value once, when they start, write it only if it is 0,
// and rely on it from then on.
func (n Network) restoreForward() error {
	if !islink(n.forward(forwardings[0].record)) && !islink(n.forward(forwardings[1].record)) {
		return n.rmAll()
	}
	unlock, err := lock(n.all(), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	up, err := filepath.Glob(filepath.Join(n.all(), "*", "leases"))
	if err != nil || len(up) > 0 {
		return err
	}
	want, err := forwardRecord()
	if err != nil {
		return err
	}
	for _, f := range forwardings {
		if value, err := os.Readlink(n.forward(f.record)); err == nil && value == want {
			bridges, err := linkNames("bridge")
			if err != nil {
				return fmt.Errorf("list bridges: %w", err)
			}
			if len(bridges) == 0 {
				if err := sysctl(f.path, "0"); err != nil {
					return err
				}
			}
		}
		if err := remove(n.forward(f.record)); err != nil {
			return err
		}
	}
	return n.rmAll()
}

func (n Network) rmAll() error {
	_, err := rmdir(n.all())
	return err
}

// islink reports whether there is a symbolic link of this name, wherever it leads.
func islink(path string) bool {
	_, err := os.Readlink(path)
	return err == nil
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
