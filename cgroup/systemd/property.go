// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vitro/internal/dbus"
)

// A Property of a unit, with its value in GVariant's text format: "MemoryMax",
// "uint64 33554432".
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (p Property) String() string { return p.Name + "=" + p.Value }

// Text is the value, if it is a string.
func (p Property) Text() string {
	v, _ := dbus.ParseText(p.Value)
	s, _ := v.Value.(string)
	return s
}

// encode makes properties the argument of a call: a(sv).
func encode(list []Property) ([]any, error) {
	out := make([]any, 0, len(list))
	for _, p := range list {
		v, err := dbus.ParseText(p.Value)
		if err != nil {
			return nil, fmt.Errorf("set property %s: %w", p.Name, err)
		}
		out = append(out, []any{p.Name, v})
	}
	return out, nil
}

// annotation is what begins the annotations that are properties.
const annotation = "org.systemd.property."

// Annotated are the properties that annotations of a config.json ask for, as
// runc has it: "org.systemd.property.TimeoutStopUSec" with the value "uint64
// 5000000". A name that ends in Sec is for seconds, and becomes USec.
func Annotated(annotations map[string]string) ([]Property, error) {
	var list []Property
	for key, text := range annotations {
		name, ok := strings.CutPrefix(key, annotation)
		if !ok || text == "" {
			continue
		}
		if len(name) < 3 || strings.ContainsFunc(name, func(r rune) bool { return !isLetter(r) }) {
			return nil, fmt.Errorf("read annotation %q: no name of a property", key)
		}
		v, err := dbus.ParseText(text)
		if err != nil {
			return nil, fmt.Errorf("read annotation %q: %w", key, err)
		}
		p := Property{name, text}
		if short, ok := strings.CutSuffix(name, "Sec"); ok && short[len(short)-1] >= 'a' && short[len(short)-1] <= 'z' {
			if p, err = microseconds(short+"USec", v); err != nil {
				return nil, fmt.Errorf("read annotation %q: %w", key, err)
			}
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Property) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// microseconds turns a number of seconds into what systemd's interface takes.
func microseconds(name string, v dbus.Variant) (p Property, err error) {
	n, err := strconv.ParseFloat(fmt.Sprint(v.Value), 64)
	if v.Sig == "s" || err != nil || !(n >= 0 && n < 1e12) {
		return p, fmt.Errorf("%v is no number of seconds", v.Value)
	}
	return Property{name, uint64Text(uint64(n * 1e6))}, nil
}

// A File is a limit as it is written to a cgroup.
type File struct {
	V2          bool
	Name, Value string
}

// words are the files of cgroups that systemd has a property for, and since
// which version. What has none is not reset by systemd either.
var words = [...]struct {
	v1, v2   bool
	file     string
	property string
	since    int
	text     func(value string) string // "" if the value is none for systemd
}{
	{true, false, "memory.limit_in_bytes", "MemoryMax", 231, amount},
	{false, true, "memory.max", "MemoryMax", 231, amount},
	{false, true, "memory.high", "MemoryHigh", 231, amount},
	{false, true, "memory.low", "MemoryLow", 231, amount},
	{false, true, "memory.min", "MemoryMin", 240, amount},
	{false, true, "memory.swap.max", "MemorySwapMax", 232, amount},
	{false, true, "memory.oom.group", "OOMPolicy", 253, oomPolicy},
	{true, true, "pids.max", "TasksMax", 227, amount},
	{true, false, "cpu.shares", "CPUShares", 0, amount},
	{false, true, "cpu.weight", "CPUWeight", 232, amount},
	{false, true, "cpu.idle", "CPUWeight", 252, idle},
	{false, true, "cpuset.cpus", "AllowedCPUs", 244, mask},
	{false, true, "cpuset.mems", "AllowedMemoryNodes", 244, mask},
	{false, true, "io.weight", "IOWeight", 230, weight},
	{false, true, "io.bfq.weight", "IOWeight", 230, bfqWeight},
	{true, false, "blkio.weight", "BlockIOWeight", 0, amount},
	{true, false, "blkio.bfq.weight", "BlockIOWeight", 0, amount},
}

// Properties are what systemd has to know of limits, so that it doesn't reset
// them, in words that it has had since some version.
func Properties(files []File, version int) []Property {
	var list []Property
	quota, period, bandwidth := int64(-1), int64(0), false
	for _, f := range files {
		if readBandwidth(f, &quota, &period) {
			bandwidth = true
			continue
		}
		for _, w := range words {
			if f.Name != w.file || f.V2 && !w.v2 || !f.V2 && !w.v1 || version < w.since {
				continue
			}
			if text := w.text(strings.TrimSpace(f.Value)); text != "" {
				list = append(list, Property{w.property, text})
			}
		}
	}
	if !bandwidth {
		return list
	}
	list = append(list, Property{"CPUQuotaPerSecUSec", uint64Text(perSecond(quota, period))})
	if period != 0 && version >= 242 {
		list = append(list, Property{"CPUQuotaPeriodUSec", uint64Text(uint64(period))})
	}
	return list
}

// readBandwidth reads the files that share a property.
func readBandwidth(f File, quota, period *int64) bool {
	q, p := "", ""
	switch f.Name {
	case "cpu.cfs_quota_us":
		q = f.Value
	case "cpu.cfs_period_us":
		p = f.Value
	case "cpu.max":
		q, p, _ = strings.Cut(f.Value, " ")
	default:
		return false
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(p), 10, 64); err == nil {
		*period = n
	}
	if n, err := strconv.ParseInt(strings.TrimSpace(q), 10, 64); err == nil {
		*quota = n
	}
	return true
}

// perSecond is the CPU time for each second, in µs. systemd counts in percents
// (10 ms) and rounds down, so it is rounded up first: the file has the exact one.
func perSecond(quota, period int64) uint64 {
	if quota <= 0 {
		return 1<<64 - 1
	}
	if period <= 0 {
		period = 100_000 // the kernel's default
	}
	return (uint64(quota)*1_000_000/uint64(period) + 9999) / 10_000 * 10_000
}

func uint64Text(n uint64) string { return "uint64 " + strconv.FormatUint(n, 10) }

// amount is a number; -1 and "max" are infinity.
func amount(value string) string {
	if value == "max" || value == "-1" {
		return uint64Text(1<<64 - 1)
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return ""
	}
	return uint64Text(n)
}

func oomPolicy(value string) string {
	if value == "1" {
		return "'kill'"
	}
	return "'continue'"
}

// idle: 0 is a weight of its own since version 252.
func idle(value string) string {
	if value == "1" {
		return uint64Text(0)
	}
	return ""
}

// weight is the line for all disks, not that for one.
func weight(value string) string {
	return amount(strings.TrimPrefix(value, "default "))
}

// bfqWeight turns BFQ's 1 to 1000 into the 1 to 10000 that systemd turns back:
// up to 100, the default of both, they are the same.
func bfqWeight(value string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(value, "default "), 10, 16)
	if err != nil {
		return ""
	}
	if n > 100 {
		n = 100 + (n-100)*11
	}
	return uint64Text(n)
}

// mask is a list such as "0-3,7" as a bit for each number, the lowest first.
func mask(list string) string {
	var bits []byte
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(from, 10, 13)
		b := a
		if isRange && err == nil {
			b, err = strconv.ParseUint(to, 10, 13)
		}
		if err != nil {
			return "" // with strides; the file has it
		}
		for ; a <= b; a++ {
			for uint64(len(bits)) <= a/8 {
				bits = append(bits, 0)
			}
			bits[a/8] |= 1 << (a % 8)
		}
	}
	var s strings.Builder
	s.WriteString("[")
	for i, b := range bits {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "byte 0x%02x", b)
	}
	return s.String() + "]"
}
