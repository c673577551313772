// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const peerOrder = "VITRO_TEST_PEER"

func TestMain(m *testing.M) {
	if order := strings.Fields(os.Getenv(peerOrder)); len(order) > 0 {
		if err := peer(order); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// peer is one side of a conversation: "serve PORT", or "ask PROTOCOL ADDRESS WHAT".
func peer(order []string) error {
	if order[0] == "serve" {
		return serve(order[1])
	}
	if order[0] == "sctp-serve" || order[1] == "sctp" {
		return sctp(order)
	}
	c, err := net.DialTimeout(order[1], order[2], time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if order[1] == "udp" {
		if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
	}
	fmt.Fprintln(c, order[3])
	if order[3] != "who" {
		n, err := io.Copy(io.Discard, c)
		fmt.Println(n)
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Print(line)
	return err
}

// sctp is either side of a conversation by SCTP, which package net doesn't speak.
func sctp(order []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	if err != nil {
		return err
	}
	if order[0] == "ask" {
		to := netip.MustParseAddrPort(order[2])
		b := make([]byte, 100)
		err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		}
		n := 0
		if err == nil {
			n, err = unix.Read(fd, b)
		}
		fmt.Println(string(b[:max(n, 0)]))
		return err
	}
	port, err := strconv.Atoi(order[1])
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port})
	}
	if err == nil {
		err = unix.Listen(fd, 10)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, from, err := unix.Accept(fd)
		if err != nil {
			return err
		}
		a := from.(*unix.SockaddrInet4)
		_, _ = unix.Write(c, []byte(netip.AddrFrom4(a.Addr).String()))
		unix.Close(c)
	}
}

// serve says to each client which address it comes from, or sends as many bytes as it asks for.
func serve(port string) error {
	packets, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 100)
		for {
			if _, from, err := packets.ReadFrom(buf); err == nil {
				fmt.Fprintln(to{packets, from}, host(from))
			}
		}
	}()
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			line, _ := bufio.NewReader(c).ReadString('\n')
			if n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64); err == nil {
				_, _ = io.Copy(c, io.LimitReader(zeros{}, n))
				return
			}
			fmt.Fprintln(c, host(c.RemoteAddr()))
		}()
	}
}

type to struct {
	net.PacketConn
	addr net.Addr
}

func (t to) Write(b []byte) (int, error) { return t.WriteTo(b, t.addr) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func host(a net.Addr) string {
	ap := netip.MustParseAddrPort(a.String())
	return ap.Addr().Unmap().String()
}

// in is this program as a peer in the network namespace of a process.
func in(pid int, order string) *exec.Cmd {
	self, _ := os.Readlink("/proc/self/exe")
	cmd := exec.Command("nsenter", "-t", fmt.Sprint(pid), "-n", self)
	cmd.Env = append(os.Environ(), peerOrder+"="+order)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// server starts one in the network namespace of a process, until the test ends.
func server(t *testing.T, pid int, port string) {
	t.Helper()
	cmd := in(pid, "serve "+port)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("server: %q, %v", line, err)
	}
}

// ask is what a server answers, or "" if it can't be reached.
func ask(pid int, proto, address, what string) string {
	out, err := in(pid, "ask "+proto+" "+address+" "+what).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// eventually asks until the answer is the wanted one: how soon a port of a bridge comes up
// depends on the kernel's queue. An answer that is not to come is asked for once.
func eventually(pid int, proto, address, want string) (got string) {
	for end := time.Now().Add(5 * time.Second); ; {
		got = ask(pid, proto, address, "who")
		if got == want || want == "" || time.Now().After(end) {
			return got
		}
	}
}

func hasIPv6() bool { _, err := os.Stat("/proc/sys/net/ipv6"); return err == nil }
