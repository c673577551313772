// SPDX-License-Identifier: Apache-2.0

package burn

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "memory-worker" {
		if err := MemoryWorker(os.Stdout, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestKinds(t *testing.T) {
	tests := []struct {
		kind string
		size int64
		want string
	}{
		{"cpu", 1, `(?m)^cpu: \d+\.\d % of one processor in \d\.\d s, wanted by 2$`},
		{"memory", 3 << 20, `(?m)^memory: 3\.0 MiB, all that was wanted$`},
		{"pids", 5, `(?m)^pids: 5 processes, all that were wanted$`},
		{"io", 1 << 20, `(?m)^io: \d+\.\d \wi?B written in \d\.\d s: `},
	}
	for i, k := range Kinds {
		test := tests[i]
		t.Run(k.Name, func(t *testing.T) {
			if l := limit("pids"); k.Name == "pids" && l != nil && l.Value < 100 {
				t.Skipf("needs some processes: %s is %s", l.File, l.Text)
			}
			var out strings.Builder
			o := Options{Workers: 1, Size: test.size, For: 200 * time.Millisecond, Dir: t.TempDir(), Out: &out, Worker: []string{"memory-worker"}}
			if k.Name == "cpu" {
				o.Workers = 2
			}
			if err := k.Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if k.Name != test.kind || !regexp.MustCompile(test.want).MatchString(out.String()) {
				t.Errorf("%s: got %q; want %s", k.Name, out.String(), test.want)
			}
			if left, _ := os.ReadDir(o.Dir); len(left) > 0 {
				t.Errorf("files are left: %v", left)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	for _, k := range Kinds {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		var out strings.Builder
		o := Options{Workers: 1, Size: 1 << 10, Dir: t.TempDir(), Out: &out, Worker: []string{"memory-worker"}} // For: forever
		if k.Name == "pids" {
			o.Size = 2
		}
		if err := k.Run(ctx, o); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
		cancel()
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("children are left: wait: %d, %v", pid, err)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		kind int
		o    Options
		want string
	}{
		{0, Options{Workers: 0}, "--workers=0"},
		{0, Options{Workers: 5000}, "--workers=5000"},
		{1, Options{Workers: 1, Size: 0}, "--size"},
		{1, Options{Workers: 1, Size: 1, For: -1}, "--seconds"},
		{1, Options{Workers: 1, Size: 1 << 60}, "and no limit that is met before"},
		{2, Options{Workers: 1, Size: 40_000}, "--size=40000"},
		{3, Options{Workers: 1, Size: 1, Dir: "/no/such"}, `make file in "/no/such": no such file`},
	}
	for _, test := range tests {
		test.o.Out = new(strings.Builder)
		err := Kinds[test.kind].Run(t.Context(), test.o)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v; want %q", Kinds[test.kind].Name, err, test.want)
		}
	}
}

func TestLimitValues(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cpu.cfs_period_us"), []byte("100000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		read func(dir, text string) (float64, bool)
		text string
		want float64
		ok   bool
	}{
		{number, "10485760", 10485760, true},
		{number, "max", 0, false},
		{number, "", 0, false},
		{number, "9223372036854771712", 0, false},
		{number, "-1", 0, false},
		{quotaV2, "50000 100000", .5, true},
		{quotaV2, "max 100000", 0, false},
		{quotaV2, "1 0", 0, false},
		{quotaV1, "50000", .5, true},
		{quotaV1, "-1", 0, false},
	}
	for _, test := range tests {
		if got, ok := test.read(dir, test.text); ok != test.ok || ok && got != test.want {
			t.Errorf("%q: got %v, %v; want %v, %v", test.text, got, ok, test.want, test.ok)
		}
	}
}
