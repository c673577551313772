// SPDX-License-Identifier: Apache-2.0

// Package rootless tests the networks of an ordinary user by traffic. It makes
// a host and a world beyond it, as network namespaces joined by a cable, and
// runs vitro on that host as a user without rights: one with subordinate IDs, if
// root runs the tests, else one who has a single ID.
package rootless

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"vitro/test/built"
)

// stage is the environment variable that says what a process of these tests is.
const stage = "VITRO_ROOTLESS_STAGE"

const (
	hostAddress   = "10.55.0.1"
	worldAddress  = "10.55.0.2"
	hostAddress6  = "fd55::1"
	worldAddress6 = "fd55::2"
	worldPort     = "7000" // of TCP and UDP: it says who asks
	answer        = "192.0.2.77"
	testUser      = "vitro-test" // made by test/as-user
)

func TestMain(m *testing.M) {
	var err error
	switch s := os.Getenv(stage); {
	case s == "":
		err = begin()
	case s == "host":
		err = host()
	case s == "world":
		err = world()
	case s == "user":
		os.Exit(m.Run())
	case strings.HasPrefix(s, "serve "):
		err = serve(strings.Fields(s)[1:]...)
	case strings.HasPrefix(s, "ask "):
		var text string
		if text, err = ask(strings.Fields(s)[1:]...); err == nil {
			fmt.Println(text)
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		os.Exit(exit.ExitCode()) // it has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rootless:", err)
		os.Exit(1)
	}
}

// again runs this program as something else, and ends as it ends.
func again(what string, prepare func(*exec.Cmd)) error {
	runtime.LockOSThread() // whose end is the child's
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stage+"="+what)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	prepare(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("be %s: %w", what, err)
	}
	return nil
}

// begin makes the host's namespaces.
func begin() error {
	dir, err := os.MkdirTemp("", "vitro-rootless.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	self, err := os.ReadFile("/proc/self/exe") // the user may not come where it is
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "helper"), self, 0o755)
	}
	if err != nil {
		return err
	}
	bin, err := built.Programs(dir, "vitro", "vitro-oci", "vitro-net")
	if err != nil {
		return err
	}
	return again("host", func(c *exec.Cmd) {
		c.Env = append(c.Env, "VITRO_ROOTLESS_DIR="+dir, "VITRO_ROOTLESS_BIN="+bin)
		if os.Geteuid() == 0 {
			c.SysProcAttr.Unshareflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
			return
		}
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	})
}

// host joins itself with a world, and lets the user in.
func host() error {
	dir := os.Getenv("VITRO_ROOTLESS_DIR")
	if err := loopback(); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "world"), os.NewFile(uintptr(pair[1]), "host")
	runtime.LockOSThread()
	w := exec.Command("/proc/self/exe")
	w.Env = append(os.Environ(), stage+"=world")
	w.Stderr, w.ExtraFiles = os.Stderr, []*os.File{theirs}
	w.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := w.Start(); err != nil {
		return fmt.Errorf("make world: %w", err)
	}
	theirs.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsPid(w.Process.Pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("join host and world: %w", err)
	}
	if err := configure(hostAddress, hostAddress6); err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Gw: net.ParseIP(worldAddress)}); err != nil {
		return err
	}
	if hasIPv6() {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Gw: net.ParseIP(worldAddress6)}); err != nil {
			return err
		}
	}
	if err := pings(); err != nil {
		return err
	}
	if err := resolver(dir); err != nil {
		return err
	}
	if !nested() {
		if err := device(dir); err != nil {
			return err
		}
	}
	return again("user", func(c *exec.Cmd) {
		c.ExtraFiles = []*os.File{ours}
		c.Env = append(c.Env, "HOME="+dir+"/home", "XDG_RUNTIME_DIR="+dir+"/run", "XDG_DATA_HOME=", "DBUS_SESSION_BUS_ADDRESS=")
		home := func(uid, gid int) {
			for _, d := range [...]string{"home", "run"} {
				_ = os.Mkdir(filepath.Join(dir, d), 0o700)
				_ = os.Chown(filepath.Join(dir, d), uid, gid)
			}
		}
		if u, err := user.Lookup(testUser); err == nil && !nested() {
			uid, _ := strconv.Atoi(u.Uid)
			gid, _ := strconv.Atoi(u.Gid)
			home(uid, gid)
			c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			return
		}
		home(0, 0)
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER // where we are no root
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}}
	})
}

// loopback sets it up: package net takes a namespace without ::1 for one without IPv6.
func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func nested() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}

// pings lets everybody ping (icmp(7)).
func pings() error {
	who := "0 2147483647"
	if nested() {
		who = "0 0"
	}
	return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte(who), 0)
}

// resolver gives the host a name server that only itself can ask.
func resolver(dir string) error {
	file := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.53\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount resolv.conf: %w", err)
	}
	c, err := net.ListenPacket("udp", "127.0.0.53:53")
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body: &dnsmessage.AResource{A: [4]byte(net.ParseIP(answer).To4())}}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
	return nil
}

// device lets everybody have links, as distributions do: pasta(1) needs it.
func device(dir string) error {
	node := filepath.Join(dir, "tun")
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		return err
	}
	if err := os.Chmod(node, 0o666); err != nil {
		return err
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return nil
	}
	return unix.Mount(node, "/dev/net/tun", "", unix.MS_BIND, "")
}

// configure sets this namespace's end of the cable up.
func configure(address, address6 string) error {
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(address), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return err
	}
	if hasIPv6() {
		six := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(address6), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(l, six); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

// hasIPv6 reports whether the kernel has it, and the namespaces that we make.
func hasIPv6() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	return err == nil && strings.TrimSpace(string(b)) == "0"
}

// world answers who asks it, and asks as the host tells it by lines on descriptor 3.
func world() error {
	if err := loopback(); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		err := configure(worldAddress, worldAddress6)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return err
		}
	}
	for _, proto := range [...]string{"tcp", "udp"} {
		go func() { _ = serve(proto, worldPort) }()
	}
	control := os.NewFile(3, "host")
	for lines := bufio.NewScanner(control); lines.Scan(); {
		text, err := ask(strings.Fields(lines.Text())...)
		if err != nil {
			text = "error: " + err.Error()
		}
		fmt.Fprintln(control, text)
	}
	return nil
}

// serve tells everybody who comes to a port as whom they come.
func serve(args ...string) error {
	proto, port := args[0], args[1]
	if proto == "udp" {
		c, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			return err
		}
		b := make([]byte, 1500)
		for {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return err
			}
			_, _ = c.WriteTo([]byte(from.(*net.UDPAddr).IP.String()), from)
		}
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintln(c, c.RemoteAddr().(*net.TCPAddr).IP)
		c.Close()
	}
}

// ask asks such a server.
func ask(args ...string) (string, error) {
	c, err := net.DialTimeout(args[0], args[1], 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if args[0] == "udp" {
		if _, err := c.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}
