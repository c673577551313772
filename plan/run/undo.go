// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"vitro/internal/smallfile"
	"vitro/plan"
)

// An UndoList is a file with the inverses of the host steps of one container,
// a line each, in the order in which the steps were done: a verb and its
// values as JSON.
//
//	remove {"path":"/var/lib/vitro/containers/5a0c…"}
//	rmdir {"path":"/sys/fs/cgroup/pids/vitro/5a0c…"}
//
// A line is there before its step is done, so whoever finds the list after a
// crash, whenever that was, undoes it backwards and has everything.
type UndoList struct {
	file *os.File
	size int
}

// CreateUndo makes an empty undo list. The file must not be there.
func CreateUndo(path string) (*UndoList, error) {
	f, err := smallfile.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &UndoList{file: f}, nil
}

// Close closes the file; the list stays.
func (u *UndoList) Close() error { return u.file.Close() }

// add writes an inverse and returns a mark for drop.
func (u *UndoList) add(a plan.Host) (mark int, err error) {
	line, err := appendValues([]byte(a.Verb()+" "), a)
	if err != nil {
		return 0, err
	}
	n, err := u.file.Write(append(line, '\n'))
	mark = u.size + 1
	u.size += n
	return mark, err
}

// drop takes the line back that add has returned the mark of.
func (u *UndoList) drop(mark int) {
	u.size = mark - 1
	_ = unix.Ftruncate(int(u.file.Fd()), int64(u.size))
}

// Undo does what an undo list says, the last line first, and removes it. The
// makers know the verbs. A line that fails doesn't keep the others from being
// done; the list then stays for the next try, and the errors are returned.
// A list that isn't there has been undone.
func Undo(path string, makers ...func(verb string) plan.Host) error {
	data, err := smallfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := bytes.Split(data, []byte{'\n'})
	lines = lines[:len(lines)-1] // what has no newline was never done
	var errs []error
	for i := len(lines) - 1; i >= 0; i-- {
		a, err := parseUndo(lines[i], makers)
		if err == nil {
			err = a.Do(&plan.Env{})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("undo %s: %w", lines[i], err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func parseUndo(line []byte, makers []func(string) plan.Host) (plan.Host, error) {
	verb, values, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return nil, errors.New("not a verb and values")
	}
	for _, mk := range makers {
		if a := mk(string(verb)); a != nil {
			return a, parseValues(values, a)
		}
	}
	return nil, fmt.Errorf("unknown verb %q", verb)
}
