// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"vitro/engine"
	"vitro/plan"
	"vitro/plan/run"
)

// view is how a user wants to look at a start.
type view struct {
	Trace string // "-": the waterfall; else a file
	Step  bool
	Until string
}

// text is the view for the process beside the container, which makes the
// start; "" for none.
func (v *view) text() string {
	if *v == (view{}) {
		return ""
	}
	if v.Trace != "" && v.Trace != "-" { // it stands in another folder
		if abs, err := filepath.Abs(v.Trace); err == nil {
			v.Trace = abs
		}
	}
	data, _ := json.Marshal(v) // three plain fields
	return string(data)
}

// besideHooks is how the process beside the container shows the start.
func besideHooks(text string) engine.Hooks {
	var v view
	if json.Unmarshal([]byte(text), &v) != nil {
		return engine.Hooks{}
	}
	return v.hooks()
}

func (v *view) flags(fl *pflag.FlagSet) {
	fl.StringVar(&v.Trace, "trace", "", "show how long each step took; with =FILE, write a trace for chrome://tracing or Perfetto")
	fl.Lookup("trace").NoOptDefVal = "-"
	fl.BoolVar(&v.Step, "step", false, "stop before each step, show it, go on with Enter")
	fl.StringVar(&v.Until, "step-until", "", "run up to the step of this name, then as --step")
}

func (v *view) hooks() engine.Hooks {
	var h engine.Hooks
	if v.Trace != "" {
		h.Trace = true
		h.Started = func(p *engine.Prepared, c *run.Child) { v.show(p.Plan, c.Spans) }
	}
	if v.Step || v.Until != "" {
		s := &stepper{until: v.Until}
		h.Before = s.before
	}
	return h
}

// show prints the waterfall, or writes it for a trace viewer.
func (v *view) show(p *plan.Plan, spans []run.Span) {
	if v.Trace == "-" {
		_ = run.Waterfall(os.Stderr, p, spans)
		return
	}
	f, err := os.OpenFile(v.Trace, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err == nil {
		err = run.ChromeTrace(f, p, spans)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vitro: warning: write trace:", err)
	}
}

// stepper stops before steps, for a person to look at what is there.
type stepper struct {
	until string
	in    *bufio.Reader
	tty   *os.File
}

// before shows what is about to happen. The answers come from the terminal,
// since standard input may be the container's.
func (s *stepper) before(p *engine.Prepared, i, pid int) error {
	if s.until != "" {
		at := p.Plan.Find(s.until)
		if at < 0 {
			return &engine.Error{Err: fmt.Errorf("stop at step %q: the plan has none of this name", s.until), Text: "vitro explain run shows the names"}
		}
		if i < at {
			return nil
		}
		s.until = ""
	}
	if s.in == nil {
		s.tty = os.Stdin
		if f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
			s.tty = f
		}
		s.in = bufio.NewReader(s.tty)
	}
	step := p.Plan.Steps[i]
	w := os.Stderr
	fmt.Fprintf(w, "\n[%d/%d] %s: %s\n", i+1, len(p.Plan.Steps), step.Where(), step.Action.Line())
	if step.Why != "" {
		fmt.Fprintf(w, "  why:   %s\n", step.Why)
	}
	for _, l := range step.Shell() {
		fmt.Fprintf(w, "  shell: %s\n", l)
	}
	for _, l := range look(step.Action, pid) {
		fmt.Fprintf(w, "  look:  %s\n", l)
	}
	fmt.Fprint(w, "Enter: go on; q: give up ")
	line, err := s.in.ReadString('\n')
	if err != nil || strings.TrimSpace(line) == "q" {
		return fmt.Errorf("run container: given up at step %d", i+1)
	}
	return nil
}

// looks are the commands that show what a kind of step changes, by verb.
var looks = [...]struct{ verbs, command string }{
	{"clone unshare", "lsns -p $PID"},
	{"uid-map gid-map become-root user", "grep -E 'Uid|Gid|Groups' /proc/$PID/status; cat /proc/$PID/uid_map"},
	{"mount bind overlay root attach pivot_root mask readonly seal propagation scratch", "findmnt -N $PID"},
	{"mkdir mknod symlink", "ls -l /proc/$PID/root/dev"},
	{"hostname domainname", "nsenter -t $PID -u hostname"},
	{"link-up veth address route", "nsenter -t $PID -n ip address"},
	{"cgroup mkcgroup", "cat /proc/$PID/cgroup"},
	{"bounding-set capabilities", "grep Cap /proc/$PID/status"},
	{"seccomp no-new-privs", "grep -E 'Seccomp|NoNewPrivs' /proc/$PID/status"},
	{"rlimit", "prlimit --pid $PID"},
	{"console stdio close-range", "ls -l /proc/$PID/fd"},
	{"setsid", "ps -o pid,ppid,sid,tty -p $PID"},
	{"exec", "tr '\\0' ' ' </proc/$PID/cmdline"},
	{"bridge veth", "ip link show type bridge"},
	{"firewall", "nft list ruleset"},
	{"forward", "sysctl net.ipv4.ip_forward"},
}

// look is what to look at from another terminal, with the real PID.
func look(a plan.Action, pid int) []string {
	var out []string
	for _, l := range looks {
		for verb := range strings.SplitSeq(l.verbs, " ") {
			if verb == a.Verb() && (pid != 0 || !strings.Contains(l.command, "$PID")) {
				out = append(out, strings.ReplaceAll(l.command, "$PID", fmt.Sprint(pid)))
			}
		}
	}
	return out
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
