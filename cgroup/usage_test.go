// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUsage has files of kernels, and what is counted there: the part of
// events' statistics that is not empty.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		name  string
		dir   Dir
		files map[string]string
		want  string
	}{
		{"cpu of v1", Dir{Controllers: []string{"cpu", "cpuacct"}}, map[string]string{
			"cpu.stat":             "nr_periods 7\nnr_throttled 3\nthrottled_time 2500\nnr_bursts 0\nburst_time 0\n",
			"cpuacct.usage":        "123456\n",
			"cpuacct.stat":         "user 5\nsystem 2\n",
			"cpuacct.usage_percpu": "100 23356 \n",
			"cpuacct.usage_all":    "cpu user system\n0 60 40\n1 20000 3356\n",
		}, `"cpu":{"usage":{"total":123456,"percpu":[100,23356],"percpu_kernel":[40,3356],"percpu_user":[60,20000],"kernel":20000000,"user":50000000},"throttling":{"periods":7,"throttledPeriods":3,"throttledTime":2500}}`},
		{"cpu of v2", Dir{V2: true, Controllers: []string{"cpu"}}, map[string]string{
			"cpu.stat":     "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnice_usec 0\nnr_periods 7\nnr_throttled 3\nthrottled_usec 2\n",
			"cpu.pressure": "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
		}, `"cpu":{"usage":{"total":9000,"kernel":4000,"user":5000},"throttling":{"periods":7,"throttledPeriods":3,"throttledTime":2000},"psi":{"some":{"avg10":1.5,"avg60":0.25,"avg300":0,"total":77},"full":{"avg10":0,"avg60":0,"avg300":0,"total":5}}}`},
		{"cpuset of v1", Dir{Controllers: []string{"cpuset"}}, map[string]string{
			"cpuset.cpus": "0-2,5\n", "cpuset.mems": "0\n", "cpuset.sched_load_balance": "1\n", "cpuset.sched_relax_domain_level": "-1\n", "cpuset.memory_migrate": "1\n",
		}, `"cpuset":{"cpus":[0,1,2,5],"cpu_exclusive":0,"mems":[0],"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":1,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":1,"sched_relax_domain_level":-1}`},
		{"memory of v1, without swap accounting", Dir{Controllers: []string{"memory"}}, map[string]string{
			"memory.stat": "cache 10\nrss 20\n", "memory.usage_in_bytes": "30\n", "memory.max_usage_in_bytes": "40\n", "memory.failcnt": "2\n", "memory.limit_in_bytes": "50\n",
			"memory.kmem.usage_in_bytes": "6\n", "memory.kmem.max_usage_in_bytes": "8\n", "memory.kmem.failcnt": "0\n",
		}, `"memory":{"cache":10,"usage":{"limit":50,"usage":30,"max":40,"failcnt":2},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"usage":6,"max":8,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"raw":{"cache":10,"rss":20}}`},
		{"memory of v2", Dir{V2: true, Controllers: []string{"memory"}}, map[string]string{
			"memory.stat": "anon 3\nfile 10\n", "memory.current": "30\n", "memory.max": "100\n", "memory.peak": "35\n", "memory.swap.current": "4\n", "memory.swap.max": "20\n",
		}, `"memory":{"cache":10,"usage":{"limit":100,"usage":30,"max":35,"failcnt":0},"swap":{"limit":120,"usage":34,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":3,"file":10}}`},
		{"memory of v2, no limit", Dir{V2: true, Controllers: []string{"memory"}}, map[string]string{
			"memory.stat": "", "memory.current": "30\n", "memory.max": "max\n", "memory.swap.current": "0\n", "memory.swap.max": "20\n",
		}, `"memory":{"usage":{"limit":18446744073709551615,"usage":30,"failcnt":0},"swap":{"limit":18446744073709551615,"usage":30,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}}`},
		{"pids", Dir{Controllers: []string{"pids"}}, map[string]string{"pids.current": "3\n", "pids.max": "max\n"}, `"pids":{"current":3}`},
		{"pids of v2", Dir{V2: true, Controllers: []string{"pids"}}, map[string]string{"pids.current": "3\n", "pids.max": "8\n"}, `"pids":{"current":3,"limit":8}`},
		{"blkio, without BFQ", Dir{Controllers: []string{"blkio"}}, map[string]string{
			"blkio.bfq.io_serviced_recursive": "Total 0\n", "blkio.bfq.io_service_bytes_recursive": "Total 0\n",
			"blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n",
			"blkio.throttle.io_serviced_recursive":      "8:0 Read 1\n8:0 Write 0\n8:0 Total 1\nTotal 1\n",
			"blkio.throttle.io_serviced":                "8:0 Read 9\nTotal 9\n",
		}, `"blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":4096},{"major":8,"op":"Write"},{"major":8,"op":"Total","value":4096}],` +
			`"ioServicedRecursive":[{"major":8,"op":"Read","value":1},{"major":8,"op":"Write"},{"major":8,"op":"Total","value":1}]}`},
		{"blkio, with BFQ", Dir{Controllers: []string{"blkio"}}, map[string]string{
			"blkio.bfq.io_service_bytes_recursive": "8:0 Read 5\nTotal 5\n", "blkio.bfq.sectors_recursive": "8:16 12\n", "blkio.throttle.io_service_bytes_recursive": "8:0 Read 9\nTotal 9\n",
		}, `"blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":5}],"sectorsRecursive":[{"major":8,"minor":16,"value":12}]}`},
		{"io", Dir{V2: true, Controllers: []string{"io"}}, map[string]string{
			"io.stat":     "8:0 rbytes=10 wbytes=20 rios=3 wios=4 dbytes=0 dios=0 cost.usage=9\n254:0 \n",
			"io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		}, `"blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":10},{"major":8,"op":"Write","value":20}],"ioServicedRecursive":[{"major":8,"op":"Read","value":3},{"major":8,"op":"Write","value":4}],` +
			`"psi":{"some":{"avg10":0,"avg60":0,"avg300":0,"total":1},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}}`},
		{"hugetlb of v1", Dir{Controllers: []string{"hugetlb"}}, map[string]string{
			"hugetlb.2MB.usage_in_bytes": "1\n", "hugetlb.2MB.rsvd.usage_in_bytes": "4\n", "hugetlb.2MB.rsvd.max_usage_in_bytes": "6\n", "hugetlb.2MB.rsvd.failcnt": "2\n", "hugetlb.1GB.usage_in_bytes": "5\n",
		}, `"hugetlb":{"1GB":{"usage":5,"failcnt":0},"2MB":{"usage":4,"max":6,"failcnt":2}}`},
		{"hugetlb of v2", Dir{V2: true, Controllers: []string{"hugetlb"}}, map[string]string{
			"hugetlb.2MB.current": "1\n", "hugetlb.2MB.rsvd.current": "4\n", "hugetlb.2MB.events": "max 3\n",
		}, `"hugetlb":{"2MB":{"usage":4,"failcnt":3}}`},
		{"nothing", Dir{V2: true}, nil, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.dir.Path = t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(c.dir.Path, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			u := &Usage{Hugetlb: make(map[string]HugetlbPage)}
			r := plainCounts(c.dir.Path)
			r.all(u, c.dir)
			if r.err != nil {
				t.Fatal(r.err)
			}
			if got := parts(t, u); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// plainCounts reads files that are on no cgroup file system.
func plainCounts(dir string) *counts {
	return &counts{dir: dir, read: func(dir, file string) (string, error) { return readFile(filepath.Join(dir, file)) }}
}

// parts are the members of the statistics that are not as they are of nothing.
func parts(t *testing.T, u *Usage) string {
	t.Helper()
	empty, got := make(map[string]json.RawMessage), make(map[string]json.RawMessage)
	for to, v := range map[*map[string]json.RawMessage]*Usage{&empty: {Hugetlb: make(map[string]HugetlbPage)}, &got: u} {
		if err := json.Unmarshal([]byte(asJSON(t, v)), to); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for _, k := range []string{"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb"} {
		if !bytes.Equal(got[k], empty[k]) {
			all = append(all, `"`+k+`":`+string(got[k]))
		}
	}
	return strings.Join(all, ",")
}

// What is no number is an error that names the file.
func TestUsageNonsense(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/pids.current", []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := plainCounts(dir)
	r.all(new(Usage), Dir{Path: dir, Controllers: []string{"pids"}})
	if r.err == nil || !strings.Contains(r.err.Error(), `/pids.current: "many" is not a number`) {
		t.Errorf("%v: want an error that names the file", r.err)
	}
}

func TestUsageOfNothing(t *testing.T) {
	if _, err := (Dirs{}).Usage(); !errors.Is(err, ErrNoController) {
		t.Errorf("without cgroups: %v, want ErrNoController", err)
	}
	if _, err := (Dirs{{Path: "/nowhere", V2: true}}).Usage(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("of a cgroup that is gone: %v, want ENOENT", err)
	}
}
