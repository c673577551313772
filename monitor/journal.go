// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// journalSocket is where systemd-journald listens for datagrams
// (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const journalSocket = "/run/systemd/journal/socket"

type journal struct {
	fd   int
	head []byte // the fields that are the same in each entry
}

func openJournal(o *Orders) (*journal, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	// A journal that is behind is waited for, but not for ever.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("log to journald: %w", err)
	}
	j := &journal{fd: fd}
	for _, f := range [...]struct{ name, value string }{
		{"SYSLOG_IDENTIFIER", o.Tag}, {"CONTAINER_TAG", o.Tag}, {"CONTAINER_ID", o.ID[:min(12, len(o.ID))]}, {"CONTAINER_ID_FULL", o.ID},
		{"CONTAINER_NAME", o.attribute("name")}, {"IMAGE_NAME", o.attribute("image")},
	} {
		j.head = appendField(j.head, f.name, []byte(f.value))
	}
	return j, nil
}

// appendField is a field in the form that takes any bytes.
func appendField(b []byte, name string, value []byte) []byte {
	b = append(append(b, name...), '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	return append(append(b, value...), '\n')
}

// line sends an entry: to the socket's name, behind which there may be another
// journald than before. One that is not there for a moment costs the line.
func (j *journal) line(stream int, text []byte) {
	priority := "6"
	if stream == 2 {
		priority = "3"
	}
	b := appendField(append([]byte(nil), j.head...), "PRIORITY", []byte(priority))
	text, whole := bytes.CutSuffix(text, []byte{'\n'})
	if !whole {
		b = appendField(b, PartialField, []byte("true"))
	}
	b = appendField(b, "MESSAGE", text)
	to := &unix.SockaddrUnix{Name: journalSocket}
	for unix.Sendto(j.fd, b, unix.MSG_NOSIGNAL, to) == unix.EINTR {
	}
}

// PartialField marks an entry that is not a whole line, as Docker does it.
const PartialField = "CONTAINER_PARTIAL_MESSAGE"

// HasJournal reports whether journald listens on this machine.
func HasJournal() bool {
	err := unix.Access(journalSocket, unix.W_OK)
	return err == nil || !errors.Is(err, unix.ENOENT)
}
