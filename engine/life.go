// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"vitro/cgroup"
	"vitro/container"
	"vitro/internal/ocijson"
	"vitro/monitor"
	"vitro/network"
	"vitro/network/relay"
	"vitro/plan/run"
)

// A life is what the process beside a container does: it makes the container,
// watches it, takes down what was made, and decides what comes then.
type life struct {
	e     *Engine
	c     *container.Container // without its lock, but while something is changed
	rec   *Record
	hooks Hooks
	hold  *os.File
	exit  *container.Exit // the last one

	refused bool // the last start was refused before anything was made
}

// Hooks are what a caller wants to see of a start.
type Hooks struct {
	Trace   bool
	Warn    func(warning string)
	Before  func(p *Prepared, step, pid int) error
	Started func(p *Prepared, child *run.Child)
	Tune    func(p *Prepared, o *run.Options) // for tests: faults

	// Wants are the streams of whoever waits at Conn, a socket; 0 is none.
	Wants monitor.Attach
	Conn  int
	Size  [2]uint16 // of the caller's terminal: rows, columns; 0 if it has none
}

// Run makes a container, runs it in this process to its end, and takes
// everything back. What it prints goes to its log.
func (e *Engine) Run(ctx Context, f *Flags, h Hooks) (exit container.Exit, err error) {
	if err := e.Sweep(); err != nil {
		return exit, err
	}
	flags := *f
	rec, err := e.Create(ctx, &flags)
	if err != nil {
		return exit, err
	}
	l, err := e.live(rec.ID, h)
	if err != nil {
		return exit, err
	}
	defer l.hold.Close()
	defer func() { err = errors.Join(err, l.remove()) }()
	w, err := l.start(ctx)
	if err != nil {
		return exit, err
	}
	defer w.CloseAll()
	if _, err = w.Run(time.Time{}); err != nil {
		return exit, err
	}
	return *w.Ended, l.finish(w)
}

// live has this process be the one beside a container.
func (e *Engine) live(id string, h Hooks) (*life, error) {
	c, err := e.Containers.Look(id)
	if err != nil {
		return nil, err
	}
	l := &life{e: e, c: c, hooks: h}
	if l.rec, err = loadRecord(c.Dir); err != nil {
		return nil, err
	}
	l.hold, err = c.Hold()
	return l, err
}

// warn tells whoever waits for the start what is not as it was to be.
func (l *life) warn(err error) {
	if l.hooks.Warn != nil {
		l.hooks.Warn(err.Error())
	}
}

// ErrRunning is the answer to what only a container that doesn't run can do.
var ErrRunning = errors.New("the container is running")

// start makes the container's process. Somebody else's address or cgroup may
// come in between: then all is decided anew.
func (l *life) start(ctx Context) (w *monitor.Watch, err error) {
	c, err := l.e.Containers.Lock(l.c.ID)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	if c.State != nil && c.State.Alive() {
		return nil, ErrRunning
	}
	if err := l.holdNet(); err != nil {
		return nil, err
	}
	if err := clear(c); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		var p *Prepared
		if p, err = l.e.prepare(ctx, l.rec, l.hooks.Size, try); err != nil {
			l.refused = try == 0
			break
		}
		w, err = l.execute(c, p)
		if err == nil {
			l.e.tell(l.rec, "start")
			return w, nil
		}
		if e := clear(c); e != nil {
			return nil, errors.Join(err, e)
		}
		if !errors.Is(err, network.ErrTaken) && !vanished(err) || try >= attempts {
			break
		}
	}
	exit := &container.Exit{Code: run.ExitCode(err), Error: err.Error(), Finished: time.Now()}
	if last, err := c.LoadExit(); err == nil {
		exit.Started = last.Started
	}
	_ = c.SaveExit(exit) // err is what matters
	return nil, err
}

// attempts are how often a start is tried again when somebody else has got the
// address or the port that was chosen.
const attempts = 50

// vanished reports whether the cgroup that the container's was to be made in
// has gone since it was looked at: with the last container that was in it.
func vanished(err error) bool {
	var f *run.Fault
	if !errors.As(err, &f) || !errors.Is(f.Err, unix.ENOENT) {
		return false
	}
	_, ok := f.Step.Action.(*cgroup.Make)
	return ok
}

// clear takes back what a start before has left whose monitor was killed.
func clear(c *container.Container) error {
	if err := c.TakeBack(); err != nil {
		return err
	}
	return forget(c)
}

// forget removes what is true only while the container runs.
func forget(c *container.Container) error {
	c.EndKeeper()
	for _, name := range [...]string{"state", "orders", monitor.Socket, container.ResourcesFile, "stdin", "stdout", "stderr", monitor.HealthFile, relay.File, container.KeeperFile} {
		if err := os.Remove(c.Path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// execute executes a plan. After an error its steps are still to be taken back.
func (l *life) execute(c *container.Container, p *Prepared) (*monitor.Watch, error) {
	for _, w := range p.Warnings {
		if l.hooks.Warn != nil {
			l.hooks.Warn(w)
		}
	}
	if err := c.Begin(); err != nil {
		return nil, err
	}
	config := ocijson.Indent(nil, ocijson.AppendSpec(nil, p.Spec))
	if err := c.Write("config.json", append(config, '\n')); err != nil {
		return nil, err
	}
	if p.maps != nil && p.maps.block != 0 { // nobody else is to get these IDs
		if err := c.Write("block", fmt.Appendln(nil, p.maps.block)); err != nil {
			return nil, err
		}
	}
	w := monitor.NewWatch(c.Dir)
	w.Hold, w.Child = int(l.hold.Fd()), true
	o := run.Options{Undo: c.List, Folder: c.Dir, Handles: make(map[string]int), Trace: l.hooks.Trace}
	var pipes *monitor.Pipes // a terminal needs none
	if !l.rec.Flags.Terminal {
		var err error
		if pipes, err = monitor.OpenPipes(c.Dir, l.rec.Flags.Interactive); err != nil {
			return nil, err
		}
		defer pipes.Close()
		pipes.Add(o.Handles)
	}
	w.Begin(time.Now(), 0)
	first := 0 // process of the container
	p.settle.save = func(pid int) error {
		first = pid
		if err := l.settle(c, p, w, pid); err != nil {
			return err
		}
		return l.keepInput(c, pid, pipes)
	}
	o.Console = func(f *os.File) error { return l.takeConsole(c, w, first, f) }
	if l.hooks.Before != nil {
		o.Before = func(step, pid int) error { return l.hooks.Before(p, step, pid) }
	}
	if l.hooks.Tune != nil {
		l.hooks.Tune(p, &o)
	}
	child, err := run.Start(p.Plan, o)
	if err != nil {
		w.CloseAll() // the last steps may have failed
		return nil, err
	}
	if err := adopt(w, child); err != nil {
		_ = child.Signal(unix.SIGKILL)
		return nil, err
	}
	if pipes != nil {
		pipes.Give(w)
	}
	if l.hooks.Started != nil {
		l.hooks.Started(p, child)
	}
	return w, nil
}

// settle writes what others have to know.
func (l *life) settle(c *container.Container, p *Prepared, w *monitor.Watch, pid int) (err error) {
	if err := c.Save(&container.State{Pid: pid, Created: w.Started, Beside: os.Getpid(), Cgroups: p.Cgroups}); err != nil {
		return err
	}
	if err := l.holdNet(pid); err != nil {
		return err
	}
	if w.Orders, err = l.e.orders(l.rec, p.Spec); err != nil {
		return err
	}
	if err := c.Write("orders", w.Orders.Append(nil)); err != nil {
		return err
	}
	if err := c.Want(container.WantRun); err != nil {
		return err
	}
	if p.asks {
		if err := w.AnswerIn(pid); err != nil {
			return err
		}
	}
	return w.Bind(c.Dir)
}

// adopt takes the child over.
func adopt(w *monitor.Watch, child *run.Child) (err error) {
	w.Pid, w.Pidfd = child.Pid, child.Pidfd
	if w.Pidfd < 0 {
		w.Pidfd, err = unix.PidfdOpen(child.Pid, 0)
	}
	return err
}

// finish takes down what was made for a container that has ended; what it has
// written stays. What can't be taken down is tried again for a while: on a busy
// machine the kernel is not always done with a cgroup or a link in time, and
// whoever gave up would not start the container again.
func (l *life) finish(w *monitor.Watch) error {
	if err := l.note(w); err != nil {
		return err
	}
	for wait := firstPause; ; wait *= 2 {
		err := l.takeDown()
		if err == nil || errors.Is(err, container.ErrNotFound) || wait > ranWell {
			return err
		}
		time.Sleep(wait)
	}
}

// note writes down how the container has ended.
func (l *life) note(w *monitor.Watch) error {
	c, err := l.e.Containers.Lock(l.c.ID)
	if err != nil {
		return err
	}
	defer c.Release()
	l.exit = w.Ended
	if last, err := c.LoadExit(); err == nil && w.Ran() < ranWell {
		l.exit.Restarts = last.Restarts
	}
	if err := c.SaveExit(l.exit); err != nil {
		return err
	}
	if l.exit.OOM {
		l.e.tell(l.rec, "oom")
	}
	l.e.tell(l.rec, "die", "exitCode", strconv.Itoa(l.exit.Code), "execDuration", strconv.Itoa(int(w.Ran().Seconds())))
	return nil
}

func (l *life) takeDown() error {
	c, err := l.e.Containers.Lock(l.c.ID)
	if err != nil {
		return err
	}
	defer c.Release()
	if c.State != nil { // a process that the PID namespace's end has not ended
		if err := c.State.Cgroups.Kill(); err != nil && !errors.Is(err, cgroup.ErrNoController) {
			return fmt.Errorf("end what is left in container %s: %w", c.ID, err)
		}
	}
	if err := c.TakeBack(); err != nil {
		return err
	}
	return forget(c)
}

// remove removes the container altogether.
func (l *life) remove() error {
	c, err := l.e.Containers.Lock(l.c.ID)
	if errors.Is(err, container.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(l.e.dropVolumes(c.Dir), l.e.erase(c, l.rec))
}

// next decides what comes after an end: another start, after a pause, or none.
func (l *life) next(quit bool) (again bool, wait time.Duration) {
	p, err := parsePolicy(l.rec.Flags.Restart)
	wanted := l.c.Wanted()
	if err != nil || quit || !p.again(l.exit, wanted, l.exit.Restarts) {
		return false, 0
	}
	if wanted == container.WantRestart {
		return true, 0
	}
	wait = pause(l.exit.Restarts)
	l.exit.Restarts++
	_ = l.c.SaveExit(l.exit)
	return true, wait
}
