// SPDX-License-Identifier: Apache-2.0

package processors_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"vitro/internal/processors"
)

func TestEach(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, n := range []int{0, 1, 2, 1000} {
		calls := make([]atomic.Int32, n)
		processors.Each(n, func(i int) { calls[i].Add(1) })
		for i := range calls {
			if got := calls[i].Load(); got != 1 {
				t.Errorf("of %d, %d was called %d times", n, i, got)
			}
		}
	}
	processors.All()
	all := runtime.GOMAXPROCS(0)
	if most := runtime.NumCPU(); all > most || most > 1 && all < 2 {
		t.Errorf("%d processors are used, of %d", all, most)
	}
}

// TestUser: who has set GOMAXPROCS has a say.
func TestUser(t *testing.T) {
	t.Setenv("GOMAXPROCS", "1")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	processors.Each(10, func(int) {})
	if got := runtime.GOMAXPROCS(0); got != 1 {
		t.Errorf("%d processors are used, GOMAXPROCS is 1", got)
	}
}
