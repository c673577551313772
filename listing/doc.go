// SPDX-License-Identifier: Apache-2.0

// Package listing is what the lists of containers, images, volumes and
// networks show, with Docker's names, titles and words: for each kind of
// thing the facts that a list needs of it, what its filters mean, and the row
// that package format prints.
//
//	c := listing.Container{ID: …, State: listing.State{…}, …}
//	if c.Match(filters, around) {
//		rows = append(rows, c.Row(time.Now(), long))
//	}
//	f, err := format.Parse(flag, listing.Containers(quiet, size))
//	err = format.Rows(os.Stdout, f, rows)
//
// All of it is pure. Where a thing is found and what it costs to measure it is
// the engine's business; Format.Uses("Size") says whether it is asked for.
package listing

import (
	"strings"
	"time"

	"vitro/format"
)

// ids and lists of rows of one column are what -q prints.
const (
	quietID   = "{{.ID}}"
	quietName = "{{.Name}}"
)

const notKnown = "N/A"

// id is an ID for a column: short, unless all of it was asked for.
func id(s string, long bool) string {
	if long {
		return s
	}
	return format.ShortID(s)
}

// stamp is a time as Docker's columns named CREATED AT have it.
func stamp(t time.Time) string { return time.Unix(t.Unix(), 0).String() }

func yes(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

func ellipsis(list []string, width int, long bool) string {
	cut := make([]string, len(list))
	for i, s := range list {
		if cut[i] = s; !long {
			cut[i] = format.Ellipsis(s, width)
		}
	}
	return strings.Join(cut, ",")
}
