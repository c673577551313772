// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"vitro/container"
)

// A policy says whether a container is started again after its end, in
// Docker's words.
type policy struct {
	Name string // no, always, unless-stopped, on-failure
	Max  int    // of on-failure: how often in a row; 0 is without end
}

// parsePolicy reads --restart.
func parsePolicy(text string) (policy, error) {
	name, max, counted := strings.Cut(text, ":")
	p := policy{Name: name}
	switch name {
	case "":
		p.Name = "no"
	case "no", "always", "unless-stopped", "on-failure":
	default:
		return p, hint(fmt.Errorf("read --restart=%s: no such policy", text), "the policies are no, always, unless-stopped, on-failure and on-failure:TIMES")
	}
	if counted {
		var err error
		if p.Max, err = strconv.Atoi(max); err != nil || p.Max < 0 || name != "on-failure" {
			return p, hint(fmt.Errorf("read --restart=%s: %q is no number of times", text, max), "only on-failure is counted: --restart=on-failure:5")
		}
	}
	return p, nil
}

// again decides whether a container that has ended is started again; restarts
// is how often that was done in a row.
func (p policy) again(exit *container.Exit, wanted container.Wanted, restarts int) bool {
	switch {
	case wanted == container.WantStop:
		return false
	case wanted == container.WantRestart:
		return true
	}
	switch p.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return exit.Code != 0 && (p.Max == 0 || restarts < p.Max)
	}
	return false
}

// atBoot decides whether a container is started when the machine has.
func (p policy) atBoot(exit *container.Exit, wanted container.Wanted) bool {
	switch p.Name {
	case "always":
		return true
	case "unless-stopped":
		return wanted != container.WantStop
	case "on-failure":
		return wanted != container.WantStop && exit != nil && exit.Code != 0
	}
	return false
}

// Docker's times: each restart waits twice as long as the one before, and a
// container that has run for a while begins anew.
const (
	firstPause = 100 * time.Millisecond
	longPause  = time.Minute
	ranWell    = 10 * time.Second
)

// pause is how long to wait before the next of so many restarts in a row.
func pause(restarts int) time.Duration {
	return min(firstPause<<min(restarts, 20), longPause)
}
