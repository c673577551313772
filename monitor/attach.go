// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// An Attachment joins this process's standard streams to a container's, by its
// monitor.
type Attachment struct {
	Streams Attach
	// Terminal: the container has one. Ours is set to hand all keys through.
	Terminal bool
	// DetachKeys end the attachment, and leave the container running. Empty: none do.
	DetachKeys []byte
	// Proxy passes signals on that this process gets.
	Proxy bool
	// Started is called when the container runs; Warn with what is not as it
	// was asked for. May be nil.
	Started func(pid int)
	Warn    func(text string)

	conn   *os.File
	write  sync.Mutex
	unread bool // the output has no reader: the container is being ended
}

// ErrDetached is the end of an attachment that the user has left.
var ErrDetached = errors.New("detached")

// A StartError is a start that failed in the process beside the container,
// which has put it into words.
type StartError struct {
	Text string
	Code int
}

func (e *StartError) Error() string { return e.Text }

// ExitCode is for our own exit status.
func (e *StartError) ExitCode() int { return e.Code }

// AwaitStart waits until the monitor says that the container runs; warn gets
// what is not as it was asked for.
func AwaitStart(conn io.Reader, warn func(string)) error {
	for {
		kind, body, err := readMessage(conn)
		switch {
		case err != nil:
			return fmt.Errorf("start container: %w", ErrLost)
		case kind == msgFailed && len(body) > 0:
			return &StartError{Text: string(body[1:]), Code: int(body[0])}
		case kind == msgWarning && warn != nil:
			warn(string(body))
		case kind == msgStarted:
			return nil
		case kind == msgExit: // it has started, and ended
			return nil
		}
	}
}

// Fail tells whoever waits for a start that it has failed.
func Fail(fd, code int, text string) {
	body := append([]byte{byte(code)}, text[:min(len(text), bodyLimit-1)]...)
	_ = unix.Sendto(fd, appendMessage(nil, msgFailed, body), unix.MSG_NOSIGNAL, nil)
}

// Started tells whoever waits for a start that the container runs already.
func Started(fd int) {
	_ = unix.Sendto(fd, appendMessage(nil, msgStarted, make([]byte, 4)), unix.MSG_NOSIGNAL, nil)
}

// WarnTo tells whoever waits for a start what is not as it was asked for.
func WarnTo(fd int, text string) {
	_ = unix.Sendto(fd, appendMessage(nil, msgWarning, []byte(text[:min(len(text), bodyLimit)])), unix.MSG_NOSIGNAL, nil)
}

// Dial connects to the monitor of the container in a folder.
func Dial(dir string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = bySocketPath(dir+"/"+Socket, func(short string) error {
		return unix.Connect(fd, &unix.SockaddrUnix{Name: short})
	})
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to the container's monitor: %w", err)
	}
	return os.NewFile(uintptr(fd), "monitor"), nil
}

// Attach asks the monitor at the other end of a new connection for the streams.
func (a *Attachment) Attach(conn *os.File) (Exit, error) {
	a.conn = conn
	if err := a.send(msgAttach, []byte{byte(a.Streams)}); err != nil {
		conn.Close()
		return Exit{}, fmt.Errorf("follow container: %w", lost(err))
	}
	return a.Follow(conn)
}

// ErrLost is the answer of a monitor that was killed. The container may go on.
var ErrLost = errors.New("the process beside the container was killed")

// lost is ErrLost, if that is what an error of a connection comes of.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return ErrLost
	}
	return err
}

// Follow takes what the monitor sends, to the container's end.
func (a *Attachment) Follow(conn *os.File) (exit Exit, err error) {
	a.conn = conn
	defer conn.Close()
	if a.Terminal && a.Streams&Input != 0 {
		if restore := rawMode(0, false); restore != nil {
			defer restore()
		}
	}
	left := make(chan struct{}) // by the user
	stop := a.signals()
	defer stop()
	in := bufio.NewReaderSize(conn, 32<<10)
	ended, started := false, false
	for {
		kind, body, err := readMessage(in)
		switch {
		case err != nil && ended && a.unread:
			return exit, ErrNoReader
		case err != nil && ended:
			return exit, nil // the monitor has cleaned up
		case err != nil:
			select {
			case <-left:
				return exit, ErrDetached
			default:
			}
			return exit, fmt.Errorf("follow container: %w", lost(err))
		}
		switch kind {
		case msgOut, msgErr:
			if err := a.print(kind, body); err != nil {
				return exit, err
			}
		case msgWarning:
			if a.Warn != nil {
				a.Warn(string(body))
			}
		case msgStarted:
			if !started {
				started = true
				a.begin(left, body)
			}
		case msgFailed:
			if len(body) < 1 {
				return exit, errMessage
			}
			return exit, &StartError{Text: string(body[1:]), Code: int(body[0])}
		case msgExit:
			if len(body) != 5 {
				return exit, errMessage
			}
			ended, exit = true, Exit{Code: int(binary.LittleEndian.Uint32(body)), OOM: body[4] == 1}
		}
	}
}

// noReader is the end of an attachment whose output nobody reads any more.
type noReader struct{}

func (noReader) Error() string { return "follow container: nobody reads the output any more" }

// ExitCode is that of a program that SIGPIPE has ended.
func (noReader) ExitCode() int { return 128 + int(unix.SIGPIPE) }

// ErrNoReader is the end of an attachment whose output nobody reads any more:
// vitro run busybox yes | head.
var ErrNoReader error = noReader{}

// print writes what the container has written. When nobody reads it any more,
// the container is ended as SIGPIPE would end a program; one that we only look
// at is left alone.
func (a *Attachment) print(kind message, body []byte) error {
	if a.unread {
		return nil
	}
	out := os.Stdout
	if kind == msgErr {
		out = os.Stderr
	}
	_, err := out.Write(body)
	if !errors.Is(err, unix.EPIPE) {
		return nil
	}
	if !a.Proxy {
		return ErrNoReader
	}
	a.unread = true
	return a.send(msgSignal, []byte{byte(unix.SIGKILL)})
}

// begin sends input, from when the container runs.
func (a *Attachment) begin(left chan struct{}, body []byte) {
	a.resize()
	if a.Streams&Input != 0 {
		go a.input(left)
	}
	if a.Started != nil && len(body) == 4 {
		a.Started(int(binary.LittleEndian.Uint32(body)))
	}
}

func (a *Attachment) send(kind message, body []byte) error {
	a.write.Lock()
	defer a.write.Unlock()
	_, err := a.conn.Write(appendMessage(nil, kind, body))
	return err
}

func (a *Attachment) resize() {
	if !a.Terminal {
		return
	}
	ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		ws, err = unix.IoctlGetWinsize(1, unix.TIOCGWINSZ)
	}
	if err == nil {
		_ = a.send(msgSize, binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, ws.Row), ws.Col))
	}
}

// input passes standard input on, and watches for the keys to detach.
func (a *Attachment) input(left chan struct{}) {
	keys := keyWatch{keys: a.DetachKeys}
	buf := make([]byte, 32<<10)
	for {
		n, err := os.Stdin.Read(buf)
		if n > 0 {
			text, detach := keys.pass(buf[:n])
			if len(text) > 0 && a.send(msgInput, text) != nil {
				return
			}
			if detach {
				close(left)
				_ = a.send(msgDetach, nil)
				return
			}
		}
		if err != nil {
			_ = a.send(msgEnd, nil)
			return
		}
	}
}

// signals passes signals on until it is told to stop.
func (a *Attachment) signals() (stop func()) {
	c := make(chan os.Signal, 64)
	signal.Notify(c, unix.SIGWINCH)
	if a.Proxy {
		signal.Notify(c)
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case s := <-c:
				switch sig := s.(unix.Signal); sig {
				case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU, unix.SIGTSTP, unix.SIGCONT:
				case unix.SIGWINCH:
					a.resize()
				default:
					_ = a.send(msgSignal, []byte{byte(sig)})
				}
			}
		}
	}()
	return func() { signal.Stop(c); close(done) }
}

// A keyWatch looks for a sequence of keys in what is typed.
type keyWatch struct {
	keys []byte
	seen int // how many of them have come already; they are held back
}

// pass is what of some input goes on to the container, and whether the keys
// have come, all of them.
func (k *keyWatch) pass(in []byte) (out []byte, detach bool) {
	if len(k.keys) == 0 {
		return in, false
	}
	for _, b := range in {
		if b == k.keys[k.seen] {
			if k.seen++; k.seen == len(k.keys) {
				k.seen = 0
				return out, true
			}
			continue
		}
		out = append(out, k.keys[:k.seen]...)
		if k.seen = 0; b == k.keys[0] {
			k.seen = 1
			if len(k.keys) == 1 {
				k.seen = 0
				return out, true
			}
			continue
		}
		out = append(out, b)
	}
	return out, false
}

// ParseKeys reads a --detach-keys: letters, and ctrl- with a letter or one of
// @ [ \ ] ^ _, separated by commas.
func ParseKeys(text string) ([]byte, error) {
	var keys []byte
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && (text[end] != ',' || end == i) {
			end++
		}
		word := text[i:end]
		i = end + 1
		switch {
		case len(word) == 1:
			keys = append(keys, word[0])
		case len(word) == 6 && word[:5] == "ctrl-" && (word[5] >= 'a' && word[5] <= 'z' || word[5] >= '@' && word[5] <= '_'):
			keys = append(keys, word[5]&0x1f)
		default:
			return nil, fmt.Errorf("read --detach-keys %q: %q is no key: want a letter or ctrl- with one, separated by commas", text, word)
		}
	}
	return keys, nil
}
