// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"fmt"
	"testing"
	"time"

	"vitro/network"
	"vitro/plan"
)

// A start with a published port costs as much with a thousand containers on the network as with
// one. The fastest of some is compared: the machine may have other things to do.
func TestCostDoesNotGrow(t *testing.T) {
	if !fresh(t) {
		return
	}
	state := t.TempDir()
	create(t, state, network.Definition{Name: "crowd"})
	others := process(t)
	pid := process(t)
	var first time.Duration
	had := 0
	for _, n := range []int{1, 100, 1000} {
		for ; had < n; had++ {
			crowd(t, state, others, had)
		}
		forth := time.Hour
		for range 15 {
			begin := time.Now()
			a := join(t, network.Request{StateDir: state, ID: id1, Wishes: wishes("crowd"), Ports: ports(t, "8080:80")})
			do(t, a, pid, -1)
			forth = min(forth, time.Since(begin))
			undo(t, a, -1)
		}
		t.Logf("with %d containers: %v", n, forth)
		if first == 0 {
			first = forth
		}
		const most = 2
		if forth > most*first {
			t.Errorf("with %d containers: %v; with one: %v", n, forth, first)
		}
	}
}

// crowd is one more container, with a port, whose end of the cable is in a namespace that it shares with others.
func crowd(t *testing.T, state string, pid, i int) {
	t.Helper()
	id := fmt.Sprintf("%012x", 0xabc000000000+i<<8)
	a := join(t, network.Request{StateDir: state, ID: id, Wishes: []network.Wish{{Network: "crowd", Interface: fmt.Sprintf("c%d", i)}},
		Ports: ports(t, fmt.Sprintf("%d:80", 10000+i))})
	env := &plan.Env{Pid: pid, Handles: map[string]int{}}
	for _, s := range steps(a) {
		if _, ok := s.(*network.Address); ok {
			continue
		}
		if err := s.Do(env); err != nil {
			t.Fatalf("%s: %v", s.Line(), err)
		}
	}
}
