// SPDX-License-Identifier: Apache-2.0

// Command uplink measures the ways out of a network namespace that an ordinary
// user has: vitro-net's stack, slirp4netns(1) and pasta(1), in turn, on one
// machine, by one TCP connection between a process in the namespace and one on
// the host. It prints Gbit/s in both directions.
//
// All of it is in namespaces of its own, and gone at the end. Needs root.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vitro/bench/stage"
	"vitro/network/uplink"
	"vitro/network/usernet"
)

// role is the environment variable that says what a process of this program is.
const role = "VITRO_BENCH_UPLINK"

func main() {
	var err error
	switch words := strings.Fields(os.Getenv(role)); {
	case len(words) == 0:
		err = begin()
	case words[0] == "host":
		err = measure()
	case words[0] == "guest":
		err = guest()
	case words[0] == "stack":
		err = stack(words[1])
	}
	stage.End("uplink", err)
}

// again is this program as something else.
func again(what string, unshare uintptr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), role+"="+what)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unshare, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func begin() error {
	runtime.LockOSThread()
	cmd := again("host", syscall.CLONE_NEWNET|syscall.CLONE_NEWNS)
	cmd.Stdout = os.Stdout
	return cmd.Run()
}

// A contender is a way out.
type contender struct {
	name, program string
	argv          func(pid string) []string // nil: this program
	host          string                    // the host's loopback, as the namespace sees it
}

const port = "5201"

var contenders = [...]contender{
	{name: "vitro-net, built in", host: usernet.Gateway.String()},
	{name: "slirp4netns, MTU 65520", program: "slirp4netns", host: "10.0.2.2",
		argv: func(pid string) []string { return []string{"--configure", "--mtu=65520", pid, "tap0"} }},
	{name: "pasta", program: "pasta", host: "10.55.0.2",
		argv: func(string) []string {
			return []string{"--foreground", "--quiet", "--config-net", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--runas", "0", "--netns-only", "--netns", "/proc/self/fd/0"} // by /proc/PID it may not
		}},
}

// measure makes a host with a way to the world, as pasta wants it, and has each
// contender's namespace talk to it.
func measure() error {
	rounds := flag.Int("n", 5, "how often each is measured")
	span := flag.Duration("t", 2*time.Second, "for how long each time")
	flag.Parse()
	runtime.LockOSThread()
	if err := furnish(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	go serve(l)
	fmt.Printf("\n| one TCP connection, Gbit/s: median of %d | out | in |\n| --- | ---: | ---: |\n", *rounds)
	for _, c := range contenders {
		if _, err := exec.LookPath(c.program); c.program != "" && err != nil {
			fmt.Printf("| %s | not installed | |\n", c.name)
			continue
		}
		out, in, err := c.measure(*rounds, *span)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("| %s | %.2f | %.2f |\n", c.name, out, in)
	}
	return nil
}

func furnish() error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	for _, name := range [...]string{"lo", "eth1", "eth0"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			return err
		}
	}
	if err := netlink.AddrAdd(veth, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 55, 0, 1), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Gw: net.IPv4(10, 55, 0, 2)}); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vitro-bench.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	node := filepath.Join(dir, "tun")
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		return err
	}
	return errors.Join(os.Chmod(node, 0o666), unix.Mount(node, "/dev/net/tun", "", unix.MS_BIND, ""))
}

// serve takes what comes, or, asked for it by the first byte, gives.
func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			b := make([]byte, 1<<20)
			if _, err := io.ReadFull(c, b[:1]); err != nil {
				return
			}
			for err == nil {
				if b[0] == 'i' {
					_, err = c.Write(b)
				} else {
					_, err = c.Read(b[1:])
				}
			}
		}()
	}
}

func (c contender) measure(rounds int, span time.Duration) (out, in float64, err error) {
	g := again("guest", syscall.CLONE_NEWNET)
	ask, err := g.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	answers, err := g.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := g.Start(); err != nil {
		return 0, 0, err
	}
	defer func() { ask.Close(); _ = g.Wait() }()
	lines := bufio.NewScanner(answers)
	lines.Scan() // it is in its namespace
	pid := strconv.Itoa(g.Process.Pid)
	w := again("stack "+pid, 0)
	if c.argv != nil {
		w = exec.Command(c.program, c.argv(pid)...)
		w.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	ns, err := os.Open("/proc/" + pid + "/ns/net")
	if err != nil {
		return 0, 0, err
	}
	defer ns.Close()
	w.Stdin = ns
	if err := w.Start(); err != nil {
		return 0, 0, err
	}
	defer func() { _ = w.Process.Kill(); _ = w.Wait() }()
	run := func(way string) (float64, error) {
		fmt.Fprintln(ask, c.host, way, span)
		if !lines.Scan() {
			return 0, errors.New("the process in the namespace has ended")
		}
		return strconv.ParseFloat(lines.Text(), 64)
	}
	var outs, ins []float64
	for range rounds {
		o, err1 := run("o")
		i, err2 := run("i")
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, err
		}
		outs, ins = append(outs, o), append(ins, i)
	}
	slices.Sort(outs)
	slices.Sort(ins)
	return outs[len(outs)/2], ins[len(ins)/2], nil
}

// guest measures as it is told: ADDRESS WAY SPAN.
func guest() error {
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var host, way, text string
		if _, err := fmt.Sscan(lines.Text(), &host, &way, &text); err != nil {
			return err
		}
		span, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		c, err := dial(host)
		if err != nil {
			return err
		}
		b, total, begin := make([]byte, 1<<20), 0, time.Now()
		b[0] = way[0]
		if _, err := c.Write(b[:1]); err != nil {
			return err
		}
		for time.Since(begin) < span {
			var n int
			if way == "i" {
				n, err = c.Read(b)
			} else {
				n, err = c.Write(b)
			}
			if total += n; err != nil {
				return err
			}
		}
		fmt.Println(float64(total) * 8 / time.Since(begin).Seconds() / 1e9)
		c.Close()
	}
	return nil
}

// dial waits until there is a way out.
func dial(host string) (c net.Conn, err error) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err = net.DialTimeout("tcp", host+":"+port, 5*time.Second); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// stack is vitro-net's, for the namespace of a process.
func stack(pid string) error {
	var cable *os.File
	laid := make(chan error)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open("/proc/" + pid + "/ns/net")
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			cable, err = uplink.Lay(false)
		}
		laid <- err
		select {}
	}()
	if err := <-laid; err != nil {
		return err
	}
	if _, err := uplink.New(cable, uplink.Options{Loopback: true}); err != nil {
		return err
	}
	select {}
}
