// SPDX-License-Identifier: Apache-2.0

package see

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// again reads a process back into a bundle, runs that with vitro-oci, and
// returns the other process.
func again(t *testing.T, pid int, seconds string) int {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	vitro(t, "explain", "--bundle", bundle, strconv.Itoa(pid))
	file := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := nap() // so that they can be told apart
	data = []byte(strings.Replace(string(data), `"`+seconds+`"`, `"`+other+`"`, 1))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	// In a user namespace the way to the root has to be open to its users.
	for _, dir := range [...]string{filepath.Dir(bundle), filepath.Dir(filepath.Dir(bundle)), bundle} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, other, st.oci, "run", "-b", bundle, "again-"+other)
}

type difference struct{ Topic, Item, A, B, Flag string }

func contrast(t *testing.T, args ...string) (list []difference) {
	t.Helper()
	text := vitro(t, append([]string{"contrast", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("contrast: %v in %s", err, text)
	}
	return list
}

func alike(t *testing.T, a, b int) {
	t.Helper()
	for _, d := range contrast(t, strconv.Itoa(a), strconv.Itoa(b)) {
		t.Errorf("%s: %s is %q, and made again %q", d.Topic, d.Item, d.A, d.B)
	}
}

func TestOwnContainersMadeAgain(t *testing.T) {
	need(t, "busybox")
	data := filepath.Join(st.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string]string{
		"none":      "",
		"limits":    "-m 50m --cpus .5 --cpu-shares 300 --pids-limit 99 --oom-score-adj 500",
		"read-only": "--read-only --tmpfs /t:size=1m,mode=700 --shm-size 3m -v " + data + ":/data:ro -v " + data + ":/more",
		"rights":    "--cap-add NET_ADMIN --cap-drop CHOWN --security-opt no-new-privileges --user 5:6 --group-add 7",
		"unconfined": "--security-opt seccomp=unconfined --security-opt systempaths=unconfined --ulimit nofile=100:200 " +
			"--sysctl net.ipv4.ip_forward=1 --hostname other --domainname else",
		"privileged": "--privileged",
		"host's":     "--pid=host --ipc=host --uts=host",
		"users":      "--userns=auto",
		"clocks":     "--time=private",
		"devices":    "--device /dev/fuse",
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(flags, "/dev/fuse") {
				if _, err := os.Stat("/dev/fuse"); err != nil {
					t.Skip("needs /dev/fuse")
				}
			}
			seconds := nap()
			argv := slices.Concat([]string{st.vitro, "--root", filepath.Join(st.dir, "root"), "run", "--rm", "--network", "none"},
				strings.Fields(flags), []string{"busybox", "sleep", seconds})
			pid := start(t, seconds, argv...)
			alike(t, pid, again(t, pid, seconds))
		})
	}
}

func TestARuntimesContainerMadeAgain(t *testing.T) {
	need(t, "busybox")
	seconds := nap()
	first := start(t, seconds, st.vitro, "--root", filepath.Join(st.dir, "root"), "run", "--rm", "--network", "none", "busybox", "sleep", seconds)
	second := again(t, first, seconds) // is vitro-oci's
	alike(t, second, again(t, second, strconv.Itoa(naps)))
}

// A script is the plan in other words: what it makes is what was read.
func TestFlagsAreExplained(t *testing.T) {
	need(t, "busybox")
	list := contrast(t, "--flags", "--network=host -m 50m --read-only --cap-add NET_ADMIN --cap-drop CHOWN")
	for _, want := range []difference{
		{"namespaces", "network", "its own", "the host's", "--network=host"},
		{"limits", "memory", "no limit", "50MiB", "--memory 50m"},
		{"root", "files", "writable", "read-only", "--read-only"},
		{"capabilities", "CAP_NET_ADMIN", "no", "yes", "--cap-add NET_ADMIN"},
		{"capabilities", "CAP_CHOWN", "yes", "no", "--cap-drop CHOWN"},
	} {
		if !slices.Contains(list, want) {
			t.Errorf("contrast --flags does not say %+v, but %+v", want, list)
		}
	}
	if list := contrast(t, "--flags", "--network=bridge"); len(list) > 0 {
		t.Errorf("contrast --flags of what is so anyway: %+v", list)
	}
}
