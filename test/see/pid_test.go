// SPDX-License-Identifier: Apache-2.0

package see

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"vitro/inspect/process"
)

func pid(t *testing.T, args ...string) *process.Process {
	t.Helper()
	p := new(process.Process)
	if err := json.Unmarshal([]byte(vitro(t, append([]string{"pid", "--json"}, args...)...)), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// output is what an oracle says.
func output(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", argv, err, out)
	}
	return string(out)
}

func TestWhoseTheOtherEndIs(t *testing.T) {
	need(t, "ip", "unshare")
	seconds := nap()
	first := start(t, seconds, "unshare", "--net", "--pid", "--fork", "--kill-child", "sleep", seconds)
	output(t, "ip", "link", "add", "seebr", "type", "bridge")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "seebr").Run() })
	output(t, "ip", "link", "add", "seeout", "type", "veth", "peer", "name", "seein", "netns", strconv.Itoa(first))
	output(t, "ip", "link", "set", "seeout", "master", "seebr")
	for _, l := range pid(t, strconv.Itoa(first)).Links {
		if l.Name != "seein" {
			continue
		}
		if l.Type != "veth" || l.Peer == nil || l.Peer.Name != "seeout" || l.Peer.Master != "seebr" {
			t.Errorf("link = %+v, peer %+v; want veth, seeout in seebr", l, l.Peer)
		}
		if mac := output(t, "nsenter", "-t", strconv.Itoa(first), "-n", "ip", "-d", "link", "show", "seein"); !strings.Contains(mac, l.MAC) {
			t.Errorf("address = %s, ip says %s", l.MAC, mac)
		}
		return
	}
	t.Errorf("the link was not found: %s", vitro(t, "pid", strconv.Itoa(first)))
}

func TestAContainersProcess(t *testing.T) {
	need(t, "busybox", "findmnt", "getpcaps")
	seconds := nap()
	first := start(t, seconds, st.vitro, "--root", st.dir+"/root", "run", "--rm", "--network", "none", "-m", "50m", "--cap-drop", "ALL", "--cap-add", "CHOWN", "busybox", "sleep", seconds)
	p := pid(t, strconv.Itoa(first))
	if p.Container == nil || p.Container.Engine != "vitro" || p.Seccomp != 2 {
		t.Errorf("container = %+v, seccomp %d; want vitro's, with filters", p.Container, p.Seccomp)
	}
	if caps := output(t, "getpcaps", strconv.Itoa(first)); !strings.Contains(caps, "cap_chown=") || p.Capabilities.Effective.String() != "chown" {
		t.Errorf("capabilities = %s, getpcaps says %s", p.Capabilities.Effective, caps)
	}
	lines := strings.Split(strings.TrimSpace(output(t, "findmnt", "-N", strconv.Itoa(first), "--noheadings", "--list", "--output", "TARGET")), "\n")
	if len(lines) != len(p.Mounts) {
		t.Errorf("%d mounts, findmnt has %d", len(p.Mounts), len(lines))
	}
	found := false
	for _, c := range p.Cgroups {
		for _, v := range c.Values {
			found = found || v.Name == "memory.limit" && v.Value == strconv.Itoa(50<<20)
		}
	}
	if !found {
		t.Errorf("the limit of memory is not in %+v", p.Cgroups)
	}
	// By its ID, and by its number inside.
	if q := pid(t, p.Container.ID[:12]); q.PID != first {
		t.Errorf("%s is process %d, want %d", p.Container.ID[:12], q.PID, first)
	}
	if q := pid(t, "--inside", "1", "--of", p.Container.ID); q.PID != first {
		t.Errorf("process 1 of it is %d, want %d", q.PID, first)
	}
}

func TestTwoContainersContrast(t *testing.T) {
	need(t, "busybox")
	run := func(flags ...string) string {
		seconds := nap()
		argv := append([]string{st.vitro, "--root", st.dir + "/root", "run", "--rm", "--network", "none"}, flags...)
		return strconv.Itoa(start(t, seconds, append(argv, "busybox", "sleep", seconds)...))
	}
	a, b := run(), run("-m", "50m", "--read-only", "--cap-drop", "CHOWN", "--pid=host", "--ulimit", "nofile=64:128")
	list := contrast(t, a, b)
	for _, flag := range []string{"--memory 50m", "--read-only", "--cap-drop CHOWN", "--pid=host", "--ulimit nofile=64:128"} {
		found := false
		for _, d := range list {
			found = found || d.Flag == flag
		}
		if !found {
			t.Errorf("contrast doesn't say %q: %+v", flag, list)
		}
	}
}
