// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is how much memory is touched at once.
const chunk = 1 << 18

// Memory has a child touch o.Size bytes, and keep them for o.For. The kernel
// may refuse them, or kill the child: that it is somebody else is why we are
// there to tell of it.
func Memory(ctx context.Context, o Options) error {
	if err := o.check(1); err != nil {
		return err
	}
	before := memoryEvents()
	if err := spare(o.Size, before.limit); err != nil {
		return err
	}
	w, err := o.startWorker()
	if err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	defer w.kill()
	reached, refused := w.follow(o)
	var wait <-chan time.Time
	if reached >= o.Size && o.For > 0 {
		wait = time.After(o.For)
	}
	if reached >= o.Size {
		o.now("memory: %s held", size(reached))
		select {
		case <-wait:
		case <-w.ended: // killed while it held what it had
		case <-ctx.Done():
		}
	}
	killed := w.killed()
	o.end()
	switch {
	case refused != "":
		o.say("memory: %s, then refused: %s", size(reached), refused)
	case killed:
		o.say("memory: %s, then the kernel killed the process that asked for more (SIGKILL)", size(reached))
	case reached < o.Size:
		return fmt.Errorf("burn memory: the worker ended at %s: %s", size(reached), w.errs.String())
	default:
		o.say("memory: %s, all that was wanted", size(reached))
	}
	o.sayMemory(before, refused)
	return nil
}

// spare refuses to burn what the machine itself needs: if no limit stops it
// before, the kernel may kill somebody else.
func spare(want int64, l *Limit) error {
	left := available()
	if l != nil {
		want = min(want, int64(l.Value))
	}
	if left == 0 || want <= left/4*3 {
		return nil
	}
	return &Error{fmt.Errorf("burn memory: the machine has %s left, and no limit that is met before", size(left)),
		"set one: vitro run -m 50m -v \"$(command -v vitro)\":/bin/vitro busybox vitro burn memory --size 100m"}
}

// available is how much memory the machine can still give, 0 if that can't be seen.
func available() int64 {
	for line := range strings.Lines(read("/proc/meminfo")) {
		if v, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// worker is the child that has the memory.
type worker struct {
	cmd    *exec.Cmd
	out    io.ReadCloser
	errs   bytes.Buffer
	ended  chan struct{} // closed at its end
	status *os.ProcessState
}

func (o Options) startWorker() (*worker, error) {
	if len(o.Worker) == 0 {
		return nil, errors.New("no command line for it")
	}
	w := &worker{ended: make(chan struct{})}
	w.cmd = exec.Command(self(), append(o.Worker, strconv.FormatInt(o.Size, 10))...)
	w.cmd.Stderr = &w.errs
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	w.out, w.cmd.Stdout = r, out
	err = w.cmd.Start()
	_ = out.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	go func() {
		_ = w.cmd.Wait()
		w.status = w.cmd.ProcessState
		close(w.ended)
	}()
	return w, nil
}

// self is this program, even where /proc is not mounted.
func self() string {
	if _, err := os.Stat("/proc/self/exe"); err == nil {
		return "/proc/self/exe"
	}
	return os.Args[0]
}

// follow reads the worker's progress, until all is touched or it can't go on.
func (w *worker) follow(o Options) (reached int64, refused string) {
	var shown time.Time
	lines := bufio.NewScanner(w.out)
	for lines.Scan() {
		n, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			return reached, strings.TrimPrefix(lines.Text(), "refused: ")
		}
		reached = n
		if o.Live && time.Since(shown) > 50*time.Millisecond {
			shown = time.Now()
			o.now("memory: %s", size(reached))
		}
		if reached >= o.Size {
			break
		}
	}
	return reached, ""
}

// killed says whether the worker has ended by SIGKILL, which we did not send.
func (w *worker) killed() bool {
	select {
	case <-w.ended:
	default:
		// The pipe may have ended a moment before the process.
		select {
		case <-w.ended:
		case <-time.After(100 * time.Millisecond):
			return false
		}
	}
	s, ok := w.status.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	<-w.ended
	_ = w.out.Close()
}

// MemoryWorker is the child's part: it touches size bytes, tells of each chunk
// on out, and keeps them until it is killed.
func MemoryWorker(out io.Writer, size string) error {
	want, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return fmt.Errorf("read size: %w", err)
	}
	// If somebody has to go, then this process. Anybody may raise their own score.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	for have := int64(0); have < want; {
		n := min(chunk, want-have)
		mem, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			fmt.Fprintf(out, "refused: mmap: %v\n", err)
			select {}
		}
		for i := 0; i < len(mem); i += 4096 {
			mem[i] = 1
		}
		have += n
		if _, err := fmt.Fprintln(out, have); err != nil {
			return err
		}
	}
	time.Sleep(1000 * time.Hour) // until it is killed
	return nil
}

// events are what a memory cgroup has counted.
type events struct {
	limit *Limit
	kills int64
}

func memoryEvents() events {
	e := events{limit: limit("memory")}
	if e.limit != nil {
		var ok bool
		if e.kills, ok = e.limit.counter("memory.events", "oom_kill"); !ok {
			e.kills, _ = e.limit.counter("memory.oom_control", "oom_kill")
		}
	}
	return e
}

func (o Options) sayMemory(before events, refused string) {
	after := memoryEvents()
	switch {
	case refused != "" && ulimit(unix.RLIMIT_AS) != "":
		o.say("limit: %s", ulimit(unix.RLIMIT_AS))
	case after.limit != nil:
		l := after.limit
		o.say("limit: %s is %s: %s", l.File, l.Text, size(int64(l.Value)))
		o.say("       for all processes of the group together, with what the kernel keeps for them")
		if n := after.kills - before.kills; n > 0 {
			o.say("       it has had %d of its processes killed meanwhile (oom_kill)", n)
		}
		for _, peak := range [...]string{"memory.peak", "memory.max_usage_in_bytes"} {
			if n, err := strconv.ParseInt(read(l.dir()+"/"+peak), 10, 64); err == nil {
				o.say("       the most that the group ever had: %s (%s)", size(n), peak)
			}
		}
	default:
		o.say("limit: none to be seen")
	}
}
