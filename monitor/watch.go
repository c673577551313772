// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/binary"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/network/names"
	"vitro/network/relay"
)

// A Watch is the life of the process beside a container: one loop over what
// can happen, without a thread for any of it. It is the same in both programs;
// Become hands it from one to the other in the middle.
type Watch struct {
	Orders  *Orders
	Dir     string // the container's folder
	Pid     int
	Pidfd   int
	Child   bool      // it is ours, so we are told its exit status
	Started time.Time // as the clock had it: for people to read

	// Descriptors, -1 for none. Their other ends are the container's.
	In, Out, Err, Console int
	Listen                int           // for clients
	Hold                  int           // of container.Hold
	Questions             names.Sockets // where the container asks for names

	// Ended is how the container ended, when Run has reported that.
	Ended *container.Exit
	// Quit: somebody wants this process to end, and not only the container.
	Quit bool
	// Idle is called when nothing has happened for a while for the first time:
	// what was needed only up to there can be given back. May be nil.
	Idle func()

	begun   time.Time     // the same moment, by a clock that nobody sets
	ran     time.Duration // until it ended
	clients []*client
	log     *logger
	input   []byte // for the container
	closing bool   // the input ends when it has been written
	health  *checker
	names   *names.Server
	asked   time.Time // when names wants to be called again; zero for never
	relay   *relay.Server
	carry   time.Time // when relay wants to be called again
	carried []string  // what it was carrying in the program before
	relayed bool      // it was begun
	signals [2]int    // a pipe: what was sent to us
	heard   chan os.Signal
	killBy  time.Time // when it is to be killed, if it has not ended
	killed  bool
}

// NewWatch is the watch of the container in a folder, with no descriptor yet.
func NewWatch(dir string) *Watch {
	return &Watch{Dir: dir, Pidfd: -1, In: -1, Out: -1, Err: -1, Console: -1, Listen: -1, Hold: -1, Questions: names.Sockets{UDP: -1, TCP: -1}}
}

// Begin says when the container was started, and how long ago that is: the
// clock may have been set meanwhile, so the one doesn't follow from the other.
func (w *Watch) Begin(started time.Time, age time.Duration) {
	w.Started, w.begun, w.ran = started, time.Now().Add(-age), age
}

// Ran is how long the container has been running, or ran if it has ended.
func (w *Watch) Ran() time.Duration {
	if w.Ended != nil {
		return w.ran
	}
	return time.Since(w.begun)
}

// AnswerIn has the monitor answer questions for names in a process's network
// namespace.
func (w *Watch) AnswerIn(pid int) (err error) {
	w.Questions, err = names.Listen("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		w.Questions = names.Sockets{UDP: -1, TCP: -1}
	}
	return err
}

// backlog is how much is kept for a client that doesn't read, in bytes. Then
// the container has to wait for it, as it would for a slow terminal.
const backlog = 1 << 20

// Run watches until the container ends, which it reports, or until a moment; a
// zero one never comes. It may be called again to go on.
func (w *Watch) Run(until time.Time) (ended bool, err error) {
	if w.log == nil {
		if w.log, err = openLog(w.Orders, w.Dir); err != nil {
			return false, err
		}
	}
	if w.signals[1] == 0 {
		if err := w.listen(); err != nil {
			return false, err
		}
	}
	if w.health == nil && len(w.Orders.Health.Command) > 0 {
		w.health = newChecker(w)
	}
	if w.names == nil && w.Questions.UDP >= 0 {
		if err := w.answer(); err != nil {
			return false, err
		}
	}
	if !w.relayed {
		w.relayed = true
		// Without it the container can live, and be reached by IPv4.
		w.relay, _ = relay.New(filepath.Join(w.Dir, relay.File), w.carried)
		w.carried = nil
	}
	var set []unix.PollFd
	var ready []func(events int16)
	for {
		set, ready = set[:0], ready[:0]
		w.sources(func(fd int, events int16, do func(int16)) {
			set = append(set, unix.PollFd{Fd: int32(fd), Events: events})
			ready = append(ready, do)
		})
		n, err := unix.Poll(set, w.patience(until))
		if err != nil && err != unix.EINTR {
			return false, err
		}
		if n == 0 && w.Idle != nil {
			w.Idle()
			w.Idle = nil
		}
		for i := range set {
			if n > 0 && set[i].Revents != 0 {
				ready[i](set[i].Revents)
			}
		}
		now := time.Now()
		w.timers(now)
		w.forget()
		switch {
		case w.Ended != nil:
			w.finish()
			return true, nil
		case !until.IsZero() && !now.Before(until):
			return false, nil
		}
	}
}

// sources are what may become ready, with what is to be done then.
func (w *Watch) sources(add func(fd int, events int16, do func(int16))) {
	add(w.Pidfd, unix.POLLIN, func(int16) { w.reap() })
	add(w.signals[0], unix.POLLIN, func(int16) { w.signalled() })
	if w.Listen >= 0 {
		add(w.Listen, unix.POLLIN, func(int16) { w.accept() })
	}
	full := false
	for _, c := range w.clients {
		full = full || len(c.out) > backlog
	}
	if w.Console >= 0 {
		var events int16
		if !full {
			events |= unix.POLLIN
		}
		if len(w.input) > 0 {
			events |= unix.POLLOUT
		}
		add(w.Console, events, func(e int16) { w.console(e, full) })
	}
	if !full && w.Out >= 0 {
		add(w.Out, unix.POLLIN, func(int16) { w.output(&w.Out, 1) })
	}
	if !full && w.Err >= 0 {
		add(w.Err, unix.POLLIN, func(int16) { w.output(&w.Err, 2) })
	}
	if w.In >= 0 && len(w.input) > 0 {
		add(w.In, unix.POLLOUT, func(int16) { w.feed(&w.In) })
	}
	for _, c := range w.clients {
		var events int16
		if len(w.input) < bodyLimit {
			events |= unix.POLLIN
		}
		if len(c.out) > 0 {
			events |= unix.POLLOUT
		}
		add(c.fd, events, func(e int16) { w.serve(c, e) })
	}
	if w.health != nil {
		w.health.sources(add)
	}
	if w.names != nil {
		add(w.names.Fd(), unix.POLLIN, func(int16) { w.work() })
	}
	if w.relay != nil {
		add(w.relay.Fd(), unix.POLLIN, func(int16) { w.pass() })
	}
}

// patience is how long to wait for something to happen, for poll(2).
func (w *Watch) patience(until time.Time) int {
	next := until
	soonest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	soonest(w.deadline())
	soonest(w.asked)
	soonest(w.carry)
	if w.health != nil {
		soonest(w.health.next)
	}
	if w.Idle != nil {
		soonest(time.Now().Add(aWhile))
	}
	if next.IsZero() {
		return -1
	}
	return int(max(0, time.Until(next).Milliseconds()+1))
}

// aWhile is how long nothing happens before that is taken for the usual.
const aWhile = 500 * time.Millisecond

// deadline is when the container is to be killed; zero for never.
func (w *Watch) deadline() time.Time {
	switch {
	case w.killed:
		return time.Time{}
	case !w.killBy.IsZero():
		return w.killBy
	case w.Orders.Timeout > 0:
		return w.begun.Add(w.Orders.Timeout)
	}
	return time.Time{}
}

// grace is how long a container has that was asked to end.
const grace = 10 * time.Second

// ask asks the container to end, and has it killed if it doesn't.
func (w *Watch) ask() {
	w.Signal(unix.Signal(w.Orders.Signal))
	w.killBy = time.Now().Add(grace)
}

func (w *Watch) timers(now time.Time) {
	if t := w.deadline(); !t.IsZero() && !now.Before(t) {
		w.killed = true
		w.Signal(unix.SIGKILL)
	}
	if w.health != nil && w.Ended == nil {
		w.health.tick(now)
	}
	if !w.asked.IsZero() && !now.Before(w.asked) {
		w.work()
	}
	if !w.carry.IsZero() && !now.Before(w.carry) {
		w.pass()
	}
}

// answer begins to answer the container's questions for names.
func (w *Watch) answer() (err error) {
	state := filepath.Dir(filepath.Dir(w.Dir))
	w.names, err = names.New(names.Config{Dir: state + "/network", ID: w.Orders.ID, Servers: w.Orders.Servers, Options: w.Orders.Options}, w.Questions)
	return err
}

// work answers what was asked. Without an answer the container can live: a
// server that fails is given up.
func (w *Watch) work() {
	wait, err := w.names.Work()
	w.asked = after(wait)
	if err != nil {
		w.names = nil
	}
}

// pass carries what has come to published ports, likewise.
func (w *Watch) pass() {
	wait, err := w.relay.Work()
	w.carry = after(wait)
	if err != nil {
		w.relay = nil
	}
}

// after is the moment when so much time will have passed; zero, if it is negative.
func after(wait time.Duration) time.Time {
	if wait < 0 {
		return time.Time{}
	}
	return time.Now().Add(wait)
}

// endRelay gives clients of published ports what has come for them, and lets go of them: before the
// ports are given back, for their sockets are found by what they are bound to.
func (w *Watch) endRelay() {
	if w.relay != nil {
		w.relay.Close()
		w.relay, w.carry = nil, time.Time{}
	}
}

// Signal sends the container's first process a signal.
func (w *Watch) Signal(sig unix.Signal) { _ = unix.PidfdSendSignal(w.Pidfd, sig, nil, 0) }

// Miss is the end of a container that nobody has seen.
func (w *Watch) Miss() {
	w.ran = w.Ran()
	w.Ended = &container.Exit{Started: w.Started, Finished: time.Now(), Code: 137, Unknown: true}
}

// CloseAll closes all that was the container's; Hold stays.
func (w *Watch) CloseAll() {
	if w.names != nil {
		w.names.Close() // and with it the sockets
		w.names, w.Questions = nil, names.Sockets{UDP: -1, TCP: -1}
	}
	w.endRelay()
	for _, d := range w.named() {
		if *d.fd >= 0 && d.fd != &w.Hold {
			unix.Close(*d.fd)
			*d.fd = -1
		}
	}
	if w.log != nil {
		w.log.close()
	}
	if w.signals[1] != 0 {
		signal.Stop(w.heard)
		close(w.heard)
		unix.Close(w.signals[0])
		unix.Close(w.signals[1])
		w.signals = [2]int{}
	}
}

// reap asks how the container ended.
func (w *Watch) reap() {
	if w.Ended != nil {
		return
	}
	w.Miss()
	defer w.askOOM()
	if !w.Child {
		if code, ok := exitOf(w.Pidfd); ok {
			w.Ended.Code, w.Ended.Unknown = code, false
		}
		return
	}
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(w.Pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err == nil {
			w.Ended.Code, w.Ended.Unknown = exitCode(ws), false
		}
		return
	}
}

// askOOM finds out whether the kernel has killed a process of the container for
// want of memory.
func (w *Watch) askOOM() {
	if w.Ended.Code == 0 {
		return
	}
	dir, id := filepath.Split(w.Dir)
	c, err := (&container.Store{Root: dir}).Look(id)
	if err == nil && c.State != nil {
		n, _ := c.State.Cgroups.OOMKills()
		w.Ended.OOM = n > 0
	}
}

// exitCode is a status as a shell has it.
func exitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// finish takes what the container has still left in its pipes, and says goodbye.
func (w *Watch) finish() {
	deadline := time.Now().Add(100 * time.Millisecond)
	for w.Console >= 0 && time.Now().Before(deadline) { // ends with EIO, a moment after the last process
		w.console(unix.POLLIN, false)
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.Console), Events: unix.POLLIN}}, 20)
	}
	for w.Out >= 0 && w.output(&w.Out, 1) {
	}
	for w.Err >= 0 && w.output(&w.Err, 2) {
	}
	w.log.end(time.Now())
	w.endRelay()
	oom := byte(0)
	if w.Ended.OOM {
		oom = 1
	}
	body := append(binary.LittleEndian.AppendUint32(nil, uint32(w.Ended.Code)), oom)
	for _, c := range w.clients {
		c.send(msgExit, body)
	}
	w.flush()
	if w.health != nil {
		w.health.stop()
	}
}

// flush waits for clients to take what is theirs, as long as they take something.
func (w *Watch) flush() {
	const patience = 10_000
	for {
		var set []unix.PollFd
		for _, c := range w.clients {
			if len(c.out) > 0 && !c.gone {
				set = append(set, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLOUT})
			}
		}
		if len(set) == 0 {
			return
		}
		n, err := unix.Poll(set, patience)
		if err != nil && err != unix.EINTR || n == 0 {
			return
		}
		for _, c := range w.clients {
			c.push()
		}
	}
}

// output takes what the container wrote. It reports whether there may be more.
func (w *Watch) output(fd *int, stream int) bool {
	var buf [16 << 10]byte
	n, err := unix.Read(*fd, buf[:])
	switch {
	case n > 0:
		w.tell(stream, buf[:n])
		return true
	case err == unix.EINTR:
		return true
	case err == unix.EAGAIN:
		return false
	}
	unix.Close(*fd) // all who could write have gone
	*fd = -1
	return false
}

// console is output for a terminal, which takes the input as well.
func (w *Watch) console(events int16, full bool) {
	if events&unix.POLLOUT != 0 {
		w.feed(&w.Console)
	}
	if full || events&^unix.POLLOUT == 0 || w.Console < 0 {
		return
	}
	w.output(&w.Console, 1)
}

// tell passes output on to the log and to the clients.
func (w *Watch) tell(stream int, data []byte) {
	w.log.write(stream, data, time.Now())
	kind, bit := msgOut, Output
	if stream == 2 {
		kind, bit = msgErr, Errors
	}
	for _, c := range w.clients {
		if c.wants&bit != 0 {
			c.send(kind, data)
		}
	}
}

// feed gives the container of its input what it takes.
func (w *Watch) feed(fd *int) {
	for len(w.input) > 0 && *fd >= 0 {
		n, err := unix.Write(*fd, w.input)
		switch {
		case n > 0:
			w.input = w.input[n:]
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		default: // it has closed its end
			w.input = nil
			if fd == &w.In {
				unix.Close(*fd)
				*fd = -1
			}
		}
	}
	w.input = nil
	if w.closing {
		w.endInput()
	}
}

// endInput lets the container see the end of its input.
func (w *Watch) endInput() {
	if w.closing = len(w.input) > 0; w.closing || w.In < 0 {
		return
	}
	unix.Close(w.In)
	w.In = -1
}

// listen has signals that are sent to this process come to the loop.
func (w *Watch) listen() error {
	if err := unix.Pipe2(w.signals[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	w.heard = make(chan os.Signal, 8)
	signal.Notify(w.heard, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	go func(c chan os.Signal, fd int) {
		for range c {
			_, _ = unix.Write(fd, []byte{1})
		}
	}(w.heard, w.signals[1])
	return nil
}

// Called reports whether somebody wants this process to end, though the loop may
// not have heard it yet: what was sent to a program is lost with it.
func (w *Watch) Called() bool {
	if w.Quit || w.signals[1] == 0 {
		return w.Quit
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.signals[0]), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// signalled asks the container to end: somebody, a system that shuts down most
// likely, wants this process to.
func (w *Watch) signalled() {
	var b [16]byte
	_, _ = unix.Read(w.signals[0], b[:])
	w.Quit = true
	w.ask()
}
