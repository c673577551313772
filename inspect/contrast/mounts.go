// SPDX-License-Identifier: Apache-2.0

package contrast

import (
	"slices"
	"strings"
)

// idle are options that say what is so anyway.
var idle = [...]string{"rw", "suid", "dev", "exec", "relatime", "bind", "rbind", "private", "rprivate", "newinstance", "async", "atime", "nostrictatime", "strictatime"}

// mounts compares what is mounted where, by the places.
func (c *comparison) mounts() {
	a, b := c.a.places(), c.b.places()
	var points []string
	for _, list := range [...][]place{a, b} {
		for _, m := range list {
			if !slices.Contains(points, m.at) {
				points = append(points, m.at)
			}
		}
	}
	slices.Sort(points)
	for _, at := range points {
		x, y := find(a, at), find(b, at)
		if x.text() == y.text() {
			continue
		}
		// What is in the containers' own folders differs by the IDs alone.
		x.forget(c.a)
		y.forget(c.b)
		c.differ(at, x.text(), y.text(), y.flag())
	}
}

// A place is a mount, with what makes a difference of its options.
type place struct {
	at, typ, source string
	options         []string
}

func (s *Side) places() (list []place) {
	for _, m := range s.Spec.Mounts {
		p := place{at: m.Destination, typ: m.Type, source: m.Source}
		bind := m.Type == "bind"
		for _, o := range m.Options {
			bind = bind || o == "bind" || o == "rbind"
			if !slices.Contains(idle[:], o) {
				p.options = append(p.options, same(o))
			}
		}
		if bind {
			p.typ = "bind"
		}
		slices.Sort(p.options)
		p.options = slices.Compact(p.options)
		list = append(list, p)
	}
	return list
}

// same is an option in one of its several spellings: "size=64m", "mode=0755".
func same(o string) string {
	if v, ok := strings.CutPrefix(o, "mode=0"); ok {
		return "mode=" + v
	}
	if v, ok := strings.CutPrefix(o, "ptmxmode=0"); ok {
		return "ptmxmode=" + v
	}
	switch o { // what holds for what is mounted below as well
	case "rro", "rnosuid", "rnodev", "rnoexec", "rnosymfollow":
		return o[1:]
	}
	return o
}

func find(list []place, at string) *place {
	for i := len(list) - 1; i >= 0; i-- { // the last one is on top
		if list[i].at == at {
			return &list[i]
		}
	}
	return nil
}

// forget takes the container's ID out of the source.
func (p *place) forget(s *Side) {
	if p != nil {
		p.source = s.plain(p.source)
	}
}

func (p *place) text() string {
	if p == nil {
		return "nothing"
	}
	text := p.typ
	if p.typ == "bind" {
		text = p.source
	}
	if len(p.options) > 0 {
		text += " " + strings.Join(p.options, ",")
	}
	return text
}

// flag is the one that mounts this.
func (p *place) flag() string {
	switch {
	case p == nil:
		return ""
	case p.typ == "bind":
		flag := "-v " + p.source + ":" + p.at
		var keep []string
		for _, o := range p.options {
			if o == "ro" || o == "rslave" || o == "rshared" || o == "slave" || o == "shared" {
				keep = append(keep, o)
			}
		}
		return flag + prefixed(":", strings.Join(keep, ","))
	case p.at == "/dev/shm" && p.typ == "tmpfs":
		for _, o := range p.options {
			if size, ok := strings.CutPrefix(o, "size="); ok {
				return "--shm-size " + size
			}
		}
	case p.typ == "tmpfs":
		return "--tmpfs " + p.at + prefixed(":", strings.Join(p.options, ","))
	}
	return ""
}
