// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"vitro/plan"
)

// status reads /proc/PID/status: proc_pid_status(5).
func status(p *Process, dir string) {
	data, err := os.ReadFile(dir + "/status")
	p.miss("its status", err)
	parseStatus(p, data)
}

func parseStatus(p *Process, data []byte) {
	caps := func(text string) plan.CapSet {
		n, _ := strconv.ParseUint(text, 16, 64)
		return plan.CapSet(n)
	}
	for line := range bytes.Lines(data) {
		key, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":")
		value := strings.TrimSpace(rest)
		switch key {
		case "Umask":
			n, _ := strconv.ParseUint(value, 8, 32)
			p.Umask = uint32(n)
		case "Uid":
			copy(p.UIDs[:], ids(value))
		case "Gid":
			copy(p.GIDs[:], ids(value))
		case "Groups":
			p.Groups = ids(value)
		case "NSpid":
			for _, id := range ids(value) {
				p.Levels = append(p.Levels, Level{PID: int(id)})
			}
		case "CapInh":
			p.Capabilities.Inheritable = caps(value)
		case "CapPrm":
			p.Capabilities.Permitted = caps(value)
		case "CapEff":
			p.Capabilities.Effective = caps(value)
		case "CapBnd":
			p.Capabilities.Bounding = caps(value)
		case "CapAmb":
			p.Capabilities.Ambient = caps(value)
		case "NoNewPrivs":
			p.NoNewPrivs = value == "1"
		case "Seccomp":
			p.Seccomp, _ = strconv.Atoi(value)
		case "Seccomp_filters":
			p.Filters, _ = strconv.Atoi(value)
		}
	}
}

func ids(text string) (list []uint32) {
	for f := range strings.FieldsSeq(text) {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			continue
		}
		list = append(list, uint32(n))
	}
	return list
}

// A Limit is one of getrlimit(2)'s.
type Limit struct {
	Type string `json:"type"` // RLIMIT_NOFILE
	Soft uint64 `json:"soft"` // Unlimited for none
	Hard uint64 `json:"hard"`
}

// Unlimited is no limit.
const Unlimited = ^uint64(0)

// limitNames are what /proc/PID/limits calls the limits.
var limitNames = [...]struct{ text, name string }{
	{"Max cpu time", "RLIMIT_CPU"}, {"Max file size", "RLIMIT_FSIZE"}, {"Max data size", "RLIMIT_DATA"},
	{"Max stack size", "RLIMIT_STACK"}, {"Max core file size", "RLIMIT_CORE"}, {"Max resident set", "RLIMIT_RSS"},
	{"Max processes", "RLIMIT_NPROC"}, {"Max open files", "RLIMIT_NOFILE"}, {"Max locked memory", "RLIMIT_MEMLOCK"},
	{"Max address space", "RLIMIT_AS"}, {"Max file locks", "RLIMIT_LOCKS"}, {"Max pending signals", "RLIMIT_SIGPENDING"},
	{"Max msgqueue size", "RLIMIT_MSGQUEUE"}, {"Max nice priority", "RLIMIT_NICE"}, {"Max realtime priority", "RLIMIT_RTPRIO"},
	{"Max realtime timeout", "RLIMIT_RTTIME"},
}

func readLimits(p *Process, dir string) {
	data, err := os.ReadFile(dir + "/limits")
	p.miss("its limits", err)
	p.Limits = parseLimits(data)
}

func parseLimits(data []byte) (list []Limit) {
	number := func(text string) uint64 {
		if text == "unlimited" {
			return Unlimited
		}
		n, _ := strconv.ParseUint(text, 10, 64)
		return n
	}
	for line := range bytes.Lines(data) {
		for _, l := range limitNames {
			rest, ok := bytes.CutPrefix(line, []byte(l.text+" "))
			if !ok {
				continue
			}
			if f := strings.Fields(string(rest)); len(f) >= 2 {
				list = append(list, Limit{l.name, number(f[0]), number(f[1])})
			}
			break
		}
	}
	return list
}
