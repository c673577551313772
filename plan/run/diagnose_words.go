// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/mountinfo"
	"vitro/plan"
)

// words are the values that have to be found out.
var words = [...]struct {
	name  string
	value func(*scene) string
}{
	{"verb", func(s *scene) string { return s.fault.Step.Action.Verb() }},
	{"syscall", (*scene).syscall},
	{"kernel", func(s *scene) string { return quoteOdd(s.host.said()) }},
	{"option", func(s *scene) string { return plain(s.option()) }},
	{"signal", (*scene).signal},
	{"lowest", (*scene).lowestLimit},
	{"lacking", (*scene).lackingNamespace},
	{"covered", func(s *scene) string { return strings.Join(s.covered("/proc/"), ", ") }},
	{"base", func(s *scene) string { return path.Base(s.value("path")) }},
	{"controller", func(s *scene) string { c, _, _ := strings.Cut(path.Base(s.value("path")), "."); return c }},
	{"dir", func(s *scene) string { return plain(path.Dir(s.value("path"))) }},
	{"above", (*scene).valueAbove},
	{"used", func(s *scene) string {
		return s.sibling("memory.current", "memory.usage_in_bytes", "memory.memsw.usage_in_bytes")
	}},
	{"hard limit", func(s *scene) string { return limitText(s.host.hard(int(s.number("type")))) }},
	{"asked hard", func(s *scene) string { return limitText(s.number("hard")) }},
	{"nr_open", func(s *scene) string { return s.host.read("/proc/sys/fs/nr_open") }},
	{"own oom", func(s *scene) string { return s.host.read("/proc/self/oom_score_adj") }},
	{"missing caps", (*scene).missingCaps},
	{"uid_map", func(s *scene) string { return s.idMap("uid_map") }},
	{"gid_map", func(s *scene) string { return s.idMap("gid_map") }},
	{"upper on", (*scene).upperOn},
	{"layer", (*scene).missingLayer},
	{"length", func(s *scene) string { return strconv.Itoa(len(s.value("name"))) }},
	{"key", func(s *scene) string { return plain(strings.ReplaceAll(s.value("path"), "/", ".")) }},
}

// quoteOdd keeps a sentence as it is unless there are bytes in it that are
// none of a sentence's.
func quoteOdd(s string) string {
	if q := strconv.Quote(s); strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) != s {
		return q
	}
	return s
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

func (s *scene) syscall() string {
	if s.call == nil {
		return ""
	}
	return s.call.Sys.String()
}

// option is what fsconfig(2) was given: "size=64m".
func (s *scene) option() string {
	if !s.called(plan.SysFsconfig) || s.call.Args[2].Kind != plan.String {
		return ""
	}
	key, value := s.call.Args[2], s.call.Args[3]
	if value.Kind != plan.String {
		return key.Text
	}
	return key.Text + "=" + value.Text
}

// signal is what has ended the child: the last field of /proc/PID/stat
// (proc_pid_stat(5)), or what its parent, if that is us, is told of a child
// that may not be looked at.
func (s *scene) signal() string {
	stat := s.host.read(fmt.Sprintf("/proc/%d/stat", s.pid))
	code, err := strconv.Atoi(stat[strings.LastIndexByte(stat, ' ')+1:])
	if err != nil || code&0x7f == 0 {
		code = endedBy(s.pid, errors.Is(s.fault.Err, errKilled))
	}
	if code&0x7f == 0 {
		return ""
	}
	return unix.SignalName(unix.Signal(code & 0x7f))
}

// namespaceConfigs are the kernel's options by the names in /proc/PID/ns.
var namespaceConfigs = [...]struct{ name, config string }{
	{"user", "CONFIG_USER_NS"}, {"pid", "CONFIG_PID_NS"}, {"mnt", "CONFIG_NAMESPACES"}, {"net", "CONFIG_NET_NS"},
	{"ipc", "CONFIG_IPC_NS"}, {"uts", "CONFIG_UTS_NS"}, {"cgroup", "CONFIG_CGROUPS"}, {"time", "CONFIG_TIME_NS"},
}

// lackingNamespace is a kind of namespace that the step makes and the kernel doesn't know.
func (s *scene) lackingNamespace() string {
	flags := s.number("flags")
	for _, n := range namespaceConfigs {
		if flags&plan.NamespaceFlag(n.name) != 0 && !s.host.exists("/proc/self/ns/"+n.name) {
			return fmt.Sprintf("%s namespaces (%s)", n.name, n.config)
		}
	}
	return ""
}

// lowestLimit is the lowest of the limits on the namespaces that the step
// makes (namespaces(7)): "user.max_net_namespaces=0".
func (s *scene) lowestLimit() string {
	flags, text := s.number("flags"), ""
	lowest := uint64(1 << 62)
	for _, n := range namespaceConfigs {
		if flags&plan.NamespaceFlag(n.name) == 0 {
			continue
		}
		limit, err := strconv.ParseUint(s.host.read("/proc/sys/user/max_"+n.name+"_namespaces"), 10, 64)
		if err == nil && limit < lowest {
			lowest, text = limit, fmt.Sprintf("user.max_%s_namespaces=%d", n.name, limit)
		}
	}
	return text
}

// covered are the mounts below a folder that hide a part of it.
func (s *scene) covered(dir string) []string {
	var points []string
	for m := range mountinfo.All(s.host.read("/proc/self/mountinfo")) {
		if strings.HasPrefix(m.Point, dir) && m.Point != "/proc/sys/fs/binfmt_misc" && len(points) < 3 {
			points = append(points, m.Point)
		}
	}
	return points
}

// sibling is what the first of the files beside the one that was written holds.
func (s *scene) sibling(files ...string) string {
	for _, f := range files {
		if v := s.host.read(path.Join(path.Dir(s.value("path")), f)); v != "" {
			return v
		}
	}
	return ""
}

// valueAbove is what the cgroup above has in this file: of CPUs and memory
// nodes, what is effective there.
func (s *scene) valueAbove() string {
	file := s.value("path")
	above := path.Join(path.Dir(path.Dir(file)), path.Base(file))
	for _, f := range []string{above + ".effective", above} {
		if v := s.host.read(f); v != "" {
			return plain(v)
		}
	}
	return ""
}

// missingCaps are the capabilities that a step wants to set and the child hasn't got.
func (s *scene) missingCaps() string {
	a, ok := s.fault.Step.Action.(*plan.Capabilities)
	if !ok {
		return ""
	}
	for line := range strings.Lines(s.host.read(fmt.Sprintf("/proc/%d/status", s.pid))) {
		text, ok := strings.CutPrefix(line, "CapPrm:")
		have, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		if ok && err == nil {
			return strings.Join((a.Permitted &^ plan.CapSet(have)).Names(), ", ")
		}
	}
	return ""
}

// idMap is the child's map in one line: "0 1000 1, 1 100000 65536".
func (s *scene) idMap(file string) string {
	var lines []string
	for line := range strings.Lines(s.host.read(fmt.Sprintf("/proc/%d/%s", s.pid, file))) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if len(lines) == 0 {
		return "empty"
	}
	return strings.Join(lines, ", ")
}

func (s *scene) upperOn() string {
	a, ok := s.fault.Step.Action.(*plan.Overlay)
	if !ok {
		return ""
	}
	return s.host.fsType(a.Upper)
}

// missingLayer is a folder of the overlay that isn't there.
func (s *scene) missingLayer() string {
	a, ok := s.fault.Step.Action.(*plan.Overlay)
	if !ok {
		return ""
	}
	for _, dir := range a.Layers {
		if !s.host.exists(dir) {
			return plain(dir)
		}
	}
	return ""
}
