// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/network/uplink"
	"vitro/network/usernet"
)

// A way is the way out of the namespace.
type way struct {
	lost  chan error // that it is no more
	close func()
}

// openUplink opens the way out.
func openUplink(ctx context.Context, n *namespace) (*way, error) {
	choice := os.Getenv(usernet.Choice)
	switch choice {
	case "", "pasta", "builtin":
	default:
		return nil, fmt.Errorf("read %s=%s: want pasta or builtin", usernet.Choice, choice)
	}
	program, err := exec.LookPath("pasta")
	if choice != "builtin" && err == nil {
		var w *way
		if w, err = pasta(ctx, program, n); err == nil {
			return w, nil
		}
		fmt.Fprintln(os.Stderr, "vitro-net: pasta does not do, the stack that is built in goes on:", err)
	}
	if choice == "pasta" {
		return nil, fmt.Errorf("start pasta, for %s=pasta: %w", usernet.Choice, err)
	}
	return builtin(n)
}

// builtin is the stack of this program.
func builtin(n *namespace) (*way, error) {
	var cable *os.File
	ipv6 := hasIPv6() // asked out here: in there it is another question
	err := n.do(func() (err error) {
		cable, err = uplink.Lay(ipv6)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := uplink.New(cable, uplink.Options{Servers: servers}); err != nil {
		return nil, err
	}
	return &way{lost: make(chan error), close: func() {}}, nil
}

// hasIPv6 reports whether the host has a way out by IPv6.
func hasIPv6() bool {
	b, err := os.ReadFile("/proc/thread-self/net/ipv6_route") // of the process would be that of its first thread, wherever that is
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // destination, its length, …, device
		if len(f) == 10 && f[1] == "00" && strings.Trim(f[0], "0") == "" && f[9] != "lo" {
			return true
		}
	}
	return false
}

// servers are the host's name servers, as they are now: also those that only
// the host itself can ask.
func servers() (list []netip.AddrPort) {
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			list = append(list, netip.AddrPortFrom(a, 53))
		}
	}
	return list
}

// pastaPatience is how long pasta(1) may take to have the link ready.
const pastaPatience = 5 * time.Second

// pasta starts it, and waits until the namespace has a way out. No port is its
// own to forward: it takes them at its start alone.
func pasta(ctx context.Context, program string, n *namespace) (*way, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "--foreground", "--quiet", "--config-net", "--no-map-gw", "--dns-forward", usernet.Resolver.String(),
		"-t", "none", "-u", "none", "-T", "none", "-U", "none", "--ns-ifname", usernet.Link,
		"--netns-only", "--no-netns-quit", "--netns", "/proc/self/fd/0")
	cmd.Stdin = n.file // by our own /proc it may not, with fewer capabilities than we have; others of its descriptors it closes
	cmd.Stderr = &said
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- fmt.Errorf("pasta has ended: %v: %s", cmd.Wait(), bytes.TrimSpace(said.Bytes()))
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	w := &way{lost: ended, close: func() { _ = cmd.Process.Kill() }}
	for end := time.Now().Add(pastaPatience); ; {
		select {
		case err := <-ended:
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
		if n.do(leadsOut) == nil {
			return w, nil
		}
		if time.Now().After(end) {
			w.close()
			return nil, errors.New("it has made no default route")
		}
	}
}

// leadsOut fails while there is no default route.
func leadsOut() error {
	for _, family := range [...]int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteList(nil, family)
		if err != nil {
			continue
		}
		for _, r := range routes {
			if r.Dst == nil {
				return nil
			}
			if ones, _ := r.Dst.Mask.Size(); ones == 0 {
				return nil
			}
		}
	}
	return errors.New("no default route")
}
