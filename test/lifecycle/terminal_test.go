// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/test/bundle"
)

func TestConsole(t *testing.T) {
	b := box(t)
	b.Spec.Process.Terminal = true
	b.Spec.Process.ConsoleSize = &specs.Box{Height: 40, Width: 100}
	b.Spec.Process.Env = append(b.Spec.Process.Env, "PS1=> ")
	b.Spec.Process.Args = []string{"sh"}
	b.Save()
	c := bundle.NewConsole(t)
	b.Must("create", "--console-socket", c.Path, b.ID)
	c.Master()
	b.Must("start", b.ID)
	c.Expect("> ")
	c.Type("stty size\n")
	c.Expect("\r\n40 100\r\n")
	c.Resize(50, 132)
	c.Type("stty size\n")
	c.Expect("\r\n50 132\r\n")
	c.Type("tty; stat -c %t /dev/console\n")
	c.Expect("\r\n/dev/pts/0\r\n88\r\n") // 136, in hexadecimal
	c.Type("echo on; sleep 1000\n")
	c.Expect("\r\non\r\n")
	bundle.Eventually(t, "sleep runs", func() bool { return strings.Contains(b.Do("exec", b.ID, "ps").Out, "sleep 1000") })
	c.Type("\x03")
	c.Type("echo status=$?\n")
	c.Expect("status=130\r\n")
	c.Type("exit\n")
	bundle.Eventually(t, "stopped", ended(b))
}

func TestConsoleOfExec(t *testing.T) {
	b := box(t)
	b.Start()
	c := bundle.NewConsole(t)
	pidFile := filepath.Join(filepath.Dir(b.Dir), "pid")
	b.Must("exec", "-d", "-t", "--console-socket", c.Path, "--pid-file", pidFile, "-e", "PS1=> ", b.ID, "sh")
	c.Expect("> ")
	c.Type("tty\n")
	c.Expect("\r\n/dev/pts/0\r\n")
	c.Resize(33, 77)
	c.Type("stty size\n")
	c.Expect("\r\n33 77\r\n")
	data, err := os.ReadFile(pidFile)
	must(t, err)
	if comm, err := os.ReadFile("/proc/" + string(data) + "/comm"); err != nil || strings.TrimSpace(string(comm)) != "sh" {
		t.Errorf("the PID file's process is %q, %v", comm, err)
	}
	c.Type("exit\n")
	bundle.Eventually(t, "the shell has ended", func() bool {
		stat, err := os.ReadFile("/proc/" + string(data) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// A terminal with nobody at its other side, and a socket with no terminal, are refused.
func TestConsoleMismatch(t *testing.T) {
	b := box(t)
	b.Save()
	for _, line := range [][]string{
		{"create", "--console-socket", "/tmp/no", b.ID},
		{"run", "--console-socket", "/tmp/no", b.ID},
		{"run", "-d", "--console-socket", "/tmp/no", b.ID},
	} {
		if r := b.Do(line...); r.Code == 0 || !strings.Contains(r.Err, "console") {
			t.Errorf("%s: %v", line, r)
		}
	}
	b.Spec.Process.Terminal = true
	b.Save()
	for _, line := range [][]string{{"create", b.ID}, {"run", "-d", b.ID}, {"create", "--console-socket", "/tmp/no/such", b.ID}} {
		if r := b.Do(line...); r.Code == 0 {
			t.Errorf("%s: %v", line, r)
		}
		if s := b.Status(); s != "" {
			t.Errorf("%s: the container is %s", line, s)
		}
	}
}
