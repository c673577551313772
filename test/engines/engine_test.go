// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// engine is a program that starts containers with the runtime under test.
type engine struct {
	name    string
	prelude string // shell: what the cases' scripts call
	load    string // shell: takes the images in
	clear   string // shell: removes the container $c and its kin, if they are there
	log     string // the daemon's
}

// testCase is a script, and what comes of it.
type testCase struct {
	name   string
	script string
	want   string // of stdout: the text, or after a ~ a regular expression for all of it
	code   int
	stderr string // a regular expression, found in it; "" if it doesn't matter
	only   string // engines, if it isn't for all that the table is for
	short  bool   // also part of the sample
	alone  bool   // not beside others: it looks at all containers, or needs the processors
}

// caseLimit is how long a script may take.
const caseLimit = 2 * time.Minute

// outcome is how a script went.
type outcome struct {
	stdout, stderr string
	code           int
}

// shell runs a script with the engine's words, for the container c.
func (e engine) shell(c, script string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), caseLimit)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return outcome{}, err
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", e.prelude+"\n"+script)
	cmd.Env = append(os.Environ(), "c="+c, "dir="+st.dir, "images="+st.image, "self="+self, "runtime="+st.runtime,
		"img=localhost/bb:1", "HOME="+st.dir, "XDG_RUNTIME_DIR=/run")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	out := outcome{stdout.String(), stderr.String(), 0}
	exit := new(exec.ExitError)
	switch {
	case ctx.Err() != nil:
		return out, fmt.Errorf("no end after %v", caseLimit)
	case errors.Is(err, exec.ErrWaitDelay): // it left a child that holds its output
	case errors.As(err, &exit):
		out.code = exit.ExitCode()
	case err != nil:
		return out, err
	}
	return out, nil
}

// must runs a script of the harness itself.
func (e engine) must(t *testing.T, script string) string {
	t.Helper()
	out, err := e.shell("none", script)
	if err != nil || out.code != 0 {
		t.Fatalf("%s: %v, exit status %d\n%s%s%s", script, err, out.code, out.stdout, out.stderr, tailOf(e.log))
	}
	return out.stdout
}

// run has the engine do what the tables say.
func (e engine) run(t *testing.T, tables ...[]testCase) {
	e.must(t, e.load)
	before := look()
	var list []testCase
	for _, c := range slices.Concat(tables...) {
		if (c.only == "" || slices.Contains(strings.Fields(c.only), e.name)) && (c.short || !testing.Short()) {
			list = append(list, c)
		}
	}
	t.Run("cases", func(t *testing.T) {
		for i, c := range list {
			t.Run(c.name, func(t *testing.T) {
				if !c.alone {
					t.Parallel()
				}
				e.try(t, c, fmt.Sprintf("c%d", i))
			})
		}
	})
	e.nothingLeft(t, before)
}

// terminal takes away what script(1) and a line discipline add.
var terminal = strings.NewReplacer("\r", "", "^@", "", "^D", "", "\b", "")

// try runs one case.
func (e engine) try(t *testing.T, c testCase, name string) {
	out, err := e.shell(name, c.script)
	var complaints []string
	if err != nil {
		complaints = append(complaints, err.Error())
	}
	if out.code != c.code {
		complaints = append(complaints, fmt.Sprintf("got exit status %d, want %d", out.code, c.code))
	}
	stdout := strings.TrimSpace(terminal.Replace(out.stdout))
	pattern, isPattern := strings.CutPrefix(c.want, "~")
	switch {
	case isPattern && !regexp.MustCompile(`^(?s:`+pattern+`)$`).MatchString(stdout):
		complaints = append(complaints, fmt.Sprintf("got stdout %q, want a match of %q", stdout, pattern))
	case !isPattern && stdout != c.want:
		complaints = append(complaints, fmt.Sprintf("got stdout %q, want %q", stdout, c.want))
	}
	if c.stderr != "" && !regexp.MustCompile(c.stderr).MatchString(out.stderr) {
		complaints = append(complaints, fmt.Sprintf("got on stderr no match of %q", c.stderr))
	}
	if len(complaints) > 0 {
		t.Errorf("%s\n%s\nstderr: %s", strings.Join(complaints, "\n"), c.script, out.stderr)
	}
	if out, err := e.shell(name, e.clear); err != nil || out.code != 0 {
		t.Errorf("remove what the case has made: %v, exit status %d: %s", err, out.code, out.stderr)
	}
}

// daemon starts a program that serves the engine's socket, until the test ends.
func daemon(t *testing.T, log string, ready func() bool, argv ...string) {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "HOME="+st.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("%s did not end", argv[0])
			cmd.Process.Kill()
		}
	})
	for deadline := time.Now().Add(30 * time.Second); !ready(); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", argv[0], err, tailOf(log))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s isn't ready\n%s", argv[0], tailOf(log))
		}
	}
}

// tailOf is the end of a file.
func tailOf(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-3000):])
}

// sub makes a folder of the stage's.
func sub(t *testing.T, names ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{st.dir}, names...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
