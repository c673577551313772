// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
)

// The crowd that namespaces are looked for in: 100 groups, each with 5 new
// namespaces and 50 processes.
const (
	crowdGroups = 100
	crowdSize   = 50
)

// namespaces compare vitro ns with lsns(8) among many processes. Both are run
// in the same crowd; vitro finds what hides in descriptors and mounts besides.
func (s *scene) namespaces(vitro string) []contender {
	if os.Geteuid() != 0 {
		return nil
	}
	sleeper := s.path("bundle", "rootfs", "sleeper")
	pids := s.path("crowd.pids")
	// A shell in each group starts the sleepers and becomes the last. It is done when all are there.
	gather := fmt.Sprintf(`for i in $(seq %d); do
		unshare -muipn --fork --kill-child sh -c 'i=1; while [ $i -lt %d ]; do "$0" & i=$((i+1)); done; exec "$0"' "$0" >/dev/null 2>&1 & echo $! >>"$1"
	done
	for i in $(seq 600); do [ $(cat /proc/[0-9]*/comm 2>/dev/null | grep -cx sleeper) -ge %d ] && exit; sleep .1; done; exit 1`,
		crowdGroups, crowdSize, crowdGroups*crowdSize)
	scatter := `while read -r p; do kill -9 "$p" 2>/dev/null; done <"$0"; rm -f "$0"`
	group := fmt.Sprintf("namespaces, with %d processes in %d more", crowdGroups*crowdSize, 5*crowdGroups)
	return []contender{
		{group: group, name: "vitro ns", vitro: true, root: true, needs: []string{vitro, "unshare"},
			setup: [][]string{{"sh", "-c", gather, sleeper, pids}}, argvs: always(vitro, "ns")},
		{group: group, name: "lsns", root: true, needs: []string{"lsns"}, argvs: always("lsns"),
			after: [][]string{{"sh", "-c", scatter, pids}}},
	}
}
