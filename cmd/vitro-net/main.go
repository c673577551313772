// SPDX-License-Identifier: Apache-2.0

// Command vitro-net holds the networks of an ordinary user: see package
// network/usernet. The engine starts it, as root of the user's own user
// namespace, and in the host's network namespace.
//
//	vitro-net serve DIR         make U.net, and serve until no container is left
//	vitro-net serve DIR again   the same with U.net as it is, for one that was killed
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vitro/network/usernet"
)

// What the program says of itself, here and in its manual page.
const (
	version = "0.1.0"

	short  = "vitro-net holds the networks of an ordinary user"
	starts = "It is started by vitro, when a container of the user's is on a network, and ends after the last one."
)

var usage = [...][2]string{
	{"serve DIR", "make the namespace of the user's networks, and serve them; DIR is the folder that vitro info calls the root"},
	{"serve DIR again", "the same with the namespace as it is, in place of a vitro-net that was killed"},
}

func main() {
	again := len(os.Args) == 4 && os.Args[3] == "again"
	if len(os.Args) != 3 && !again || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, short+"\n"+starts)
		for _, u := range usage {
			fmt.Fprintf(os.Stderr, "\n  vitro-net %-18s %s", u[0], u[1])
		}
		fmt.Fprintln(os.Stderr)
		os.Exit(2)
	}
	ready := os.NewFile(usernet.ReadyFD, "ready")
	unix.CloseOnExec(usernet.ReadyFD)
	if err := serve(os.Args[2], again, ready); err != nil {
		fmt.Fprintln(os.Stderr, "vitro-net:", err)
		fmt.Fprintln(ready, err) // nobody reads that any more, if it comes late
		os.Exit(1)
	}
}

func serve(stateDir string, again bool, ready *os.File) error {
	lock, err := usernet.Lock(stateDir)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // somebody else was faster
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	n, err := openNamespace(again)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u, err := openUplink(ctx, n)
	if err != nil {
		return err
	}
	defer u.close()
	s, err := listen(stateDir, n)
	if err != nil {
		return err
	}
	defer s.close()
	unix.Setsid()
	ready.Close()
	select {
	case err = <-u.lost:
	case err = <-s.end():
	}
	return err
}

// listen makes the socket anew.
func listen(stateDir string, n *namespace) (*server, error) {
	user, err := os.Open("/proc/self/ns/user")
	if err != nil {
		return nil, err
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := usernet.Dir(stateDir)
	if err := os.Remove(filepath.Join(dir, "socket")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	err = usernet.At(dir, func(path string) error { return unix.Bind(s, &unix.SockaddrUnix{Name: path}) })
	if err == nil {
		err = unix.Listen(s, 128)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s/socket: %w", dir, err)
	}
	return newServer(stateDir, s, user, n)
}
