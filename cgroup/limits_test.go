// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Shares that are N times others' are a weight that is N times theirs, as near
// as whole numbers come.
func TestSharesToWeight(t *testing.T) {
	for _, c := range []struct{ shares, want uint64 }{
		{0, 0},
		{2, 1},
		{10, 1},
		{80, 8},
		{256, 25},
		{512, 50},
		{1024, 100},
		{2048, 200},
		{10240, 1000},
		{102400, 10000},
		{262144, 10000},
	} {
		if got := SharesToWeight(c.shares); got != c.want {
			t.Errorf("SharesToWeight(%d) = %d, want %d", c.shares, got, c.want)
		}
	}
	last := uint64(0)
	for s := uint64(1); s < 1<<18+10; s += 7 {
		w := SharesToWeight(s)
		if w < last || w < 1 || w > 10000 {
			t.Fatalf("SharesToWeight(%d) = %d after %d", s, w, last)
		}
		last = w
	}
}

// The values are those of ConvertBlkIOToIOWeightValue there.
func TestIOWeight(t *testing.T) {
	for _, c := range []struct {
		weight uint16
		want   uint64
	}{
		{0, 0},
		{10, 1},
		{11, 11},
		{100, 910},
		{500, 4950},
		{999, 9989},
		{1000, 10000},
	} {
		if got := IOWeight(c.weight); got != c.want {
			t.Errorf("IOWeight(%d) = %d, want %d", c.weight, got, c.want)
		}
	}
}

// The values are those of ConvertMemorySwapToCgroupV2Value there, written as
// its driver for version 2 writes them; "-" is for nothing written.
func TestSwapV2(t *testing.T) {
	for _, c := range []struct {
		limit, swap int64
		want        string
	}{
		{0, 0, "-"}, {0, -1, "max"}, {100, -1, "max"}, {100, 0, "-"}, {100, 100, "0"}, {100, 300, "200"}, {-1, 300, "300"}, {-1, -1, "max"},
		{0, 300, "error"}, {300, 100, "error"},
	} {
		rows, err := Limits(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &c.limit, Swap: &c.swap}})
		got := "-"
		if err != nil {
			got = "error"
		}
		for _, r := range rows {
			if r.Property == "memory.swap" {
				got = r.V2.Entries[0].Value
			}
		}
		if got != c.want {
			t.Errorf("limit %d, swap %d: memory.swap.max is %s, want %s", c.limit, c.swap, got, c.want)
		}
	}
}

func TestLimitsRefuse(t *testing.T) {
	for _, c := range []struct{ res, want string }{
		{`{"cpu":{"period":999}}`, `set cpu.period to "999": the kernel takes 1000 to 1000000 µs`},
		{`{"cpu":{"quota":10}}`, `set cpu.quota to "10": the kernel takes 1000 µs and more`},
		{`{"cpu":{"quota":1000,"burst":2000}}`, `set cpu.burst to "2000": larger than the quota`},
		{`{"cpu":{"idle":2}}`, `set cpu.idle to "2": neither 0 nor 1`},
		{`{"cpu":{"cpus":"0-"}}`, `set cpu.cpus to "0-": not a list such as 0-3,7`},
		{`{"cpu":{"mems":"3-1"}}`, `set cpu.mems to "3-1": not a list such as 0-3,7`},
		{`{"memory":{"limit":-2}}`, `set memory.limit to "-2": negative`},
		{`{"memory":{"limit":1,"swap":-3}}`, `set memory.swap to "-3": negative`},
		{`{"memory":{"swappiness":101}}`, `set memory.swappiness to "101": the kernel takes 0 to 100`},
		{`{"blockIO":{"weight":9}}`, `set blockIO.weight to "9": not from 10 to 1000`},
		{`{"hugepageLimits":[{"pageSize":"../2MB","limit":1}]}`, `set hugepageLimits to "../2MB": not a page size such as 2MB`},
		{`{"hugepageLimits":[{"pageSize":"2mb","limit":1}]}`, `set hugepageLimits to "2mb": not a page size such as 2MB`},
		{`{"network":{"priorities":[{"name":"a b","priority":1}]}}`, `set network.priorities to "a b": not an interface's name`},
		{`{"rdma":{"a\nb":{"hcaHandles":1}}}`, `set rdma to "a\nb": not a device's name`},
		{`{"unified":{"../memory.max":"1"}}`, `set unified to "../memory.max": not a file's name such as memory.high`},
		{`{"unified":{"cgroup.procs":"1"}}`, `set unified to "cgroup.procs": this file moves or ends processes, and sets no limit`},
		{`{"unified":{"memory":"1"}}`, `set unified to "memory": not a file's name such as memory.high`},
	} {
		_, err := Limits(resources(t, c.res))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.res, err, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{cpus(50000, 100000), "half of one CPU's time"},
		{cpus(100000, 100000), "one CPU's time"},
		{cpus(20000, 100000), "20 % of one CPU's time"},
		{cpus(150000, 100000), "the time of 1.5 CPUs"},
		{byteSize(10485760), "10 MiB"},
		{byteSize(1023), "1023 bytes"},
		{byteSize(1<<63 - 1), "8 EiB"},
		{byteSize(1536), "1.5 KiB"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
