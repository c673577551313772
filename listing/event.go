// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"fmt"
	"strings"

	"vitro/event"
	"vitro/filter"
	"vitro/format"
)

// A Message is an event as templates see it and as its JSON is, with Docker's names.
type Message struct {
	Status   string `json:"status,omitempty"` // old names, for containers and images only
	ID       string `json:"id,omitempty"`
	From     string `json:"from,omitempty"`
	Type     string
	Action   string
	Actor    Actor
	Scope    string `json:"scope,omitempty"`
	Time     int64  `json:"time,omitempty"`
	TimeNano int64  `json:"timeNano,omitempty"`
}

// An Actor is what an event happened to.
type Actor struct {
	ID         string
	Attributes map[string]string
}

// NewMessage is the message of an event.
func NewMessage(e event.Event) Message {
	m := Message{
		Type: e.Type, Action: e.Action, Actor: Actor{e.ID, e.Attributes}, Scope: "local",
		Time: e.Time.Unix(), TimeNano: e.Time.UnixNano(),
	}
	switch e.Type {
	case event.Container:
		m.Status, m.ID, m.From = e.Action, e.ID, e.Attributes["image"]
	case event.Image:
		m.Status, m.ID = e.Action, e.ID
	}
	return m
}

// EventLine is an event as a line of text.
func EventLine(e event.Event) string {
	const layout = "2006-01-02T15:04:05.000000000Z07:00"
	line := fmt.Sprintf("%s %s %s %s", e.Time.Local().Format(layout), e.Type, e.Action, e.ID)
	if len(e.Attributes) > 0 {
		line += " (" + strings.Join(format.Pairs(e.Attributes), ", ") + ")"
	}
	return format.Printable(line)
}

// MatchEvent says whether an event passes. Names and IDs of containers,
// networks and volumes may be given by their beginnings, as in Docker. That
// events were lost is never held back.
func MatchEvent(e event.Event, f filter.Set) bool {
	if e.Type == event.Lost {
		return true
	}
	action, _, _ := strings.Cut(e.Action, ":") // exec_start: sh
	of := func(kind string) bool {
		return f.Any(kind, func(v string) bool {
			return strings.HasPrefix(e.ID, v) || e.Attributes["name"] != "" && strings.HasPrefix(e.Attributes["name"], v)
		})
	}
	img := e.Attributes["image"]
	if e.Type == event.Image {
		img = e.Attributes["name"]
	}
	return f.Exact("event", e.Action, action) && f.Exact("type", e.Type) && f.Exact("scope", "local") && !f.Has("daemon") &&
		of(event.Container) && of(event.Network) && of(event.Volume) &&
		f.Exact("image", e.ID, img, untagged(e.ID), untagged(img)) && f.Label(e.Attributes)
}

// untagged is an image's name without its tag.
func untagged(name string) string {
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i]
	}
	return name
}
