// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"vitro/filter"
	"vitro/format"
)

// Containers is the template of the list of containers.
func Containers(quiet, size bool) string {
	switch {
	case quiet:
		return quietID
	case size:
		return "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}"
	}
	return "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
}

// A Container is what a list needs to know of one.
type Container struct {
	ID       string
	Name     string
	Image    string // as it was asked for
	ImageID  string
	Command  string // the program and its arguments, with blanks between
	Created  time.Time
	State    State
	Ports    []Port
	Labels   map[string]string
	Mounts   []Mount
	Networks []Network // what it is plugged into; a filter looks at Name and ID
	Platform *Platform

	SizeRw     int64 // what it has written
	SizeRootFs int64 // that and its image
}

// A Mount is a volume or a bind of a container's.
type Mount struct {
	Name        string // the volume's; empty for a bind
	Source      string
	Destination string
}

// A Platform is an operating system and an architecture.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

func (p Platform) String() string {
	if p.Variant != "" {
		return p.OS + "/" + p.Architecture + "/" + p.Variant
	}
	return p.OS + "/" + p.Architecture
}

// Around is what the filters ancestor, before and since were resolved to, each nil if it wasn't given.
type Around struct {
	Before, Since *time.Time           // when those containers were made
	Ancestor      func(id string) bool // whether an image stands on one that was asked for
}

// CheckContainers refuses values that no container can have.
func CheckContainers(f filter.Set) error {
	for _, v := range f.Values("exited") {
		if _, err := strconv.Atoi(v); err != nil {
			return f.Bad("exited", v, "want a number")
		}
	}
	for _, key := range [...]string{"publish", "expose"} {
		for _, v := range f.Values(key) {
			if _, ok := parsePorts(v); !ok {
				return f.Bad(key, v, "want a port or a range, as 80, 53/udp or 8000-8080/tcp")
			}
		}
	}
	if _, err := f.Bool("is-task", false); err != nil {
		return err
	}
	if err := f.Check("health", Starting, Healthy, Unhealthy, NoHealth); err != nil {
		return err
	}
	return f.Check("status", Created, Dead, Exited, Paused, Removing, Restarting, Running)
}

// Match says whether a container passes. The filter status reaches those that
// don't run too: with it, a list begins with all.
func (c *Container) Match(f filter.Set, a Around) bool {
	task, _ := f.Bool("is-task", false)
	health := c.State.Health
	if health == "" {
		health = NoHealth
	}
	ended := !c.State.Active() && !c.State.Started.IsZero()
	return !task &&
		(a.Before == nil || c.Created.Before(*a.Before)) &&
		(a.Since == nil || c.Created.After(*a.Since)) &&
		(a.Ancestor == nil || a.Ancestor(c.ImageID)) &&
		f.Match("id", c.ID) &&
		f.Match("name", c.Name, "/"+c.Name) &&
		f.Label(c.Labels) &&
		f.Exact("status", c.State.Status) &&
		f.Exact("health", health) &&
		f.Any("exited", func(v string) bool { return ended && v == strconv.Itoa(c.State.ExitCode) }) &&
		f.Any("volume", func(v string) bool {
			return slices.ContainsFunc(c.Mounts, func(m Mount) bool { return v == m.Name && v != "" || v == m.Destination })
		}) &&
		f.Any("network", func(v string) bool {
			return slices.ContainsFunc(c.Networks, func(n Network) bool { return n.Name == v || strings.HasPrefix(n.ID, v) })
		}) &&
		f.Any("publish", func(v string) bool {
			return slices.ContainsFunc(c.Ports, func(p Port) bool { return p.IP != "" && within(p.Public, p.Protocol, v) })
		}) &&
		f.Any("expose", func(v string) bool {
			return slices.ContainsFunc(c.Ports, func(p Port) bool { return within(p.Private, p.Protocol, v) })
		})
}

// A ContainerRow is a line of the list of containers.
type ContainerRow struct {
	Command      string `header:"COMMAND"`
	CreatedAt    string `header:"CREATED AT"`
	ID           string `header:"CONTAINER ID"`
	Image        string `header:"IMAGE"`
	Labels       string `header:"LABELS"`
	LocalVolumes string `header:"LOCAL VOLUMES"`
	Mounts       string `header:"MOUNTS"`
	Names        string `header:"NAMES"`
	Networks     string `header:"NETWORKS"`
	Platform     *Platform
	Ports        string `header:"PORTS"`
	RunningFor   string `header:"CREATED"`
	Size         string `header:"SIZE"`
	State        string `header:"STATE"`
	Status       string `header:"STATUS"`

	labels
}

// labels are those that {{.Label "x"}} finds.
type labels map[string]string

// Label is a label's value.
func (l labels) Label(name string) string { return l[name] }

// Row is a container's line; long is --no-trunc.
func (c *Container) Row(now time.Time, long bool) ContainerRow {
	r := ContainerRow{
		Command: c.Command, CreatedAt: stamp(c.Created), ID: id(c.ID, long), Image: c.Image,
		Labels: format.Labels(c.Labels), labels: c.Labels, Names: c.Name, Platform: c.Platform,
		Ports: Ports(c.Ports), RunningFor: format.Ago(c.Created, now),
		Size: format.Size(c.SizeRw), State: c.State.Status, Status: c.State.Text(now),
	}
	switch {
	case c.Image == "":
		r.Image = "<no image>"
	case !long && format.ShortID(c.ImageID) == format.ShortID(c.Image):
		r.Image = format.ShortID(c.ImageID)
	case !long:
		r.Image, _, _ = strings.Cut(c.Image, "@")
	}
	if !long {
		r.Command = format.Ellipsis(c.Command, 20)
	}
	r.Command = strconv.Quote(r.Command)
	var mounts, networks []string
	volumes := 0
	for _, m := range c.Mounts {
		if m.Name == "" {
			mounts = append(mounts, m.Source)
			continue
		}
		mounts = append(mounts, m.Name)
		volumes++
	}
	for _, n := range c.Networks {
		networks = append(networks, n.Name)
	}
	slices.Sort(networks)
	r.Mounts, r.LocalVolumes, r.Networks = ellipsis(mounts, 15, long), strconv.Itoa(volumes), strings.Join(networks, ",")
	if c.SizeRootFs > 0 {
		r.Size += " (virtual " + format.Size(c.SizeRootFs) + ")"
	}
	return r
}
