// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// What `vitro burn` says of itself in a container, and the limit that it names.
func TestBurnNamesTheLimit(t *testing.T) {
	needLimits(t)
	tests := []struct {
		flags, command string
		want           []string
	}{
		{"--cpus .5", "cpu --seconds 2 --workers 3", []string{`(?m)^cpu: (\d|[1-4]\d|5[0-5])\.\d % of one processor`, `limit: \S+/cpu\.(max|cfs_quota_us) is 50000( 100000)?: 50 %`, `stopped in \d+ of \d+ periods`}},
		{"--cpu-shares 512", "cpu --seconds 0.1", []string{`limit: none to be seen`, `weight: \S+/cpu\.(weight|shares) is \d+`}},
		{"-m 10m", "memory --size 50m", []string{`memory: \d\.\d MiB, then the kernel killed`, `limit: \S+/memory\.(max|limit_in_bytes) is 10485760: 10\.0 MiB`, `had 1 of its processes killed`}},
		{"-m 50m", "memory --size 3m --seconds 0.1", []string{`memory: 3\.0 MiB, all that was wanted`, `limit: \S+ is 52428800: 50\.0 MiB`}},
		{"--pids-limit 30", "pids --seconds 0.1", []string{`pids: \d+ processes, then refused: clone: resource temporarily unavailable`, `limit: \S+/pids\.max is 30`}},
		{"--pids-limit 30", "pids --size 4 --seconds 0.1", []string{`pids: 4 processes, all that were wanted`}},
		{"", "io --seconds 0.1", []string{`(?m)^io: .* written`}},
	}
	for _, test := range tests {
		args := append(strings.Fields("vitro run --rm --network none "+test.flags), "-v", st.vitro+":/bin/vitro", "busybox", "vitro", "burn")
		got := output(t, append(args, strings.Fields(test.command)...)...)
		for _, want := range test.want {
			if !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("%s, %s: got\n%s\nwant %s", test.flags, test.command, got, want)
			}
		}
	}
}
