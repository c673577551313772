// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"vitro/network/rules"
	"vitro/test/island"
)

var update = flag.Bool("update", false, "write the golden files anew")

// machine is one with all that can be drawn, and with hostile names.
func machine() *Machine {
	const evil = "\x1b]0;x\a<script>&\xff\u202e"
	return &Machine{
		Unseen: []string{"the inside of 2 network namespaces: look as root"},
		Namespaces: []*Namespace{
			{ID: 1, Own: true, Processes: []Process{{1, "systemd"}, {7, evil}, {8, "sshd"}, {9, "bash"}},
				Links: []Link{
					{Index: 1, Name: "lo", Kind: "loopback", Up: true, Addresses: []string{"127.0.0.1/8"}},
					{Index: 2, Name: "eth0", Up: true, Addresses: []string{"192.0.2.5/24", "fe80::1/64"}},
					{Index: 3, Name: "vitro0", Kind: "bridge", Up: true, Addresses: []string{"172.29.0.1/16"}},
					{Index: 4, Name: "v0e9d76e79b", Kind: "veth", Up: true, Master: 3, Peer: &End{2, 2}},
					{Index: 5, Name: "va", Kind: "veth", Up: true, Master: 3, Peer: &End{3, 2}},
					{Index: 6, Name: "consh-0", Kind: "veth", Up: true, Addresses: []string{"10.0.0.1/24"}, Peer: &End{2, 3}},
					{Index: 7, Name: "eth0.7", Kind: "vlan", Detail: "7", Up: true, Peer: &End{1, 2}},
					{Index: 8, Name: "tun0", Kind: "tuntap", Detail: "tun", Addresses: []string{"10.8.0.1/24"}},
					{Index: 9, Name: "tunl0", Kind: "ipip"},
					{Index: 10, Name: "lost", Kind: "veth", Up: true, Master: 3},
				},
				Routes: []Route{{To: "default", Via: "192.0.2.1", Link: "eth0"}, {To: "10.9.0.0/16", Special: "blackhole"}},
				Rules: []rules.Chain{{Rules: []rules.Rule{
					{NAT: &rules.NAT{Kind: "dnat", Protocol: "tcp", Port: "8080", To: "172.29.0.2:80"}},
					{NAT: &rules.NAT{Kind: "dnat", To: "map @x", Map: []rules.Pair{{Key: "192.0.2.5 . udp . 53", Value: "172.29.0.2 . 5353"}}}},
					{NAT: &rules.NAT{Kind: "masquerade", Source: "172.29.0.0/16"}},
				}}}},
			{ID: 2, Processes: []Process{{40, "nginx"}, {41, "nginx"}}, Containers: []Container{{"vitro", strings.Repeat("0e9d76e79b91", 5) + "0000", "web"}},
				Links: []Link{{Index: 2, Name: "eth0", Kind: "veth", Up: true, Addresses: []string{"172.29.0.2/16"}, Peer: &End{1, 4}}, {Index: 3, Name: "consh-1", Kind: "veth", Addresses: []string{"10.0.0.2/24"}, Peer: &End{1, 6}}}},
			{ID: 3, Names: []string{"/run/netns/" + evil}, Links: []Link{{Index: 2, Name: evil, Kind: "veth", Up: true, Addresses: []string{"172.29.0.3/16"}, Peer: &End{1, 5}}}},
			{ID: 4, Processes: []Process{{50, "box"}}, Links: []Link{{Index: 2, Name: "mv0", Kind: "macvlan", Detail: "mode bridge", Up: true, Addresses: []string{"192.0.2.6/24"}, Peer: &End{1, 2}}}},
			{ID: 5, Held: []int{7}, Closed: denied},
		},
	}
}

// crowd is a bridge with many.
func crowd(n int) *Machine {
	host := &Namespace{ID: 1, Own: true, Processes: []Process{{1, "init"}}, Links: []Link{{Index: 1, Name: "br0", Kind: "bridge", Up: true}}}
	m := &Machine{Namespaces: []*Namespace{host}}
	for i := 2; i < n+2; i++ {
		host.Links = append(host.Links, Link{Index: i, Name: fmt.Sprintf("v%d", i), Kind: "veth", Up: true, Master: 1, Peer: &End{uint64(i), 2}})
		m.Namespaces = append(m.Namespaces, &Namespace{ID: uint64(i), Processes: []Process{{i, "sleep"}}, Containers: []Container{{"docker", fmt.Sprintf("%064x", i), fmt.Sprintf("web%d", i)}},
			Links: []Link{{Index: 2, Name: "eth0", Kind: "veth", Up: true, Addresses: []string{fmt.Sprintf("10.0.0.%d/16", i)}, Peer: &End{1, i}}}})
	}
	return m
}

func TestPictures(t *testing.T) {
	for name, got := range map[string]string{
		"machine.txt": Arrange(machine()).Text(), "machine.svg": Arrange(machine()).SVG(),
		"crowd.txt": Arrange(crowd(30)).Text(), "crowd.svg": Arrange(crowd(30)).SVG(), "alone.txt": Arrange(crowd(0)).Text(),
	} {
		file := "testdata/" + name
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("got:\n%s\nwant (%s):\n%s", got, file, want)
		}
		for _, r := range got {
			if r < ' ' && r != '\n' || r == 0x7f || r == 0xfffd || r == '\u202e' {
				t.Errorf("%s has a %q in it", name, r)
			}
		}
	}
}

// wellFormed reads the whole of it, and looks for what a browser would run.
func wellFormed(svg string) error {
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !slices.Contains([]string{"svg", "style", "rect", "text", "path", "circle"}, e.Name.Local) {
			return fmt.Errorf("element %q", e.Name.Local)
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" {
				return fmt.Errorf("attribute %q", a.Name.Local)
			}
		}
	}
}

// Whatever things are called, the pictures are made of our own elements only.
func FuzzNames(f *testing.F) {
	f.Add("</text><script>alert(1)</script>", "\x1b[2J")
	f.Add("]]>", "\xff\u2028")
	f.Fuzz(func(t *testing.T, a, b string) {
		m := machine()
		m.Namespaces[0].Links[1].Name, m.Namespaces[0].Links[2].Name = a, b
		m.Namespaces[1].Processes[0].Command, m.Namespaces[1].Containers[0].Name = a, b
		m.Namespaces[2].Names[0], m.Namespaces[2].Links[0].Name = "/run/netns/"+a, b
		m.Namespaces[0].Rules[0].Rules[0].NAT.To = a
		p := Arrange(m)
		if err := wellFormed(p.SVG()); err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Text() {
			if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
				t.Fatalf("%q in the text", r)
			}
		}
		if _, err := json.Marshal(m); err != nil {
			t.Fatal(err)
		}
	})
}

func TestContainerOf(t *testing.T) {
	id := strings.Repeat("0123456789ab", 5) + "cdef"
	for cgroup, want := range map[string]string{
		"0::/system.slice/docker-" + id + ".scope":                               "docker " + id,
		"3:pids:/docker/" + id + "\n0::/":                                        "docker " + id,
		"0::/machine.slice/libpod-" + id + ".scope/container":                    "podman " + id,
		"5:cpu:/libpod_parent/libpod-" + id:                                      "podman " + id,
		"0::/machine.slice/libpod-conmon-" + id + ".scope":                       "",
		"2:pids:/vitro/" + id:                                                    "vitro " + id,
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope": "containerd " + id,
		"0::/lxc.payload.box":                                                    "lxc box",
		"0::/user.slice/user-0.slice/session-1.scope":                            "",
		"0::/system.slice/docker.service":                                        "",
		"":                                                                       "",
		"garbage":                                                                "",
	} {
		c, ok := containerOf(cgroup)
		got := ""
		if ok {
			got = c.Engine + " " + c.ID
		}
		if got != want {
			t.Errorf("containerOf(%q) = %q, want %q", cgroup, got, want)
		}
	}
}

func fresh(t *testing.T) bool {
	t.Helper()
	return island.FreshProcesses(t, "nft", "nsenter", "unshare")
}

var sh = island.Sh

func process(t *testing.T) int {
	t.Helper()
	pid, _ := island.Process(t)
	return pid
}

// What ip(8) and lsns(8) would say of a machine is in what we read, and each cable's ends are the right ones.
func TestRead(t *testing.T) {
	if !fresh(t) {
		return
	}
	pid := process(t)
	held, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", process(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	sh(t, fmt.Sprintf(`
ip netns add named; ip netns add far
ip link add br0 type bridge; ip link set br0 up; ip addr add 10.0.0.1/24 dev br0
ip link add a0 type veth peer name a1 netns %d; ip link set a0 master br0 up
ip link add b0 type veth peer name b1 netns named
ip -n named link add c0 type veth peer name c1 netns far
ip -n named link add e0 type veth peer name e1 netns %d
ip link add x0 type veth peer name x1
nsenter -t %d -n ip addr add 10.0.0.2/24 dev a1
nsenter -t %d -n ip link set a1 up
ip route add 10.9.0.0/16 via 10.0.0.2
nft 'table ip n { chain c { type nat hook postrouting priority srcnat; ip saddr 10.0.0.0/24 masquerade; }; }'
`, pid, pid, pid, pid))
	m, err := Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Unseen) > 0 {
		t.Errorf("not seen: %q", m.Unseen)
	}
	id, err := inode(fmt.Sprintf("/proc/self/fd/%d", held.Fd()))
	if err != nil || m.namespace(id) == nil {
		t.Errorf("namespace %d is not there: %v", id, err)
	}
	if len(m.Namespaces) != 5 {
		t.Errorf("%d namespaces, want 5", len(m.Namespaces))
	}
	for _, want := range []string{"a0-a1", "a1-a0", "b0-b1", "b1-b0", "c0-c1", "c1-c0", "e0-e1", "e1-e0", "x0-x1", "x1-x0"} {
		if from, to, _ := strings.Cut(want, "-"); peerOf(m, from) != to {
			t.Errorf("the peer of %s is %q", from, peerOf(m, from))
		}
	}
	own := m.Namespaces[0]
	var links []struct {
		Ifname  string
		Ifindex int
	}
	if err := json.Unmarshal([]byte(sh(t, "ip -j link")), &links); err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if k := own.link(l.Ifindex); k == nil || k.Name != l.Ifname {
			t.Errorf("link %s of ip is %v here", l.Ifname, k)
		}
	}
	text := Arrange(m).Text()
	for _, want := range []string{"br0 ══ bridge · 10.0.0.1/24", "a0 ── a1 ┤", "10.0.0.2/24", "10.9.0.0/16 via 10.0.0.2 dev br0", "10.0.0.0/24 leaves with this machine's address", "named"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if err := wellFormed(Arrange(m).SVG()); err != nil {
		t.Error(err)
	}
}

// peerOf is the name of a link's other end.
func peerOf(m *Machine, name string) string {
	for _, n := range m.Namespaces {
		for _, l := range n.Links {
			if l.Name == name && l.Peer != nil {
				if p := m.namespace(l.Peer.Namespace).link(l.Peer.Link); p != nil {
					return p.Name
				}
			}
		}
	}
	return ""
}

// An ordinary user sees less, and is told so.
func TestReadAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("needs to be run by an ordinary user")
	}
	m, err := Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Unseen) == 0 || len(m.Namespaces[0].Links) == 0 {
		t.Errorf("unseen %q, %d links", m.Unseen, len(m.Namespaces[0].Links))
	}
}

// What is closed to us and open to another is taken from it, and what we have seen ourselves stays.
func TestLearn(t *testing.T) {
	m := &Machine{Unseen: []string{"something else"}, Namespaces: []*Namespace{
		{ID: 1, Own: true, Links: []Link{{Name: "eth0"}}},
		{ID: 2, Closed: denied, Containers: []Container{{Name: "web"}}},
		{ID: 3, Closed: denied},
	}}
	m.sayClosed()
	m.Learn(&Machine{Namespaces: []*Namespace{{ID: 2, Own: true, Links: []Link{{Name: "vitro0"}}}, {ID: 1, Closed: denied}, {ID: 4, Own: true}}})
	var b strings.Builder
	for _, n := range m.Namespaces {
		fmt.Fprintf(&b, "%d own %t closed %q links %d containers %d\n", n.ID, n.Own, n.Closed, len(n.Links), len(n.Containers))
	}
	for _, u := range m.Unseen {
		b.WriteString(u + "\n")
	}
	const want = `1 own true closed "" links 1 containers 0
2 own false closed "" links 1 containers 1
3 own false closed "not allowed" links 0 containers 0
4 own false closed "" links 0 containers 0
something else
the inside of 1 network namespaces: look as root, or as the root of their user namespace
`
	if got := b.String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
