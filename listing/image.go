// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"

	"vitro/filter"
	"vitro/format"
)

// Images is the template of the list of images. A format of the user's own
// has the digest added, if --digests asks for it and it is a table.
func Images(quiet, digests bool) string {
	switch {
	case quiet:
		return quietID
	case digests:
		return "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	}
	return "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
}

const none = "<none>"

// An Image is what a list needs to know of one.
type Image struct {
	ID      string // "sha256:…"
	Names   []Name // empty: dangling
	Digest  string // of its manifest
	Created time.Time
	Labels  map[string]string
	Size    int64

	Containers int64 // that stand on it; -1: not counted
	SharedSize int64 // of layers that others have too; -1: not measured
}

// A Name is one of an image's.
type Name struct {
	Repository string // as users know it: "busybox"
	Tag        string // "" if the name is a digest
}

// SortImages puts the newest first.
func SortImages(list []Image) {
	slices.SortStableFunc(list, func(a, b Image) int {
		return cmp.Or(b.Created.Compare(a.Created), slices.CompareFunc(a.Names, b.Names, func(a, b Name) int {
			return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Tag, b.Tag))
		}))
	})
}

// MatchImages gives those of the images that pass, with those of their names
// that do.
func MatchImages(list []Image, f filter.Set, now time.Time) ([]Image, error) {
	dangling, err := f.Bool("dangling", false)
	if err != nil {
		return nil, err
	}
	before, err := limits(list, f, "before", now)
	if err != nil {
		return nil, err
	}
	since, err := limits(list, f, "since", now)
	if err != nil {
		return nil, err
	}
	until, err := limits(list, f, "until", now)
	if err != nil {
		return nil, err
	}
	for _, v := range f.Values("reference") {
		if _, err := path.Match(v, ""); err != nil {
			return nil, f.Bad("reference", v, "not a pattern")
		}
	}
	var found []Image
	for _, img := range list {
		ok := (!f.Has("dangling") || dangling == (len(img.Names) == 0)) && f.Label(img.Labels)
		for _, t := range before {
			ok = ok && img.Created.Before(t)
		}
		for _, t := range until {
			ok = ok && img.Created.Before(t)
		}
		for _, t := range since {
			ok = ok && img.Created.After(t)
		}
		if f.Has("reference") {
			img.Names = matching(img.Names, f)
			ok = ok && len(img.Names) > 0
		}
		if ok {
			found = append(found, img)
		}
	}
	return found, nil
}

// matching are the names that one of the patterns fits, with or without the tag.
func matching(names []Name, f filter.Set) []Name {
	var list []Name
	for _, n := range names {
		if f.Any("reference", func(v string) bool {
			whole, _ := path.Match(v, n.Repository+":"+n.Tag)
			repo, _ := path.Match(v, n.Repository)
			return whole || repo
		}) {
			list = append(list, n)
		}
	}
	return list
}

// limits are the times that a key's values name: an image of the list, or a
// point in time.
func limits(list []Image, f filter.Set, key string, now time.Time) ([]time.Time, error) {
	var times []time.Time
	for _, v := range f.Values(key) {
		if key == "until" {
			t, err := filter.Time(v, now)
			if err != nil {
				return nil, f.Bad(key, v, err.Error())
			}
			times = append(times, t)
			continue
		}
		img := find(list, v)
		if img == nil {
			return nil, f.Bad(key, v, "no such image")
		}
		times = append(times, img.Created)
	}
	return times, nil
}

func find(list []Image, name string) *Image {
	for i := range list {
		for _, n := range list[i].Names {
			if name == n.Repository+":"+n.Tag || name == n.Repository && n.Tag == "latest" {
				return &list[i]
			}
		}
	}
	for i := range list {
		if hex := strings.TrimPrefix(list[i].ID, "sha256:"); name != "" && strings.HasPrefix(hex, strings.TrimPrefix(name, "sha256:")) {
			return &list[i]
		}
	}
	return nil
}

// An ImageRow is a line of the list of images.
type ImageRow struct {
	Containers   string `header:"CONTAINERS"`
	CreatedAt    string `header:"CREATED AT"`
	CreatedSince string `header:"CREATED"`
	Digest       string `header:"DIGEST"`
	ID           string `header:"IMAGE ID"`
	Repository   string `header:"REPOSITORY"`
	SharedSize   string `header:"SHARED SIZE"`
	Size         string `header:"SIZE"`
	Tag          string `header:"TAG"`
	UniqueSize   string `header:"UNIQUE SIZE"`
	VirtualSize  string `header:"SIZE"`
}

// Rows are an image's lines, one for each of its names. digests says whether they are looked at.
func (i *Image) Rows(now time.Time, long, digests bool) []ImageRow {
	r := ImageRow{
		Containers: notKnown, CreatedAt: stamp(i.Created), CreatedSince: notKnown, Digest: none, ID: id(i.ID, long),
		Repository: none, SharedSize: notKnown, Size: format.Size(i.Size), Tag: none, UniqueSize: notKnown,
		VirtualSize: units.HumanSize(float64(i.Size)),
	}
	if !i.Created.IsZero() {
		r.CreatedSince = format.Ago(i.Created, now)
	}
	if digests && i.Digest != "" {
		r.Digest = i.Digest
	}
	if i.Containers >= 0 {
		r.Containers = strconv.FormatInt(i.Containers, 10)
	}
	if i.SharedSize >= 0 {
		r.SharedSize, r.UniqueSize = units.HumanSize(float64(i.SharedSize)), units.HumanSize(float64(i.Size-i.SharedSize))
	}
	if len(i.Names) == 0 {
		return []ImageRow{r}
	}
	var rows []ImageRow
	for _, n := range i.Names {
		if r.Repository, r.Tag = n.Repository, n.Tag; n.Tag == "" {
			r.Tag = none
		}
		rows = append(rows, r)
	}
	return rows
}

// History is the template of an image's history; human is the flag of that name.
func History(quiet, human bool) string {
	switch {
	case quiet:
		return quietID
	case !human:
		return "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
	}
	return "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
}

// A Layer is an entry of an image's history.
type Layer struct {
	ID        string // "<missing>" for all but the last
	Created   time.Time
	CreatedBy string
	Comment   string
	Size      int64
}

// A LayerRow is a line of it.
type LayerRow struct {
	Comment      string `header:"COMMENT"`
	CreatedAt    string `header:"CREATED AT"`
	CreatedBy    string `header:"CREATED BY"`
	CreatedSince string `header:"CREATED"`
	ID           string `header:"IMAGE"`
	Size         string `header:"SIZE"`
}

// Row is the entry's line.
func (l *Layer) Row(now time.Time, long, human bool) LayerRow {
	r := LayerRow{
		Comment: format.Printable(l.Comment), CreatedAt: l.Created.Local().Format(time.RFC3339), CreatedBy: format.Printable(l.CreatedBy),
		CreatedSince: format.Ago(l.Created, now), ID: id(l.ID, long), Size: format.Size(l.Size),
	}
	if !long {
		r.CreatedBy = format.Ellipsis(r.CreatedBy, 45)
	}
	switch {
	case !human:
		r.CreatedSince, r.Size = r.CreatedAt, strconv.FormatInt(l.Size, 10)
	case l.Created.Year() < 2000: // a build that hides when it was
		r.CreatedSince = notKnown
	}
	return r
}

// Results is the template of what a search finds.
const Results = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"

// A ResultRow is one of them.
type ResultRow struct {
	Description string `header:"DESCRIPTION"`
	IsOfficial  string `header:"OFFICIAL"`
	Name        string `header:"NAME"`
	StarCount   string `header:"STARS"`
}

// Result makes the line of a repository that was found.
func Result(name, description string, stars int, official, long bool) ResultRow {
	r := ResultRow{Name: format.Printable(name), Description: format.Printable(description), StarCount: strconv.Itoa(stars)}
	if !long {
		r.Description = format.Ellipsis(r.Description, 45)
	}
	if official {
		r.IsOfficial = "[OK]"
	}
	return r
}
