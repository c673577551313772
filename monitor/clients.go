// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// A client is somebody who is connected to the monitor.
type client struct {
	fd    int
	wants Attach
	in    []byte // the beginning of a message
	out   []byte // what it has not yet taken
	gone  bool
}

// Connect makes a socket a client.
func (w *Watch) Connect(fd int, wants Attach) {
	_ = unix.SetNonblock(fd, true)
	w.clients = append(w.clients, &client{fd: fd, wants: wants})
}

// Warn tells the clients what is not as it was asked for.
func (w *Watch) Warn(text string) {
	for _, c := range w.clients {
		c.send(msgWarning, []byte(text))
	}
}

// Announce tells the clients that the container runs.
func (w *Watch) Announce() {
	for _, c := range w.clients {
		c.send(msgStarted, binary.LittleEndian.AppendUint32(nil, uint32(w.Pid)))
	}
}

// Dismiss closes the connections of all clients.
func (w *Watch) Dismiss() {
	for _, c := range w.clients {
		c.gone = true
	}
	w.forget()
}

func (w *Watch) accept() {
	fd, _, err := unix.Accept4(w.Listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err == nil {
		w.Connect(fd, 0)
	}
}

// send queues a message, and writes what goes.
func (c *client) send(kind message, body []byte) {
	if c.gone {
		return
	}
	c.out = appendMessage(c.out, kind, body)
	c.push()
}

func (c *client) push() {
	for len(c.out) > 0 && !c.gone {
		n, err := unix.SendmsgN(c.fd, c.out, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch {
		case n > 0:
			c.out = c.out[n:]
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		default:
			c.gone = true
		}
	}
	if len(c.out) == 0 {
		c.out = nil
	}
}

// serve takes messages of a client, and gives it what it has to get.
func (w *Watch) serve(c *client, events int16) {
	if events&unix.POLLOUT != 0 {
		c.push()
	}
	if events&(unix.POLLIN|unix.POLLHUP|unix.POLLERR) == 0 || c.gone {
		return
	}
	var buf [16 << 10]byte
	n, err := unix.Read(c.fd, buf[:])
	if n <= 0 {
		c.gone = c.gone || err != unix.EAGAIN && err != unix.EINTR
		return
	}
	c.in = append(c.in, buf[:n]...)
	for {
		kind, body, rest, ok, err := nextMessage(c.in)
		if err != nil {
			c.gone = true
			return
		}
		if !ok {
			break
		}
		w.obey(c, kind, body)
		c.in = rest
	}
	if len(c.in) == 0 {
		c.in = nil
	}
}

// obey does what a client's message says.
func (w *Watch) obey(c *client, kind message, body []byte) {
	switch kind {
	case msgAttach:
		if len(body) == 1 {
			c.wants = Attach(body[0])
		}
		c.send(msgStarted, binary.LittleEndian.AppendUint32(nil, uint32(w.Pid)))
	case msgInput:
		if c.wants&Input != 0 && (w.In >= 0 || w.Console >= 0) && !w.closing {
			w.input = append(w.input, body...)
			w.feedAny()
		}
	case msgEnd:
		w.inputEnded(c)
	case msgSize:
		if len(body) == 4 && w.Console >= 0 {
			_ = unix.IoctlSetWinsize(w.Console, unix.TIOCSWINSZ, &unix.Winsize{
				Row: binary.LittleEndian.Uint16(body), Col: binary.LittleEndian.Uint16(body[2:])})
		}
	case msgSignal:
		if len(body) == 1 {
			w.Signal(unix.Signal(body[0]))
		}
	case msgDetach:
		c.wants &^= Input // its end is not the end of the input
		c.gone = true
	}
}

func (w *Watch) feedAny() {
	if w.Console >= 0 {
		w.feed(&w.Console)
	} else {
		w.feed(&w.In)
	}
}

// inputEnded: a client's input has come to its end, which is that of the
// container's if it was to have only this one's.
func (w *Watch) inputEnded(c *client) {
	if c.wants&Input != 0 && w.Orders.Once {
		w.closing = true
		w.endInput()
	}
	c.wants &^= Input
}

// forget drops clients that have gone.
func (w *Watch) forget() {
	kept := w.clients[:0]
	for _, c := range w.clients {
		if !c.gone {
			kept = append(kept, c)
			continue
		}
		unix.Close(c.fd)
		w.inputEnded(c)
	}
	clear(w.clients[len(kept):])
	w.clients = kept
}
