// SPDX-License-Identifier: Apache-2.0

// Command requests measures what a published port carries: by vitro, Docker and Podman in turn, on one machine, to the
// same server, from another host (a network namespace behind a cable), from the host's own address, and from ::1. It prints requests per
// second over new connections, and over lasting ones, and how long one took.
//
// All of it is in namespaces of its own, and gone at the end. Needs root, and vitro in the folder bin.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"vitro/bench/stage"
	"vitro/internal/netns"
)

// serveVerb is the argument with which the program is the server.
const serveVerb = "serve"

var cgroup = stage.Cgroup("requests")

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == serveVerb {
		err = serve()
	} else {
		err = begin()
	}
	stage.End("requests", err)
}

func begin() error {
	rounds := flag.Int("n", 5, "how often each is measured")
	span := flag.Duration("t", time.Second, "for how long each time")
	clients := flag.Int("c", 8, "how many clients there are at once")
	bin := flag.String("bin", "bin", "folder of vitro and vitro-oci")
	from := flag.String("from", "", "only from where the name contains this: another host, address, 127.0.0.1, ::1")
	flag.Parse()
	dir, err := stage.Enter("requests", 20*time.Minute)
	if dir == "" {
		return err
	}
	if *bin, err = filepath.Abs(*bin); err != nil {
		return err
	}
	return measure(dir, *bin, *from, *rounds, *clients, *span)
}

// serve answers each line with a line, on port 80.
func serve() error {
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			for r := bufio.NewReader(c); ; {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if _, err := c.Write(line); err != nil {
					return
				}
			}
		}()
	}
}

// A contender is an engine whose container serves.
type contender struct {
	name, port string
	start      []string // a script, with this program's image as image.tar in the folder
}

const outside = "/run/netns/outside"

func measure(dir, bin, from string, rounds, clients int, span time.Duration) error {
	if err := prepare(dir); err != nil {
		return err
	}
	vitro := bin + "/vitro --root " + dir + "/vitro"
	podman := "podman --root " + dir + "/podman --runroot " + dir + "/podman-run --cgroup-manager cgroupfs --runtime runc"
	docker := "docker -H unix://" + dir + "/sock"
	list := []contender{
		{"vitro", "8001", []string{vitro + " import image.tar b:1", vitro + " run -d --cgroup-parent /" + cgroup + " -p 8001:80 b:1 /server serve"}},
		{"docker", "8002", []string{"dockerd --data-root " + dir + "/docker --exec-root " + dir + "/docker-run --pidfile " + dir + "/pid -H unix://" + dir + "/sock --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /" + cgroup + " >docker.log 2>&1 & for i in $(seq 100); do " + docker + " version >/dev/null 2>&1 && break; sleep .2; done",
			docker + " import image.tar b:1", docker + " run -d --ulimit nofile=1024:1024 -p 8002:80 b:1 /server serve"}},
		{"podman", "8003", []string{podman + " import image.tar localhost/b:1", podman + " run -d --cgroup-parent /" + cgroup + " -p 8003:80 localhost/b:1 /server serve"}},
	}
	ways := []struct{ name, netns, host string }{
		{"another host", outside, "192.0.2.1"}, {"the host's address", "/proc/self/ns/net", "192.0.2.1"}, {"127.0.0.1", "/proc/self/ns/net", "127.0.0.1"}, {"::1", "/proc/self/ns/net", "::1"}}
	var there []contender
	for _, c := range list {
		cmd := exec.Command("sh", "-ec", strings.Join(c.start, "\n"))
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench/requests: left out: %s: %v: %s\n", c.name, err, out)
			continue
		}
		for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
			if _, err := ask(outside, "192.0.2.1:"+c.port, 1, time.Millisecond, false); err == nil {
				break // it listens
			}
		}
		there = append(there, c)
	}
	fmt.Printf("| requests, %d clients | from | new connections a second | 99 of 100 within µs | over lasting ones a second | 99 of 100 within µs |\n|---|---|--:|--:|--:|--:|\n", clients)
	for _, w := range ways {
		if !strings.Contains(w.name, from) {
			continue
		}
		rates := make(map[string]*[2][]float64)
		times := make(map[string]*[2][]time.Duration)
		failed := make(map[string]error)
		for round := range rounds {
			for i := range there { // in turn, each as often the first
				c := there[(round+i)%len(there)]
				if rates[c.name] == nil {
					rates[c.name], times[c.name] = new([2][]float64), new([2][]time.Duration)
				}
				for lasting := range 2 {
					got, err := ask(w.netns, net.JoinHostPort(w.host, c.port), clients, span, lasting == 1)
					if err != nil {
						failed[c.name] = err
					}
					rates[c.name][lasting] = append(rates[c.name][lasting], float64(len(got))/span.Seconds())
					times[c.name][lasting] = append(times[c.name][lasting], got...)
				}
			}
		}
		for _, c := range there {
			fmt.Printf("| %s | %s |", c.name, w.name)
			if failed[c.name] != nil {
				fmt.Printf(" not measured: %v ||||\n", failed[c.name])
				continue
			}
			printRow(rates[c.name], times[c.name])
		}
	}
	stop := exec.Command("sh", "-c", vitro+" rm -f $("+vitro+" ps -aq); "+podman+" rm -f -t 0 -a; "+docker+" rm -f $("+docker+" ps -aq)")
	if out, err := stop.CombinedOutput(); err != nil {
		return fmt.Errorf("remove containers: %w: %s", err, out)
	}
	return nil
}

// printRow prints the medians of the rates, and what all but the slowest took.
func printRow(rates *[2][]float64, times *[2][]time.Duration) {
	for i, r := range rates {
		t := times[i]
		slices.Sort(r)
		slices.Sort(t)
		fmt.Printf(" %.0f | %d |", r[len(r)/2], t[len(t)*99/100].Microseconds())
	}
	fmt.Println()
}

// prepare makes the other host, and the image, of this program alone.
func prepare(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script := `ip netns add outside; ip link add up0 type veth peer name eth0 netns outside
ip addr add 192.0.2.1/24 dev up0; ip link set up0 up; ip -n outside addr add 192.0.2.2/24 dev eth0; ip -n outside link set eth0 up; ip -n outside link set lo up
ip route add default via 192.0.2.2
echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse; echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range
ip netns exec outside sh -c 'echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range'
mkdir "$0/image"; cp "$1" "$0/image/server"; tar -C "$0/image" -cf "$0/image.tar" .`
	if out, err := exec.Command("sh", "-ec", script, dir, self).CombinedOutput(); err != nil {
		return fmt.Errorf("make the other host: %w: %s", err, out)
	}
	return nil
}

// ask has clients ask for a while, each the next time when it has the answer.
func ask(ns, to string, clients int, span time.Duration, lasting bool) (times []time.Duration, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(span)
	for range clients {
		all.Go(func() {
			got, e := client(ns, to, end, lasting)
			mu.Lock()
			defer mu.Unlock()
			if times = append(times, got...); err == nil {
				err = e
			}
		})
	}
	all.Wait()
	return times, err
}

func client(ns, to string, end time.Time, lasting bool) (times []time.Duration, err error) {
	err = netns.In(ns, func() error {
		var c net.Conn
		answer := make([]byte, 6)
		for {
			begin := time.Now()
			if begin.After(end) {
				if c != nil {
					c.Close()
				}
				return nil
			}
			if c == nil {
				var err error
				if c, err = net.DialTimeout("tcp", to, 5*time.Second); err != nil {
					return err
				}
			}
			_ = c.SetDeadline(begin.Add(5 * time.Second))
			if _, err := c.Write([]byte("hello\n")); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, answer); err != nil {
				return err
			}
			times = append(times, time.Since(begin))
			if !lasting {
				_ = c.(*net.TCPConn).SetLinger(0) // no port is kept for a minute
				c.Close()
				c = nil
			}
		}
	})
	return times, err
}
