// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vitro/plan/run"
)

// initName is what this program is called where it is a container's init: the
// engine mounts it there, for `vitro run --init`.
const initName = "vitro-init"

// initMain is an init for a container: it starts a command, passes signals on
// to it, reaps whatever process loses its parent, and ends with the command,
// with its status.
//
// A container's first process has two duties that most programs don't know
// of: the kernel makes it the parent of all orphans, and discards the signals
// that it has no handler for (pid_namespaces(7)).
func initMain(args []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals) // before there is a command: none may be lost
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	pid, err := initStart(args)
	if err != nil {
		run.Report(os.Stderr, initName, err)
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
			return 127
		}
		return 126
	}
	go initForward(signals, pid)
	for {
		var ws syscall.WaitStatus
		dead, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR || err == nil && dead != pid:
		case err != nil:
			return 1 // impossible: there is a child to wait for
		case ws.Signaled():
			return 128 + int(ws.Signal())
		default:
			return ws.ExitStatus()
		}
	}
}

// initStart starts the command in a process group of its own, which becomes
// the terminal's foreground one if there is a terminal: what is typed there is
// for the command, not for its init.
func initStart(args []string) (pid int, err error) {
	if len(args) == 0 {
		return 0, errors.New("run as init: no command")
	}
	_, err = unix.IoctlGetInt(0, unix.TIOCGPGRP)
	attr := &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Foreground: err == nil},
	}
	err = syscall.ENOENT
	for _, p := range initPaths(args[0]) {
		pid, err = syscall.ForkExec(p, args, attr)
		if err == nil {
			return pid, nil
		}
		if err != syscall.ENOENT && err != syscall.ENOTDIR && err != syscall.EACCES {
			break
		}
	}
	return 0, fmt.Errorf("exec %q: %w", args[0], err)
}

// initPaths are where a command may be, as execvp(3) has it.
func initPaths(name string) (paths []string) {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// initForward passes on all signals but those that are meant for this process:
// of its children, of the terminal's job control, and the one that the Go
// runtime sends itself.
func initForward(signals <-chan os.Signal, pid int) {
	for s := range signals {
		switch sig := s.(syscall.Signal); sig {
		case syscall.SIGCHLD, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGURG:
		default:
			_ = syscall.Kill(pid, sig)
		}
	}
}
