// SPDX-License-Identifier: Apache-2.0

package monitor

import (
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
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: journalSocket}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("log to journald: %w", err)
	}
	j := &journal{fd: fd}
	j.head = appendField(j.head, "SYSLOG_IDENTIFIER", []byte(o.Tag))
	j.head = appendField(j.head, "CONTAINER_TAG", []byte(o.Tag))
	j.head = appendField(j.head, "CONTAINER_ID", []byte(o.ID[:min(12, len(o.ID))]))
	j.head = appendField(j.head, "CONTAINER_ID_FULL", []byte(o.ID))
	return j, nil
}

// appendField is a field in the form that takes any bytes.
func appendField(b []byte, name string, value []byte) []byte {
	b = append(append(b, name...), '\n')
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	return append(append(b, value...), '\n')
}

// line sends an entry. A journal that is not there for a moment costs the line.
func (j *journal) line(stream int, text []byte) {
	priority := "6"
	if stream == 2 {
		priority = "3"
	}
	b := appendField(append([]byte(nil), j.head...), "PRIORITY", []byte(priority))
	b = appendField(b, "MESSAGE", text)
	_ = unix.Sendto(j.fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
}

// HasJournal reports whether journald listens on this machine.
func HasJournal() bool {
	err := unix.Access(journalSocket, unix.W_OK)
	return err == nil || !errors.Is(err, unix.ENOENT)
}
