// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"vitro/network"
	"vitro/plan"
)

// Twenty processes start a container each at the same moment, first to keep it
// until all are there, then to end it at once, over and over.
func TestManyAtOnce(t *testing.T) {
	if os.Getenv(starterState) != "" {
		starter(t)
		return
	}
	if !fresh(t) {
		return
	}
	const count = 20
	state := t.TempDir()
	before := machine(t, state)

	var all []*running
	for i := range count {
		all = append(all, startStarter(t, state, i, 1))
	}
	seen := make(map[string]bool)
	for _, r := range all {
		seen[r.address(t)] = true
	}
	if len(seen) != count {
		t.Errorf("%d containers have %d addresses: %v", count, len(seen), seen)
	}
	for _, r := range all {
		r.stdin.Close()
	}
	for _, r := range all {
		r.wait(t)
	}
	if after := machine(t, state); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}

	all = nil
	for i := range 6 {
		all = append(all, startStarter(t, state, i, 8))
	}
	for _, r := range all {
		r.stdin.Close()
		r.wait(t)
	}
	if after := machine(t, state); after != before {
		t.Errorf("left behind after many starts and ends:\n%s\nbefore:\n%s", after, before)
	}
}

const starterState, starterID, starterRounds = "VITRO_TEST_STATE", "VITRO_TEST_ID", "VITRO_TEST_ROUNDS"

// A running is a process in which starter runs.
type running struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func startStarter(t *testing.T, state string, i, rounds int) *running {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestManyAtOnce$", "-test.timeout=240s")
	cmd.Env = append(os.Environ(), starterState+"="+state, fmt.Sprintf("%s=%010x", starterID, i), fmt.Sprintf("%s=%d", starterRounds, rounds))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &running{cmd, stdin, bufio.NewReader(stdout)}
}

// address waits for the container to be there.
func (r *running) address(t *testing.T) string {
	t.Helper()
	line, err := r.stdout.ReadString('\n')
	if err != nil {
		t.Errorf("starter: %v", err)
	}
	return line
}

func (r *running) wait(t *testing.T) {
	t.Helper()
	out, _ := io.ReadAll(r.stdout)
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("starter: %v\n%s", err, out)
	}
}

// starter starts a container, says its address, waits for its input to end, and
// ends the container; it does so as many times as it is told.
func starter(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(starterRounds))
	if err != nil {
		t.Fatal(err)
	}
	for range rounds {
		pid, end := start(t)
		a := attachAtLast(t, os.Getenv(starterState), os.Getenv(starterID), pid)
		if !ping(pid, a.Gateway().String(), long) {
			t.Errorf("%s can't reach its gateway", a.Address())
		}
		fmt.Println(a.Address())
		if rounds == 1 {
			io.Copy(io.Discard, os.Stdin)
		}
		undo(t, a, -1)
		end()
	}
}

// attachAtLast does what an engine does: it plans again while others are faster.
func attachAtLast(t *testing.T, state, id string, pid int) network.Attachment {
	t.Helper()
	r := request(state, id)
	for ; ; r.Again = true {
		a := join(t, r)
		env := &plan.Env{Pid: pid, Handles: map[string]int{}}
		for i, s := range steps(a) {
			err := s.Do(env)
			if i == 0 && errors.Is(err, network.ErrTaken) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", s.Line(), err)
			}
			if i == len(steps(a))-1 {
				return a
			}
		}
	}
}
