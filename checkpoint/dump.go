// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"vitro/cgroup"
	"vitro/plan"
)

// An Outside is a place in the container that shows something of the host's:
// what criu does not write down, and is given anew at the restore.
type Outside struct {
	Place  string // as config.json has it
	Name   string
	Source string // at the restore
	// Hidden: the place may be a folder too, hidden behind an empty file system
	// of the container's own.
	Hidden bool
	// Tree: the mounts below are the host's as well.
	Tree bool
}

// A Dump is a checkpoint to make.
type Dump struct {
	Options
	Seen     *Seen
	Outside  []Outside
	Dirs     cgroup.Dirs
	CgroupNS bool // the container has a cgroup namespace of its own
	JoinsPID bool // it shares a PID namespace; one of its own comes back as such

	Parent       string // --parent-path, relative to Images
	PreDump      bool   // memory only; the container runs on
	LeaveRunning bool
	SkipInFlight bool
	PageServer   [2]string // address and port; empty: none
	Status       bool      // the handle StatusFD is --status-fd
	NFTables     bool      // lock the network by nft(8), for want of iptables(8)
}

// StatusFD is the handle of the descriptor that criu tells by that it serves pages.
const StatusFD = "status-fd"

// Names in the images, and of criu's options.
const (
	extNet = "extRootNetNS"
	extPID = "extRootPidNS"
)

func (d *Dump) action() string {
	if d.PreDump {
		return "pre-dump"
	}
	return "dump"
}

// Plan is the plan of a dump: one process, which becomes criu.
func (d *Dump) Plan() *plan.Plan {
	p := &plan.Plan{Title: "checkpoint"}
	p.Add("criu's process", new(plan.Clone))
	p.Add("none of our descriptors", &plan.CloseOthers{From: 3})
	if d.Status {
		p.Add("to tell when pages are served", &plan.Inherit{Handle: StatusFD, FD: plan.InheritFrom})
	}
	p.Add("not without somebody who waits for it: it lets the container go on when it is ended", &plan.DieWith{})
	p.Add("it writes the container's processes down", &plan.Exec{Paths: []string{d.Criu}, Args: d.Args(), Env: []string{"PATH=" + d.Path}, Cwd: "/"})
	p.Add("until all is written", &Finish{Criu: d.Criu, Action: d.action(), Log: d.Log(d.action())})
	return p
}

// Args is criu's command line.
func (d *Dump) Args() []string {
	action := d.action()
	args := append(d.common(action, action+".log"), "--tree", strconv.Itoa(d.Seen.PID))
	if f := freezer(d.Dirs); f != "" {
		args = append(args, "--freeze-cgroup", f)
	}
	if d.Parent != "" {
		args = append(args, "--prev-images-dir", d.Parent)
	}
	if d.Parent != "" || d.PreDump {
		args = append(args, "--track-mem")
	}
	if d.PageServer[0] != "" {
		if !d.LazyPages {
			args = append(args, "--page-server")
		}
		args = append(args, "--address", d.PageServer[0], "--port", d.PageServer[1])
	}
	if d.Status {
		args = append(args, "--status-fd", strconv.Itoa(plan.InheritFrom))
	}
	if d.NFTables {
		args = append(args, "--network-lock", "nftables")
	}
	if d.SkipInFlight {
		args = append(args, "--skip-in-flight")
	}
	if d.LeaveRunning && !d.PreDump {
		args = append(args, "--leave-running")
	}
	if d.PreDump {
		return args // the rest is about what it doesn't write
	}
	for _, e := range d.externals() {
		args = append(args, "--external", e)
	}
	return args
}

// externals are the things of the host's that the container uses.
func (d *Dump) externals() (list []string) {
	for _, ns := range [...]struct{ kind, name string }{{"net", extNet}, {"pid", extPID}} {
		if ino := d.Seen.Namespaces[ns.kind]; ino != 0 && (ns.kind == "net" || d.JoinsPID) {
			list = append(list, fmt.Sprintf("%s[%d]:%s", ns.kind, ino, ns.name))
		}
	}
	list = append(list, d.mounts()...)
	seen := make(map[string]bool)
	for _, s := range d.Seen.Streams {
		if strings.HasPrefix(s, "file[") && !seen[s] {
			seen[s] = true
			list = append(list, s)
		}
	}
	return list
}

// mounts are the mounts that come from the host.
func (d *Dump) mounts() (list []string) {
	seen := make(map[string]bool)
	add := func(point, name string) {
		if !seen[point] {
			seen[point] = true
			list = append(list, "mnt["+point+"]:"+name)
		}
	}
	for _, o := range d.Outside {
		real, there := d.Seen.Places[o.Place]
		if m, ok := d.Seen.mountAt(real); there && ok && !(o.Hidden && m.Type == "tmpfs") {
			add(real, o.Name)
		}
	}
	for _, m := range d.Seen.Mounts {
		if m.Type == "cgroup" || m.Type == "cgroup2" && !d.CgroupNS {
			add(m.Point, m.Point)
		}
	}
	for _, o := range d.Outside {
		real, there := d.Seen.Places[o.Place]
		if !o.Tree || !there {
			continue
		}
		for _, m := range d.Seen.Mounts {
			if below, ok := strings.CutPrefix(m.Point, real+"/"); ok {
				add(m.Point, path.Join(o.Name, below))
			}
		}
	}
	return list
}
