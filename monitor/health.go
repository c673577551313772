// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/event"
	"vitro/internal/smallfile"
)

// HealthFile is the file in the container's folder that says how it is.
const HealthFile = "health"

// The statuses of a container with a health check, as Docker has them.
const (
	Starting  = "starting"
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
)

// A Check is one check of a container's health.
type Check struct {
	Start, End time.Time
	Code       int // of the command; -1 if it took too long, or could not be run
	Output     string
}

// Condition is how a container is: lines of a name and a value.
type Condition struct {
	Status  string
	Failing int     // checks in a row
	Log     []Check // the last five, the oldest first
}

const (
	checksKept  = 5
	outputLimit = 4096 // of a check, in bytes, as Docker has it
)

// Append appends the file's text.
func (c *Condition) Append(b []byte) []byte {
	b = fmt.Appendf(b, "status %s\nfailing %d\n", c.Status, c.Failing)
	for _, l := range c.Log {
		b = fmt.Appendf(b, "check %s %s %d %s\n", l.Start.UTC().Format(time.RFC3339Nano), l.End.UTC().Format(time.RFC3339Nano), l.Code, strconv.Quote(l.Output))
	}
	return b
}

// ParseCondition reads what Append has written.
func ParseCondition(data []byte) (*Condition, error) {
	c := new(Condition)
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch name {
		case "status":
			c.Status = value
		case "failing":
			c.Failing, err = strconv.Atoi(value)
		case "check":
			var l Check
			if l, err = parseCheck(value); err == nil {
				c.Log = append(c.Log, l)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read health: line %q: %w", line, err)
		}
	}
	return c, nil
}

func parseCheck(value string) (l Check, err error) {
	f := strings.SplitN(value, " ", 4)
	if len(f) != 4 {
		return l, errMessage
	}
	for _, t := range [...]struct {
		text string
		to   *time.Time
	}{{f[0], &l.Start}, {f[1], &l.End}} {
		if *t.to, err = time.Parse(time.RFC3339Nano, t.text); err != nil {
			return l, err
		}
	}
	if l.Code, err = strconv.Atoi(f[2]); err != nil {
		return l, err
	}
	l.Output, err = strconv.Unquote(f[3])
	return l, err
}

// ReadCondition reads how the container in a folder is; nil if it has no check.
func ReadCondition(dir string) *Condition {
	data, err := smallfile.Read(dir + "/" + HealthFile)
	if err != nil {
		return nil
	}
	c, err := ParseCondition(data)
	if err != nil {
		return nil
	}
	return c
}

// A checker runs the command from time to time, as a process of its own:
// `vitro-oci exec`, so that this one stays small.
type checker struct {
	w    *Watch
	next time.Time // of the next check, or the time that the running one has
	now  Condition
	// The check that runs, if one does.
	process *os.Process
	pidfd   int
	out     int
	text    []byte
	began   time.Time
	late    bool
}

func newChecker(w *Watch) *checker {
	c := &checker{w: w, pidfd: -1, out: -1, now: Condition{Status: Starting}}
	if old := ReadCondition(w.Dir); old != nil { // we have taken over
		c.now = *old
	}
	c.save()
	c.next = time.Now().Add(c.interval())
	return c
}

// starting reports whether failures don't count yet.
func (c *checker) starting() bool {
	return c.now.Status == Starting && c.w.Ran() < c.w.Orders.Health.StartPeriod
}

func (c *checker) interval() time.Duration {
	h := &c.w.Orders.Health
	if h.StartInterval > 0 && c.starting() {
		return h.StartInterval
	}
	return h.Interval
}

func (c *checker) save() {
	tmp := c.w.Dir + "/." + HealthFile
	if os.WriteFile(tmp, c.now.Append(nil), 0o600) == nil {
		_ = os.Rename(tmp, c.w.Dir+"/"+HealthFile)
	}
}

func (c *checker) sources(add func(fd int, events int16, do func(int16))) {
	if c.process == nil {
		return
	}
	if c.out >= 0 {
		add(c.out, unix.POLLIN, func(int16) { c.read() })
	}
	if c.pidfd >= 0 {
		add(c.pidfd, unix.POLLIN, func(int16) { c.done() })
	}
}

func (c *checker) tick(now time.Time) {
	if now.Before(c.next) {
		return
	}
	if c.process != nil { // it has taken too long
		c.late = true
		c.kill()
		c.next = now.Add(time.Second)
		return
	}
	c.begin(now)
}

// begin starts a check. Its PID in the container is written to a file, by
// which a late one is killed.
func (c *checker) begin(now time.Time) {
	c.began, c.late, c.text = now, false, nil
	c.next = now.Add(c.w.Orders.Health.Timeout)
	r, out, err := os.Pipe()
	if err != nil {
		return
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		r.Close()
		return
	}
	defer null.Close()
	h := &c.w.Orders.Health
	argv := append(append([]string(nil), h.Program...), h.Command...)
	c.process, err = os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{null, out, out}, Env: os.Environ(), Dir: "/"})
	if err != nil {
		r.Close()
		c.result(-1, err.Error())
		return
	}
	c.pidfd, _ = unix.PidfdOpen(c.process.Pid, 0)
	c.out, _ = unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	r.Close()
	_ = unix.SetNonblock(c.out, true)
}

func (c *checker) read() {
	var buf [1024]byte
	n, err := unix.Read(c.out, buf[:])
	if n > 0 {
		if room := outputLimit - len(c.text); room > 0 {
			c.text = append(c.text, buf[:min(n, room)]...)
		}
		return
	}
	if err != unix.EAGAIN && err != unix.EINTR {
		unix.Close(c.out)
		c.out = -1
	}
}

// kill ends the check that runs: the command in the container, and who waits for it.
func (c *checker) kill() {
	data, err := os.ReadFile(c.w.Dir + "/check.pid")
	if pid, e := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && e == nil && pid > 1 {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	_ = c.process.Kill()
}

func (c *checker) done() {
	state, err := c.process.Wait()
	for c.out >= 0 {
		before := len(c.text)
		c.read()
		if len(c.text) == before {
			break
		}
	}
	c.drop()
	code := -1
	if err == nil && !c.late {
		code = state.ExitCode()
	}
	text := string(c.text)
	if c.late {
		text = fmt.Sprintf("Health check exceeded timeout (%v)", c.w.Orders.Health.Timeout)
	}
	c.result(code, text)
}

func (c *checker) drop() {
	for _, fd := range [...]*int{&c.out, &c.pidfd} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	c.process = nil
	_ = os.Remove(c.w.Dir + "/check.pid")
}

// result counts a check, and acts if the container has become unhealthy.
func (c *checker) result(code int, output string) {
	now := time.Now()
	c.now.Log = append(c.now.Log, Check{Start: c.began, End: now, Code: code, Output: output})
	c.now.Log = c.now.Log[max(0, len(c.now.Log)-checksKept):]
	was := c.now.Status
	if c.now.judge(code == 0, c.starting(), c.w.Orders.Health.Retries); c.now.Status != was {
		c.w.notice("health_status: " + c.now.Status)
	}
	c.save()
	c.next = now.Add(c.interval())
	if c.now.Status == Unhealthy && was != Unhealthy {
		c.w.unhealthy()
	}
}

// judge decides what one more result means.
func (c *Condition) judge(ok, starting bool, retries int) {
	switch {
	case ok:
		c.Status, c.Failing = Healthy, 0
	case starting:
	default:
		if c.Failing++; c.Failing >= max(1, retries) {
			c.Status = Unhealthy
		}
	}
}

// stop ends a check that runs.
func (c *checker) stop() {
	if c.process != nil {
		c.kill()
		_, _ = c.process.Wait()
		c.drop()
	}
}

// notice writes an event. The attributes are read anew: the container may have
// been renamed.
func (w *Watch) notice(action string) {
	o, err := ReadOrders(w.Dir)
	if err != nil {
		return
	}
	attributes := make(map[string]string, len(o.Attributes))
	for _, a := range o.Attributes {
		key, value, _ := strings.Cut(a, "=")
		attributes[key] = value
	}
	log := event.Log{Dir: filepath.Dir(filepath.Dir(w.Dir))}
	_ = log.Write(event.Event{Type: event.Container, Action: action, ID: o.ID, Attributes: attributes})
}

// unhealthy does what is to be done about a container that is.
func (w *Watch) unhealthy() {
	switch w.Orders.Health.OnFailure {
	case "kill":
		w.Signal(unix.SIGKILL)
	case "stop", "restart":
		_ = os.WriteFile(w.Dir+"/wanted", []byte(w.Orders.Health.OnFailure), 0o600)
		w.ask()
	}
}
