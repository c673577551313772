// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDetachKeys: Ctrl-P Ctrl-Q leaves the container running, a lone Ctrl-P is
// a key like any other, and attach comes back to the same terminal.
func TestDetachKeys(t *testing.T) {
	t.Parallel()
	cid := filepath.Join(t.TempDir(), "id")
	s := sit(t, "vitro", "run", "--cidfile", cid, "-it", "busybox", "sh")
	s.expect(`/ # `)
	id, err := os.ReadFile(cid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { output(t, "vitro", "rm", "-f", string(id)) }()
	s.typed("stty -echo; x=kept\n\x10\x11")
	if code := s.wait(); code != 0 {
		t.Errorf("exit status %d after the keys; want 0", code)
	}
	if after := s.modes(); after != s.before {
		t.Errorf("the terminal is not as it was: %+v; want %+v", after, s.before)
	}
	again := sit(t, "vitro", "attach", string(id))
	again.typed("echo $x=$((40+2))\n")
	again.expect(`kept=42\r\n`)
	again.typed("exit 6\n")
	if code := again.wait(); code != 6 {
		t.Errorf("exit status %d; want 6", code)
	}
}

// TestExecDetachKeys: whoever leaves an exec by its keys leaves the command
// running, which can go on writing to its terminal; who has none of those keys
// types them.
func TestExecDetachKeys(t *testing.T) {
	t.Parallel()
	id := detached(t, "--network=none", "busybox", "sleep", "1000")
	s := sit(t, "vitro", "exec", "-it", "--detach-keys=ctrl-x,z", id, "sh")
	s.expect(`/ # `)
	s.typed("stty -echo; trap 'echo hung up >>/out' HUP; (while [ ! -e /stop ]; do echo $((i+=1)) >/count; seq 2000; done; echo end >>/out)\n")
	s.expect(`2000\r\n`)
	s.typed("\x10\x11") // only typed
	s.expect(`2000\r\n`)
	s.typed("\x18z")
	if code := s.wait(); code != 0 {
		t.Errorf("exit status %d after the keys; want 0", code)
	}
	if after := s.modes(); after != s.before {
		t.Errorf("the terminal is not as it was: %+v; want %+v", after, s.before)
	}
	in := func(command string) string {
		out, err := exec.Command("vitro", "exec", id, "sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for range 2 {
		before := in("cat /count")
		eventually(t, "further round of the command", func() (string, bool) { now := in("cat /count"); return now, now != "" && now != before })
	}
	in("touch /stop")
	if end := eventually(t, "end of the command", func() (string, bool) { text := in("cat /out 2>/dev/null || :"); return text, text != "" }); end != "end" {
		t.Errorf("it has ended by %q", end)
	}
	if out, err := exec.Command("vitro", "exec", "--detach-keys=nonsense", id, "true").CombinedOutput(); err == nil || !strings.Contains(string(out), "--detach-keys") {
		t.Errorf("keys that there are not: %v: %s", err, out)
	}
}

// TestRandomKills kills commands and monitors at random while others work, and
// then finds every container in a true state, and nothing left over.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	const containers = 6
	length := 8 * time.Second
	if os.Getenv("VITRO_LONG") != "" {
		length = time.Minute
	}
	name := func(i int) string { return fmt.Sprintf("random%d-%d", i, os.Getpid()) }
	random := rand.New(rand.NewPCG(3, 4))
	stop := time.Now().Add(length)
	var mu sync.Mutex
	pick := func(n int) int { mu.Lock(); defer mu.Unlock(); return random.IntN(n) }
	var workers sync.WaitGroup
	for i := range containers {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for time.Now().Before(stop) {
				orders := [][]string{
					{"run", "-d", "--network=none", "--name", name(i), "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"},
					{"start", name(i)}, {"stop", "-t", "1", name(i)}, {"kill", name(i)}, {"rm", "-f", name(i)}, {"exec", name(i), "true"},
					{"restart", "-t", "1", name(i)}, {"logs", name(i)}, {"inspect", name(i)}, {"pause", name(i)}, {"unpause", name(i)},
				}
				cmd := exec.Command("vitro", orders[pick(len(orders))]...)
				if cmd.Start() != nil {
					continue
				}
				if pick(3) == 0 {
					time.AfterFunc(time.Duration(pick(120))*time.Millisecond, func() { _ = cmd.Process.Kill() })
				}
				_ = cmd.Wait() // most can't do what they are told
			}
		}()
	}
	for time.Now().Before(stop) {
		time.Sleep(100 * time.Millisecond)
		if id, err := os.Readlink(filepath.Join(st.root, "by-name", name(pick(containers)))); err == nil {
			if pid, err := strconv.Atoi(file(id, "monitor")); err == nil && pid > 1 && isVitro(pid) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	workers.Wait()
	output(t, "vitro", "system", "sweep")
	for i := range containers {
		id, err := os.Readlink(filepath.Join(st.root, "by-name", name(i)))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		said := output(t, "vitro", "inspect", "-f", "{{.State.Running}} {{.State.Pid}}", id)
		running, pid, _ := strings.Cut(said, " ")
		if p, _ := strconv.Atoi(pid); running == "true" && gone(p) || running == "false" && p != 0 {
			t.Errorf("container %s: said to be %s, its process: %s", id, said, status(p, "State"))
		}
		output(t, "vitro", "rm", "-f", id)
		if _, err := os.Lstat(filepath.Join(st.root, "containers", id)); err == nil {
			t.Errorf("container %s is there after it was removed", id)
		}
	}
}

// isVitro keeps a test from killing what has got the number of a monitor's.
func isVitro(pid int) bool {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return strings.Contains(exe, "vitro")
}
