// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// pids limits tasks. 0 is a limit too: nothing but the first process. That one
// counts, and couldn't be born with 0, so 1 is written.
func (l *limits) pids(n int64) {
	text, why := "max", "no limit of processes and threads"
	switch {
	case n == 0:
		text, why = "1", "no process but the first"
	case n > 0:
		text, why = itoa(n), fmt.Sprintf("at most %d processes and threads", n)
	}
	l.add("pids.limit", "pids", why, file("pids.max", text), file("pids.max", text))
}

// hugetlb limits huge pages: those in use, and, where the kernel counts them
// (since 5.7), those that are reserved.
func (l *limits) hugetlb(h specs.LinuxHugepageLimit) {
	const property = "hugepageLimits"
	digits := strings.TrimRight(h.Pagesize, "KMGB")
	if unit := h.Pagesize[len(digits):]; strings.Trim(digits, "0123456789") != "" || digits == "" || unit != "KB" && unit != "MB" && unit != "GB" {
		l.bad(property, h.Pagesize, "not a page size such as 2MB")
		return
	}
	base, n := "hugetlb."+h.Pagesize, utoa(h.Limit)
	l.add(property, "hugetlb", fmt.Sprintf("at most %s in pages of %s", byteSize(h.Limit), h.Pagesize), file(base+".limit_in_bytes", n), file(base+".max", n))
	l.add(property, "hugetlb", fmt.Sprintf("at most %s reserved in pages of %s", byteSize(h.Limit), h.Pagesize),
		file(base+".rsvd.limit_in_bytes", n).optional(""), file(base+".rsvd.max", n).optional(""))
}

func (l *limits) network(n *specs.LinuxNetwork) {
	if n.ClassID != nil {
		l.add("network.classID", "net_cls", fmt.Sprintf("its packets carry the class %#x", *n.ClassID),
			file("net_cls.classid", utoa(uint64(*n.ClassID))),
			refused("classes of packets in version 2", "match the cgroup itself, by nftables' `socket cgroupv2`"))
	}
	for _, p := range n.Priorities {
		if !isWord(p.Name) {
			l.bad("network.priorities", p.Name, "not an interface's name")
		}
		l.add("network.priorities", "net_prio", fmt.Sprintf("its packets leave by %s with priority %d", p.Name, p.Priority),
			file("net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority)),
			refused("priorities of packets in version 2", "match the cgroup itself, by nftables' `socket cgroupv2`"))
	}
}

func (l *limits) rdma(all map[string]specs.LinuxRdma) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !isWord(name) {
			l.bad("rdma", name, "not a device's name")
		}
		line := name
		if n := all[name].HcaHandles; n != nil {
			line += " hca_handle=" + utoa(uint64(*n))
		}
		if n := all[name].HcaObjects; n != nil {
			line += " hca_object=" + utoa(uint64(*n))
		}
		if line != name {
			l.add("rdma", "rdma", "limits what it opens of the RDMA device "+name, file("rdma.max", line), file("rdma.max", line))
		}
	}
}

// unified are files of version 2 as they are. A value of several lines is
// written line by line, as the kernel takes them.
func (l *limits) unified(all map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		controller, _, dotted := strings.Cut(name, ".")
		property := "unified." + name
		if !isWord(name) || !dotted || strings.Contains(name, "/") || controller == "" {
			l.bad("unified", name, "not a file's name such as memory.high")
		}
		switch name {
		case "cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.type", "cgroup.subtree_control":
			l.bad("unified", name, "this file moves or ends processes, and sets no limit")
		}
		if controller == "cgroup" {
			controller = core
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(all[name], "\n"), "\n") {
			l.add(property, controller, "as asked for by the file's name",
				refused("cgroups of version 2 for it", "use the property that is not under unified, or boot with systemd.unified_cgroup_hierarchy=1"),
				file(name, line))
		}
	}
}

// core stands for the files that every cgroup of version 2 has.
const core = "cgroup"

// isWord reports whether s can be a name in a line of words.
func isWord(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0
}
