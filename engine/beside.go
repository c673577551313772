// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/outside"
	"vitro/monitor"
	"vitro/network"
	"vitro/network/usernet"
	"vitro/plan/run"
)

// A container's own process is started by one that stays beside it when the
// command that wanted it has ended. That is this program once more. It goes
// through
//
//	start   make the container; tell the command; leave its terminal
//	linger  watch it for a moment: most containers that end at all end soon
//	shrink  become vitro-oci by execve, which watches in less memory
//	end     become this program again: take down, and start anew, or end
//
// all with the same PID, the same children and the same open sockets.

// besideHere is the first of os/exec's ExtraFiles.
const besideHere = 3

// BesideVerb is the argument that makes this program the one beside a container.
const BesideVerb = "--beside-container"

// linger is how long a container is watched before the program is changed for
// a smaller one.
const linger = 300 * time.Millisecond

// A Launch is how a container is started by the process that will be beside it.
type Launch struct {
	ID    string
	Wants monitor.Attach // the streams that the caller follows
	Size  [2]uint16      // of the caller's terminal
	Adopt bool           // it runs, and has lost the process beside it
	New   bool           // it was made for this start: if that is refused, it is not to stay
	View  string         // for the program's own use: how the caller wants to see the start
	Alone string         // why the user has no networks

	Owners map[string]string // see network.Owners

	Conn int // the caller's descriptor, in the process beside the container
}

// keepTerminal has a process keep the terminal of one that its user has left.
func (e *Engine) keepTerminal(terminal *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, BesideVerb, "keep", e.Dir, "")
	cmd.Args[0], cmd.Dir, cmd.Env = "vitro", "/", environment()
	cmd.ExtraFiles, cmd.SysProcAttr = []*os.File{terminal}, &syscall.SysProcAttr{Setsid: true}
	defer hearAll()()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("keep the process's terminal: %w", err)
	}
	return cmd.Process.Release() // it outlives us
}

// drain keeps a terminal until no process has it any more. What is written to
// it nobody reads; but whoever writes is not to wait for a reader.
func drain() error {
	_, _ = io.Copy(io.Discard, os.NewFile(besideHere, "terminal"))
	return nil
}

// Launch starts a container, or has it adopted. The connection is for
// monitor.Attachment.Follow.
func (e *Engine) Launch(l Launch) (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "monitor"), os.NewFile(uintptr(fds[1]), "client")
	defer theirs.Close()
	u, err := e.networkFor(&l)
	if err != nil {
		ours.Close()
		return nil, err
	}
	if l.Conn = besideHere; u != nil {
		l.Conn = besideInside
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	if u != nil {
		defer u.close()
		if err := e.launchInside(u, string(text), theirs); err != nil {
			ours.Close()
			return nil, fmt.Errorf("start the process beside container %s: %w", l.ID[:12], err)
		}
		return ours, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, BesideVerb, "start", e.Dir, string(text))
	cmd.Args[0], cmd.Dir, cmd.Env = "vitro", "/", environment()
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{theirs}
	defer hearAll()()
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the process beside container %s: %w", l.ID[:12], err)
	}
	return ours, cmd.Process.Release() // it outlives us
}

// networkFor are the namespaces that the process beside the container is to be
// in; nil if they are our own. That there are none is no error where the user
// has named no network.
func (e *Engine) networkFor(l *Launch) (*userNet, error) {
	if !e.elsewhere() {
		return nil, nil
	}
	r, err := loadRecord(filepath.Join(e.Containers.Root, l.ID))
	if err != nil || !r.Flags.bridged() {
		return nil, nil // who reads it next says what is wrong
	}
	u, err := e.userNet(true)
	if err == nil {
		l.Owners = network.Owners(e.Dir, published(&r.Flags))
		return u, nil
	}
	if r.Flags.Network != "" || len(r.Flags.Publish) > 0 || r.Flags.PublishAll {
		return nil, hint(err, "--network=host shares the host's network, --network=none is loopback only")
	}
	l.Alone = err.Error()
	return nil, nil
}

// published are the ports that the flags name.
func published(f *Flags) (list []network.PortWish) {
	for _, text := range f.Publish {
		if ports, err := network.ParsePorts(text); err == nil {
			list = append(list, ports...)
		}
	}
	return list
}

// hearAll has the signals that we were started to ignore heard until the
// returned call: what is started meanwhile would inherit that, though nohup and
// a shell's & are about this command, and not about a container.
func hearAll() (stop func()) {
	c := make(chan os.Signal, 1)
	for _, s := range [...]os.Signal{unix.SIGHUP, unix.SIGINT} { // of others Go respects none
		if ossignal.Ignored(s) {
			ossignal.Notify(c, s)
		}
	}
	return func() { ossignal.Stop(c) }
}

// environment is what the process beside a container needs of ours: it lives
// longer than we do, and is not to keep what else is in there.
func environment() (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "PATH", "HOME", "USER", "LOGNAME", "TZ", "GODEBUG", "GOCOVERDIR", "DBUS_SESSION_BUS_ADDRESS", outside.Variable, usernet.Choice:
			env = append(env, v)
		default:
			if strings.HasPrefix(name, "XDG_") || strings.HasPrefix(name, "LC_") {
				env = append(env, v)
			}
		}
	}
	return env
}

// Beside is what the program does when BesideVerb is its first argument.
// hooks are made of Launch.View.
func Beside(args []string, hooks func(view string) Hooks) error {
	if len(args) != 3 {
		return errors.New("this process is started by vitro itself")
	}
	e, err := Open(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "end":
		return e.besideEnd(args[2])
	case "keep":
		return drain()
	}
	var l Launch
	if err := json.Unmarshal([]byte(args[2]), &l); err != nil {
		return err
	}
	conn := l.Conn
	unix.CloseOnExec(conn)
	err = e.beside(l, conn, hooks)
	switch {
	case errors.Is(err, container.ErrHeld) && l.Wants == 0:
		monitor.Started(conn) // somebody else was faster
	case err != nil:
		var text strings.Builder
		run.Report(&text, "vitro", err)
		monitor.Fail(conn, run.ExitCode(err), text.String())
	}
	return nil
}

// beside starts a container and stays with it. Its error is about the start.
func (e *Engine) beside(o Launch, conn int, hooks func(string) Hooks) error {
	h := Hooks{}
	if o.View != "" {
		h = hooks(o.View)
	}
	h.Size = o.Size
	e.alone = o.Alone
	h.Warn = func(text string) { monitor.WarnTo(conn, text) }
	l, err := e.live(o.ID, h)
	if err != nil {
		return err
	}
	var w *monitor.Watch
	if o.Adopt {
		w, err = l.adopt()
	} else {
		w, err = l.start(context.Background())
	}
	if err != nil {
		network.Name(err, o.Owners)
		if !o.Adopt && (l.rec.Flags.Rm || o.New && l.refused) {
			err = errors.Join(err, l.remove())
		}
		return err
	}
	w.Connect(conn, o.Wants)
	w.Announce()
	leave()
	_ = l.stay(w)
	return nil
}

// leave lets go of the terminal and the streams of the command that started us.
func leave() {
	_, _ = unix.Setsid()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	for fd := range 3 {
		_ = unix.Dup3(null, fd, 0)
	}
	unix.Close(null)
}

// stay watches the container, and starts it anew as often as that is wanted.
func (l *life) stay(w *monitor.Watch) error {
	for {
		if w.Ended == nil {
			if err := l.watch(w); err != nil {
				return err
			}
		}
		if err := l.finish(w); err != nil {
			w.Warn(err.Error())
			return err // the next command of vitro tries again
		}
		next, err := l.startAgain(w)
		if next == nil {
			return err
		}
		w = next
	}
}

// startAgain starts the container as often as its policy wants, until a start
// goes well. It returns nil if there is none to come.
func (l *life) startAgain(w *monitor.Watch) (*monitor.Watch, error) {
	for closed := false; ; closed = true {
		again, wait := l.next(w.Quit)
		if !again {
			if l.rec.Flags.Rm {
				return nil, l.remove()
			}
			return nil, nil
		}
		if !closed {
			w.Dismiss()
			w.CloseAll()
		}
		restarts, started := l.exit.Restarts, l.exit.Started
		next, err := l.restart(wait)
		if err == nil || errors.Is(err, ErrRunning) || errors.Is(err, container.ErrNotFound) {
			return next, err
		}
		l.exit = &container.Exit{Code: run.ExitCode(err), Error: err.Error(), Started: started, Finished: time.Now(), Restarts: restarts}
		_ = l.c.SaveExit(l.exit)
	}
}

// watch watches until the container ends; in the other program, if that takes long.
func (l *life) watch(w *monitor.Watch) error {
	ended, err := w.Run(time.Now().Add(linger))
	if err != nil || ended {
		return err
	}
	l.e.sweepSometimes()
	if program, err := companion("vitro-oci"); err == nil && !w.Called() {
		_ = w.Become([]string{program, "monitor"}, environment()) // if that can't be, we go on as we are
	}
	_, err = w.Run(time.Time{})
	return err
}

// restart starts the container again after a pause, in which the user may stop
// it. It returns nil if that has happened.
func (l *life) restart(wait time.Duration) (*monitor.Watch, error) {
	for until := time.Now().Add(wait); time.Now().Before(until); time.Sleep(min(time.Until(until), 50*time.Millisecond)) {
		if l.c.Wanted() == container.WantStop {
			return nil, nil
		}
		if _, err := os.Lstat(l.c.Path(recordFile)); err != nil {
			return nil, nil // it has been removed
		}
	}
	if l.c.Wanted() == container.WantStop {
		return nil, nil
	}
	return l.start(context.Background())
}

// besideEnd goes on after the smaller program has seen the container's end.
func (e *Engine) besideEnd(luggage string) error {
	w, err := monitor.Unpack(luggage)
	if err != nil {
		return err
	}
	c, err := e.Containers.Look(filepath.Base(w.Dir))
	if err != nil {
		return err
	}
	l := &life{e: e, c: c, hold: os.NewFile(uintptr(w.Hold), "monitor")}
	if l.rec, err = loadRecord(c.Dir); err != nil {
		return err
	}
	return l.stay(w)
}

// sweepEvery is how often starts look at what others have left.
const sweepEvery = 10 * time.Second

// sweepSometimes sweeps, if that was not done a moment ago. It is for when
// nobody waits.
func (e *Engine) sweepSometimes() {
	mark := filepath.Join(e.Dir, "swept")
	if st, err := os.Stat(mark); err == nil && time.Since(st.ModTime()).Abs() < sweepEvery {
		return
	}
	if os.WriteFile(mark, nil, 0o600) != nil || os.Chtimes(mark, time.Time{}, time.Now()) != nil {
		return
	}
	_ = e.Sweep()
}
