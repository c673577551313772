// SPDX-License-Identifier: Apache-2.0

// Package netns runs a function in another network namespace, with nothing
// else of the process going there.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// An ID tells one namespace from all others that there are at the same time.
type ID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// IDOf is the ID of the namespace that a file stands for: /proc/PID/ns/net, or
// what it is bound to.
func IDOf(path string) (ID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return ID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return ID{st.Dev, st.Ino}, nil
}

// Do runs f on a thread that is in the network namespace of the open file. Of
// the namespaces f may use that one only: all else is the caller's. Sockets
// that it makes stay in there.
func Do(ns *os.File, f func() error) error {
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace %s: %w", ns.Name(), err)
			return
		}
		err := f()
		// A thread that can't go back stays locked, and ends with the goroutine.
		back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET)
		if back == nil {
			runtime.UnlockOSThread()
		}
		done <- errors.Join(err, back)
	}()
	return <-done
}

// In is Do with the namespace's path.
func In(path string, f func() error) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return Do(ns, f)
}
