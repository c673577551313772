// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Monitor and clients talk over a stream socket in messages: a letter, the
// length of what follows in four bytes (little endian), and that.
//
//	client ──▶ monitor                      monitor ──▶ client
//	a  attach: an Attach                    1 2  what the container wrote
//	i  input for the container              S    it runs; its PID in four bytes
//	e  that was all of the input            N    a warning for the user
//	w  the terminal's rows and columns      F    the start failed: exit status in a byte, and the words
//	s  a signal for the first process       X    it ended: status in four bytes, 1 for out of memory
//	d  detach
type message byte

const (
	msgAttach message = 'a'
	msgInput  message = 'i'
	msgEnd    message = 'e'
	msgSize   message = 'w'
	msgSignal message = 's'
	msgDetach message = 'd'

	msgOut     message = '1'
	msgErr     message = '2'
	msgStarted message = 'S'
	msgWarning message = 'N'
	msgFailed  message = 'F'
	msgExit    message = 'X'
)

const headSize = 5

// bodyLimit is how long a message may be: both sides keep one in memory.
const bodyLimit = 64 << 10

var errMessage = errors.New("not a message of vitro's monitor")

func appendMessage(dst []byte, kind message, body []byte) []byte {
	dst = append(dst, byte(kind))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...)
}

// nextMessage takes a message from the beginning of what was read. It reports
// false if not all of it is there yet.
func nextMessage(data []byte) (kind message, body, rest []byte, ok bool, err error) {
	if len(data) < headSize {
		return 0, nil, data, false, nil
	}
	n := binary.LittleEndian.Uint32(data[1:])
	if n > bodyLimit {
		return 0, nil, data, false, fmt.Errorf("%w: %d bytes", errMessage, n)
	}
	if len(data) < headSize+int(n) {
		return 0, nil, data, false, nil
	}
	end := headSize + int(n)
	return message(data[0]), data[headSize:end], data[end:], true, nil
}

// readMessage reads one message.
func readMessage(r io.Reader) (message, []byte, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > bodyLimit {
		return 0, nil, fmt.Errorf("%w: %d bytes", errMessage, n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return message(head[0]), body, err
}

// Attach is what a client wants of a container: bits.
type Attach byte

// The streams of a container.
const (
	Input Attach = 1 << iota
	Output
	Errors
)
