// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// loopVerb makes this program the one that starts the commands: it is small,
// and can be started in surroundings that a command needs, such as a network
// namespace, which then cost nothing at each run.
const loopVerb = "-loop"

// request is a command to run; answer is how it went.
type request struct {
	Argv []string
}

type answer struct {
	Nanoseconds int64
	PeakKB      int64 // of the largest process among it and those it waited for; never less than the loop's own
	Error       string
}

// loop answers requests until its input ends.
func loop(r io.Reader, w io.Writer) error {
	requests, answers := json.NewDecoder(r), json.NewEncoder(w)
	for {
		var q request
		if err := requests.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(once(q.Argv)); err != nil {
			return err
		}
	}
}

// once runs a command. Its error output goes to a file: a pipe would be held
// open by what it leaves running.
func once(argv []string) answer {
	stderr, err := os.CreateTemp("", "vitro-bench-stderr")
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer stderr.Close()
	os.Remove(stderr.Name())
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = stderr
	start := time.Now()
	err = cmd.Run()
	a := answer{Nanoseconds: time.Since(start).Nanoseconds()}
	if err != nil {
		said := make([]byte, 1000)
		n, _ := stderr.ReadAt(said, 0)
		first, _, _ := bytes.Cut(bytes.TrimSpace(said[:n]), []byte("\n"))
		a.Error = fmt.Sprintf("%s: %v: %s", strings.Join(argv, " "), err, first)
		return a
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		a.PeakKB = usage.Maxrss
	}
	return a
}

// place is a loop that runs.
type place struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// open starts a loop, by the command in front of it.
func open(env, front []string) (*place, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := append(front, self, loopVerb)
	p := &place{cmd: exec.Command(argv[0], argv[1:]...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	return p, p.cmd.Start()
}

func (p *place) run(argv []string) answer {
	var a answer
	if err := json.NewEncoder(p.in).Encode(request{argv}); err != nil {
		return answer{Error: err.Error()}
	}
	if err := p.out.Decode(&a); err != nil {
		return answer{Error: err.Error()}
	}
	return a
}

// close ends the loop, and with its PID namespace, if it has one, all in it.
func (p *place) close() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}
