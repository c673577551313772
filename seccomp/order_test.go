// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// An orderTest has rules for dup3 that overlap and differ, over a default of
// EPERM; the package's doc has the order.
type orderTest struct {
	name  string
	rules []string
	probe [6]uint64
	want  string
}

func (o *orderTest) section() string {
	return `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[` + strings.Join(o.rules, ",") + `]}`
}

func orderTests() []orderTest {
	allow := func(args string) string {
		return `{"names":["dup3"],"action":"SCMP_ACT_ALLOW","args":[` + args + `]}`
	}
	trap := func(args string) string { return `{"names":["dup3"],"action":"SCMP_ACT_TRAP","args":[` + args + `]}` }
	arg := func(index int, op string, value uint64) string {
		return fmt.Sprintf(`{"index":%d,"op":"SCMP_CMP_%s","value":%d}`, index, op, value)
	}
	return []orderTest{
		{"UnconditionalWinsBefore", []string{allow(""), trap(arg(0, "EQ", 1))}, [6]uint64{1}, "allow"},
		{"UnconditionalWinsAfter", []string{trap(arg(0, "EQ", 1)), allow("")}, [6]uint64{1}, "allow"},
		{"FirstUnconditionalWins", []string{trap(""), allow("")}, [6]uint64{}, "trap"},
		{"EqualBeforeLess", []string{trap(arg(0, "LT", 10)), allow(arg(0, "EQ", 5))}, [6]uint64{5}, "allow"},
		{"LessBeforeGreater", []string{trap(arg(0, "GT", 2)), allow(arg(0, "LT", 10))}, [6]uint64{5}, "allow"},
		{"LowerBoundTightestFirst", []string{trap(arg(0, "GT", 2)), allow(arg(0, "GT", 4))}, [6]uint64{5}, "allow"},
		{"UpperBoundTightestFirst", []string{trap(arg(0, "LT", 10)), allow(arg(0, "LT", 8))}, [6]uint64{5}, "allow"},
		{"HigherArgumentFirst", []string{trap(arg(0, "EQ", 5)), allow(arg(1, "EQ", 5))}, [6]uint64{5, 5}, "allow"},
		{"ShorterFirst", []string{allow(arg(0, "EQ", 5)), trap(arg(0, "EQ", 5) + "," + arg(1, "EQ", 5))}, [6]uint64{5, 5}, "allow"},
		{"AllOfARule", []string{trap(arg(0, "EQ", 5) + "," + arg(1, "EQ", 6))}, [6]uint64{5, 5}, "errno EPERM"},
		{"SameArgumentTwiceIsAny", []string{trap(arg(0, "EQ", 5) + "," + arg(0, "EQ", 6))}, [6]uint64{6}, "trap"},
		{"LikeTheDefaultIsDropped", []string{
			`{"names":["dup3"],"action":"SCMP_ACT_ERRNO"}`, trap("")}, [6]uint64{}, "trap"},
	}
}

func TestOrder(t *testing.T) {
	for _, tt := range orderTests() {
		f := mustCompile(t, section(t, tt.section()), X8664)
		if got := Action(f.Verdict(unix.SYS_DUP3, X8664.AuditArch(), tt.probe)); got != tt.want {
			t.Errorf("%s: dup3(%v): %s; want %s\n%v", tt.name, tt.probe, got, tt.want, f)
		}
	}
}

// TestOracleOrder has libseccomp judge the same sections, on all arguments.
func TestOracleOrder(t *testing.T) {
	bin := buildOracle(t)
	for _, tt := range orderTests() {
		p := section(t, tt.section())
		a, err := askOracle(bin, p, X8664)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for _, d := range compare(mustCompile(t, p, X8664), a, p, X8664) {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}
