// SPDX-License-Identifier: Apache-2.0

// Command names measures how containers' names are answered: by vitro's server in
// a container's namespace, by aardvark-dns (Podman's) and by dockerd's own, in turn, on one machine, for the
// same name, over the same number of sockets. It prints answers per second and how long one took.
//
// All of it is in namespaces of its own, and gone at the end. Needs root.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"vitro/bench/stage"
	"vitro/internal/netns"
	"vitro/network/names"
)

// serveVerb is the argument with which the program is vitro's server.
const serveVerb = "serve"

func main() {
	var err error
	if len(os.Args) == 4 && os.Args[1] == serveVerb {
		err = serve(os.Args[2], os.Args[3])
	} else {
		err = begin()
	}
	stage.End("names", err)
}

func begin() error {
	rounds := flag.Int("n", 5, "how often each is measured")
	span := flag.Duration("t", time.Second, "for how long each time")
	clients := flag.Int("c", 8, "from how many sockets")
	flag.Parse()
	dir, err := stage.Enter("names", 5*time.Minute)
	if dir == "" {
		return err
	}
	return measure(dir, *rounds, *clients, *span)
}

// cgroup is where dockerd puts its containers.
var cgroup = stage.Cgroup("names")

// serve is vitro's server, as a monitor has it.
func serve(pid, dir string) error {
	s, err := names.Listen("/proc/" + pid + "/ns/net")
	if err != nil {
		return err
	}
	debug.SetGCPercent(10) // as the monitor does
	server, err := names.New(names.Config{Dir: dir, ID: "a"}, s)
	if err != nil {
		return err
	}
	return server.Serve(-1)
}

// A contender is a server that runs.
type contender struct {
	name     string
	netns    string // where clients are
	address  string
	question string
	process  int // whose memory is looked at
	rates    []float64
	times    []time.Duration
}

func measure(dir string, rounds, clients int, span time.Duration) error {
	var list []*contender
	for _, start := range [...]func(dir string) (*contender, error){startVitro, startAardvark, startDocker} {
		c, err := start(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench/names: left out:", err)
			continue
		}
		list = append(list, c)
	}
	for range rounds {
		for _, c := range list {
			if err := c.ask(clients, span); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	fmt.Printf("| names, %d sockets | answers a second | median µs | 99 of 100 within µs | private MiB |\n|---|--:|--:|--:|--:|\n", clients)
	for _, c := range list {
		slices.Sort(c.rates)
		slices.Sort(c.times)
		fmt.Printf("| %s | %.0f | %d | %d | %.1f |\n", c.name, c.rates[len(c.rates)/2],
			c.times[len(c.times)/2].Microseconds(), c.times[len(c.times)*99/100].Microseconds(), private(c.process))
	}
	return nil
}

// private is a process's own memory, in MiB, without what is read from its program's file.
func private(pid int) (mib float64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Private_Dirty:" {
			n, _ := strconv.ParseFloat(f[1], 64)
			mib += n / 1024
		}
	}
	return mib
}

// ask has some clients ask for a while, each the next question when it has the answer.
func (c *contender) ask(clients int, span time.Duration) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	count := 0
	for i := range clients {
		wg.Go(func() {
			times, err := c.client(uint16(i), span)
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			count += len(times)
			c.times = append(c.times, times...)
		})
	}
	wg.Wait()
	c.rates = append(c.rates, float64(count)/span.Seconds())
	return failed
}

func (c *contender) client(id uint16, span time.Duration) (times []time.Duration, err error) {
	var conn net.Conn
	if err := netns.In(c.netns, func() (err error) { conn, err = net.Dial("udp", c.address); return err }); err != nil {
		return nil, err
	}
	defer conn.Close()
	msg := dnsmessage.Message{Header: dnsmessage.Header{RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName(c.question), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	question, err := msg.Pack()
	if err != nil {
		return nil, err
	}
	answer := make([]byte, 1500)
	end := time.Now().Add(span)
	_ = conn.SetDeadline(end.Add(5 * time.Second))
	for n := uint16(0); ; n++ {
		begin := time.Now()
		if begin.After(end) {
			return times, nil
		}
		binary.BigEndian.PutUint16(question, n<<4|id)
		if _, err := conn.Write(question); err != nil {
			return nil, err
		}
		k, err := conn.Read(answer)
		if err != nil {
			return nil, err
		}
		if k < 12 || binary.BigEndian.Uint16(answer) != n<<4|id || binary.BigEndian.Uint16(answer[6:]) != 1 {
			return nil, fmt.Errorf("answer %x", answer[:k])
		}
		times = append(times, time.Since(begin))
	}
}

// sleeper is a process in a network namespace of its own, with its loopback up. It ends with the world.
func sleeper() (pid int, err error) {
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, run("nsenter", "-t", strconv.Itoa(cmd.Process.Pid), "-n", "ip", "link", "set", "lo", "up")
}

func run(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

func startVitro(dir string) (*contender, error) {
	pid, err := sleeper()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(dir, "vitro", "net", "names")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for id, line := range map[string]string{"a": "10.91.0.2 one aaaa", "b": "10.91.0.3 two bbbb"} {
		if err := os.WriteFile(filepath.Join(folder, id), []byte(line), 0o644); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("/proc/self/exe", serveVerb, strconv.Itoa(pid), filepath.Join(dir, "vitro"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &contender{name: "vitro", netns: fmt.Sprintf("/proc/%d/ns/net", pid), address: names.Address + ":53", question: "two.", process: cmd.Process.Pid}
	return c, c.wait()
}

// aardvark is Podman's server, where Debian has it.
const aardvark = "/usr/lib/podman/aardvark-dns"

// startAardvark has it listen on the address of a bridge, whose container asks it.
func startAardvark(dir string) (*contender, error) {
	if _, err := os.Stat(aardvark); err != nil {
		return nil, err
	}
	pid, err := sleeper()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "aardvark")
	if err := os.MkdirAll(config, 0o755); err != nil {
		return nil, err
	}
	lines := "10.90.0.1\n" + strings.Repeat("a", 64) + " 10.90.0.2  one\n" + strings.Repeat("b", 64) + " 10.90.0.3  two\n"
	if err := os.WriteFile(filepath.Join(config, "net"), []byte(lines), 0o644); err != nil {
		return nil, err
	}
	ns := strconv.Itoa(pid)
	script := "ip link add av0 type bridge && ip addr add 10.90.0.1/24 dev av0 && ip link set av0 up && ip link add av1 type veth peer name eth0 netns " + ns +
		" && ip link set av1 master av0 up && nsenter -t " + ns + " -n ip addr add 10.90.0.2/24 dev eth0 && nsenter -t " + ns + " -n ip link set eth0 up"
	if err := run("sh", "-c", script); err != nil {
		return nil, err
	}
	cmd := exec.Command(aardvark, "--config", config, "--port", "53", "run")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &contender{name: "aardvark-dns", netns: fmt.Sprintf("/proc/%d/ns/net", pid), address: "10.90.0.1:53", question: "two.", process: cmd.Process.Pid}
	if text, err := os.ReadFile(filepath.Join(config, "aardvark.pid")); err == nil {
		c.process, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err := c.wait(); err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(filepath.Join(config, "aardvark.pid")); err == nil {
		c.process, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	return c, nil
}

// startDocker has dockerd make a network and two containers.
func startDocker(dir string) (*contender, error) {
	for _, p := range [...]string{"dockerd", "docker", "containerd", "iptables", "busybox"} {
		if _, err := exec.LookPath(p); err != nil {
			return nil, err
		}
	}
	// It looks for a way out of the machine.
	if err := run("sh", "-c", "ip link add up0 type veth peer name up1; ip address add 192.0.2.1/24 dev up0; ip link set up0 up; ip link set up1 up; ip route add default via 192.0.2.2"); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("daemon.json"), []byte(fmt.Sprintf(`{"deprecated-key-path": %q}`, at("key.json"))), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("dockerd", "--data-root", at("root"), "--exec-root", at("run"), "--pidfile", at("pid"), "-H", "unix://"+at("sock"),
		"--config-file", at("daemon.json"), "--exec-opt", "native.cgroupdriver=cgroupfs")
	log, err := os.Create(at("dockerd.log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	docker := "docker -H unix://" + at("sock") + " "
	script := "for i in $(seq 100); do " + docker + "version >/dev/null 2>&1 && break; sleep 0.2; done; cd " + dir + " && mkdir -p image/bin && cp $(command -v busybox) image/bin/busybox && tar -C image -c . | " +
		docker + "import - bb:1 >/dev/null && " + docker + "network create net >/dev/null && for i in one two; do " +
		docker + "run -d --cgroup-parent " + cgroup + " --network net --name $i --ulimit nofile=1024:1024 bb:1 /bin/busybox sleep 600 >/dev/null; done"
	if err := run("sh", "-ec", script); err != nil {
		text, _ := os.ReadFile(at("dockerd.log"))
		return nil, fmt.Errorf("%w\n%s", err, text[max(0, len(text)-500):])
	}
	out, err := exec.Command("sh", "-c", docker+"inspect -f '{{.State.Pid}}' one").Output()
	if err != nil {
		return nil, err
	}
	c := &contender{name: "dockerd", netns: "/proc/" + strings.TrimSpace(string(out)) + "/ns/net", address: "127.0.0.11:53", question: "two.", process: cmd.Process.Pid}
	return c, c.wait()
}

// wait waits until it answers.
func (c *contender) wait() (err error) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if err = (&contender{netns: c.netns, address: c.address, question: c.question}).ask(1, time.Millisecond); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("wait for %s: %w", c.name, err)
}
