// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"

	"vitro/event"
	"vitro/image"
)

// Log is the log of what happens to what the engine has.
func (e *Engine) Log() event.Log { return event.Log{Dir: e.Dir} }

// Tell writes an event. What happened has happened: that it could not be
// written down, on a full disk say, fails nothing.
func (e *Engine) Tell(ev event.Event) { _ = e.Log().Write(ev) }

// tell writes what happened to a container: Docker's words, and more in pairs
// of a name and a value.
func (e *Engine) tell(r *Record, action string, more ...string) {
	attributes := r.attributes()
	for i := 0; i+1 < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	e.Tell(event.Event{Type: event.Container, Action: action, ID: r.ID, Attributes: attributes})
}

// attributes are what events say of a container: its labels, image and name.
func (r *Record) attributes() map[string]string {
	attributes := r.Labels()
	attributes["image"], attributes["name"] = r.Flags.Image, r.Name
	return attributes
}

// TellImage writes what happened to an image under a name: "load", "import",
// "tag", "untag", "delete". The attributes are its labels and the name.
func (e *Engine) TellImage(action, name string, img image.Image) {
	if name == "" {
		name = string(img.ID)
	}
	attributes := maps.Clone(img.Config.Labels)
	if attributes == nil {
		attributes = make(map[string]string)
	}
	attributes["name"] = name
	e.Tell(event.Event{Type: event.Image, Action: action, ID: string(img.ID), Attributes: attributes})
}

// tellRemoved writes what a removal took of an image.
func (e *Engine) tellRemoved(img image.Image, res image.Removed) {
	for _, name := range res.Untagged {
		e.TellImage("untag", name, img)
	}
	if slices.Contains(res.Deleted, img.ID) {
		e.TellImage("delete", "", img)
	}
}
