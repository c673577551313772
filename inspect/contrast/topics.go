// SPDX-License-Identifier: Apache-2.0

package contrast

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// namespaceFlags are the flags for the kinds of namespaces.
var namespaceFlags = [...]struct {
	typ       specs.LinuxNamespaceType
	flag, own string
}{
	{specs.UserNamespace, "userns", "auto"}, {specs.MountNamespace, "", ""}, {specs.PIDNamespace, "pid", "private"}, {specs.NetworkNamespace, "network", "none"},
	{specs.IPCNamespace, "ipc", "private"}, {specs.UTSNamespace, "uts", "private"}, {specs.CgroupNamespace, "cgroupns", "private"}, {specs.TimeNamespace, "time", "private"},
}

func (c *comparison) namespaces() {
	state := func(s *Side, typ specs.LinuxNamespaceType) string {
		for _, n := range s.Spec.Linux.Namespaces {
			if n.Type == typ {
				if n.Path != "" {
					return "another's: " + n.Path
				}
				return "its own"
			}
		}
		return "the host's"
	}
	for _, n := range namespaceFlags {
		a, b := state(c.a, n.typ), state(c.b, n.typ)
		flag := ""
		switch {
		case n.flag == "":
		case b == "the host's":
			flag = "--" + n.flag + "=host"
		case b == "its own":
			flag = "--" + n.flag + "=" + n.own
		default:
			flag = "--" + n.flag + "=ns:" + strings.TrimPrefix(b, "another's: ")
		}
		c.differ(string(n.typ), a, b, flag)
	}
	if c.a.Spec.Hostname != c.b.Spec.Hostname {
		b := c.b.plain(c.b.Spec.Hostname)
		c.differ("hostname", c.a.plain(c.a.Spec.Hostname), b, flagged("--hostname", b))
	}
	c.differ("domainname", c.a.Spec.Domainname, c.b.Spec.Domainname, flagged("--domainname", c.b.Spec.Domainname))
	c.differ("clocks", offsets(c.a.Spec.Linux.TimeOffsets), offsets(c.b.Spec.Linux.TimeOffsets), "")
}

// plain takes a container's ID out of a text.
func (s *Side) plain(text string) string {
	if len(s.ID) < 12 {
		return text
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, s.ID, "ID"), s.ID[:12], "ID")
}

func flagged(flag, value string) string {
	if value == "" || value == "ID" {
		return ""
	}
	return flag + " " + value
}

func offsets(m map[string]specs.LinuxTimeOffset) string {
	var list []string
	for _, clock := range [...]string{"monotonic", "boottime"} {
		if o, ok := m[clock]; ok && (o.Secs != 0 || o.Nanosecs != 0) {
			list = append(list, fmt.Sprintf("%s %+d.%09d s", clock, o.Secs, o.Nanosecs))
		}
	}
	return strings.Join(list, ", ")
}

func (c *comparison) users() {
	ranges := func(list []specs.LinuxIDMapping) string {
		var out []string
		for _, r := range list {
			out = append(out, fmt.Sprintf("%d=%d+%d", r.ContainerID, r.HostID, r.Size))
		}
		return strings.Join(out, " ")
	}
	c.differ("uid map", ranges(c.a.Spec.Linux.UIDMappings), ranges(c.b.Spec.Linux.UIDMappings), "")
	c.differ("gid map", ranges(c.a.Spec.Linux.GIDMappings), ranges(c.b.Spec.Linux.GIDMappings), "")
	user := func(u specs.User) string { return fmt.Sprintf("%d:%d", u.UID, u.GID) }
	a, b := c.a.Spec.Process.User, c.b.Spec.Process.User
	c.differ("user", user(a), user(b), "--user "+user(b))
	groups := func(u specs.User) []string {
		var out []string
		for _, g := range u.AdditionalGids {
			if name := strconv.FormatUint(uint64(g), 10); g != u.GID && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		return out
	}
	c.sets("group ", groups(a), groups(b), func(name string, in bool) string {
		if in {
			return "--group-add " + name
		}
		return ""
	})
}

func (c *comparison) capabilities() {
	a, b := c.a.Spec.Process.Capabilities, c.b.Spec.Process.Capabilities
	for _, set := range [...]struct {
		name string
		a, b []string
		flag bool
	}{
		{"", a.Bounding, b.Bounding, true}, {"effective ", a.Effective, b.Effective, false}, {"permitted ", a.Permitted, b.Permitted, false},
		{"inheritable ", a.Inheritable, b.Inheritable, false}, {"ambient ", a.Ambient, b.Ambient, false},
	} {
		// The sets follow each other: one that differs as the bounding set does is told once.
		skip := func(name string) bool {
			return !set.flag && slices.Contains(a.Bounding, name) != slices.Contains(b.Bounding, name)
		}
		drop := func(list []string) []string { return slices.DeleteFunc(slices.Clone(list), skip) }
		c.sets(set.name, drop(set.a), drop(set.b), func(name string, in bool) string {
			name = strings.TrimPrefix(name, "CAP_")
			switch {
			case !set.flag:
				return ""
			case in:
				return "--cap-add " + name
			}
			return "--cap-drop " + name
		})
	}
}

func (c *comparison) seccomp() {
	state := func(s *Side) string {
		switch {
		case s.Spec.Linux.Seccomp == nil && s.Filters > 0:
			return "a filter"
		case s.Spec.Linux.Seccomp == nil:
			return "none"
		}
		return "a filter"
	}
	a, b := state(c.a), state(c.b)
	flag := "--security-opt seccomp=unconfined"
	if b != "none" {
		flag = "--security-opt seccomp=builtin"
	}
	c.differ("filter", a, b, flag)
	if a == b && c.a.Spec.Linux.Seccomp != nil && c.b.Spec.Linux.Seccomp != nil {
		x, _ := json.Marshal(c.a.Spec.Linux.Seccomp)
		y, _ := json.Marshal(c.b.Spec.Linux.Seccomp)
		if string(x) != string(y) {
			c.differ("filter", "one", "another", "--security-opt seccomp=FILE")
		}
	}
	if c.a.Filters > 0 && c.b.Filters > 0 {
		c.differ("filters", strconv.Itoa(c.a.Filters), strconv.Itoa(c.b.Filters), "")
	}
}

func (c *comparison) rights() {
	a, b := c.a.Spec.Process, c.b.Spec.Process
	yes := map[bool]string{true: "set", false: "not set"}
	flag := map[bool]string{true: "--security-opt no-new-privileges", false: ""}
	c.differ("no_new_privs", yes[a.NoNewPrivileges], yes[b.NoNewPrivileges], flag[b.NoNewPrivileges])
	c.differ("apparmor", a.ApparmorProfile, b.ApparmorProfile, flagged("--security-opt", prefixed("apparmor=", b.ApparmorProfile)))
	c.differ("selinux", a.SelinuxLabel, b.SelinuxLabel, flagged("--security-opt", prefixed("label=", b.SelinuxLabel)))
	score := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	c.differ("oom_score_adj", score(a.OOMScoreAdj), score(b.OOMScoreAdj), flagged("--oom-score-adj", score(b.OOMScoreAdj)))
	terminal := map[bool]string{true: "its own", false: "none"}
	c.differ("terminal", terminal[a.Terminal], terminal[b.Terminal], map[bool]string{true: "-t", false: ""}[b.Terminal])
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func (c *comparison) root() {
	words := map[bool]string{true: "read-only", false: "writable"}
	c.differ("files", words[c.a.Spec.Root.Readonly], words[c.b.Spec.Root.Readonly], map[bool]string{true: "--read-only"}[c.b.Spec.Root.Readonly])
	share := func(s *Side) string {
		if p := strings.TrimPrefix(s.Spec.Linux.RootfsPropagation, "r"); p != "" {
			return p
		}
		return "private"
	}
	c.differ("propagation", share(c.a), share(c.b), "")
}

func (c *comparison) paths() {
	unconfined := func(_ string, in bool) string {
		if in {
			return ""
		}
		return "--security-opt systempaths=unconfined"
	}
	c.sets("masked ", c.a.Spec.Linux.MaskedPaths, c.b.Spec.Linux.MaskedPaths, unconfined)
	c.sets("read-only ", c.a.Spec.Linux.ReadonlyPaths, c.b.Spec.Linux.ReadonlyPaths, unconfined)
}

func (c *comparison) devices() {
	names := func(s *Side) (list []string) {
		for _, d := range s.Spec.Linux.Devices {
			list = append(list, d.Path)
		}
		return list
	}
	device := func(name string, in bool) string {
		if in {
			return "--device " + name
		}
		return ""
	}
	c.sets("", names(c.a), names(c.b), device)
	rules := func(s *Side) (list []string) {
		number := func(n *int64) string {
			if n == nil || *n < 0 {
				return "*"
			}
			return strconv.FormatInt(*n, 10)
		}
		for _, r := range s.Spec.Linux.Resources.Devices {
			typ := r.Type
			if typ == "" {
				typ = "a"
			}
			if text := fmt.Sprintf("%s %s:%s %s", typ, number(r.Major), number(r.Minor), r.Access); r.Allow {
				list = append(list, text)
			}
		}
		return list
	}
	c.sets("may use ", rules(c.a), rules(c.b), func(name string, in bool) string {
		if in && name == "a *:* rwm" {
			return "--privileged"
		}
		return ""
	})
}

func (c *comparison) ulimits() {
	value := func(s *Side, typ string) string {
		for _, l := range s.Spec.Process.Rlimits {
			if l.Type == typ {
				number := func(n uint64) string {
					if n == ^uint64(0) {
						return "unlimited"
					}
					return strconv.FormatUint(n, 10)
				}
				return number(l.Soft) + ":" + number(l.Hard)
			}
		}
		return ""
	}
	var types []string
	for _, s := range [...]*Side{c.a, c.b} {
		for _, l := range s.Spec.Process.Rlimits {
			if !slices.Contains(types, l.Type) {
				types = append(types, l.Type)
			}
		}
	}
	for _, typ := range types {
		name := strings.ToLower(strings.TrimPrefix(typ, "RLIMIT_"))
		b := value(c.b, typ)
		c.differ(name, value(c.a, typ), b, flagged("--ulimit", prefixed(name+"=", strings.ReplaceAll(b, "unlimited", "-1"))))
	}
}

func (c *comparison) parameters() {
	var names []string
	for _, s := range [...]*Side{c.a, c.b} {
		for name := range s.Spec.Linux.Sysctl {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b := c.b.Spec.Linux.Sysctl[name]
		c.differ(name, c.a.Spec.Linux.Sysctl[name], b, flagged("--sysctl", prefixed(name+"=", b)))
	}
}

// network compares what is plugged in, if that is either side's own.
func (c *comparison) network() {
	own := func(s *Side) bool {
		return slices.ContainsFunc(s.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace && n.Path == "" })
	}
	if !own(c.a) || !own(c.b) {
		return // it is told with the namespaces
	}
	c.sets("link ", c.a.Links, c.b.Links, func(_ string, in bool) string {
		if in {
			return "--network=bridge"
		}
		return "--network=none"
	})
}

func amount(n *int64) string {
	switch {
	case n == nil || *n < 0:
		return "no limit"
	}
	return units.BytesSize(float64(*n))
}
