// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vitro/plan"
)

const bootID = "/proc/sys/kernel/random/boot_id"

// forwardings are the kernel parameters by which the machine is a router, the file in the folder of all networks
// that says what they were before, and what else changes with them.
var forwardings = [...]struct {
	record, path string
	moved        []string // patterns: the kernel overwrites those, and we accept_ra
}{
	{"forward", "/proc/sys/net/ipv4/ip_forward", []string{"/proc/sys/net/ipv4/conf/*/forwarding", "/proc/sys/net/ipv4/conf/all/accept_redirects"}},
	{"forward6", "/proc/sys/net/ipv6/conf/all/forwarding", []string{"/proc/sys/net/ipv6/conf/*/forwarding", "/proc/sys/net/ipv6/conf/*/accept_ra"}},
}

// before is the file beside a record that says what else was on: a line PATH:1 for each, as grep(1) prints
// them. What was off is off again with forwarding, or was left alone; but accept_redirects would be on, so both are noted.
func before(record string) string { return record + ".before" }

// Forward has the machine pass packets on from one link to another. That it did not
// before is recorded, with what else that changes, and put back when the last network goes down.
type Forward struct {
	Network Network `json:"network"`
	IPv6    bool    `json:"ipv6,omitempty"`
}

func (a *Forward) which() (record, path string, moved []string) {
	f := forwardings[0]
	if a.IPv6 {
		f = forwardings[1]
	}
	return a.Network.forward(f.record), f.path, f.moved
}

func (a *Forward) Verb() string    { return "forward" }
func (a *Forward) Undo() plan.Host { return nil } // Release does it
func (a *Forward) Line() string {
	_, path, _ := a.which()
	return "write 1 to " + path
}

func (a *Forward) Shell(s *plan.Script) {
	record, path, moved := a.which()
	accept := ""
	if a.IPv6 {
		accept = " grep -ls 1 /proc/sys/net/ipv6/conf/*/accept_ra | while read -r f; do echo 2 >\"$f\"; done;"
	}
	s.Run("[ \"$(cat %[1]s)\" != 0 ] || { ln -sfT \"0 $(cat %[2]s)\" %[3]s; grep -Hs -e 1 -e '^0$' %[4]s | grep -e :1 -e redirects >%[5]s;%[6]s echo 1 >%[1]s; }",
		path, bootID, plan.Quote(record), strings.Join(moved, " "), plan.Quote(before(record)), accept)
}

func (a *Forward) Do(*plan.Env) error {
	record, path, moved := a.which()
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
	if err := remember(before(record), moved); err != nil {
		return err
	}
	if a.IPv6 {
		if err := keepRoutes(moved); err != nil {
			return err
		}
	}
	return sysctl(path, "1")
}

// remember writes down what the parameters are that change with forwarding.
func remember(file string, patterns []string) error {
	var b strings.Builder
	err := parameters(patterns, func(path, value string) error {
		if value == "1" || strings.HasSuffix(path, "_redirects") {
			fmt.Fprintf(&b, "%s:%s\n", path, value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return replace(file, []byte(b.String()))
}

// recall puts back what remember has written down, as far as nobody else has changed it since. Forwarding is off.
func recall(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		path, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		err := parameters([]string{path}, func(path, now string) error {
			if now == value || strings.HasSuffix(path, "/accept_ra") && now != "2" {
				return nil
			}
			return sysctl(path, value)
		})
		if err != nil {
			return err
		}
	}
	return remove(file)
}

// parameters goes through kernel parameters. That of a link that goes away meanwhile is passed over.
func parameters(patterns []string, do func(path, value string) error) error {
	for _, p := range patterns {
		files, err := filepath.Glob(p)
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil {
				err = do(file, strings.TrimSpace(string(text)))
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// keepRoutes has links go on listening to routers, which a link of a router
// does only with the value 2 (accept_ra in the kernel's ip-sysctl.rst): else the
// machine would lose its default route.
func keepRoutes(patterns []string) error {
	return parameters(patterns, func(path, value string) error {
		if value != "1" || !strings.HasSuffix(path, "/accept_ra") || strings.HasSuffix(path, "/all/accept_ra") {
			return nil
		}
		return sysctl(path, "2")
	})
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
				if err := errors.Join(sysctl(f.path, "0"), recall(before(n.forward(f.record)))); err != nil {
					return err
				}
			}
		}
		if err := errors.Join(remove(before(n.forward(f.record))), remove(n.forward(f.record))); err != nil {
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
