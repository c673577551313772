// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"strconv"

	units "github.com/docker/go-units"

	"vitro/filter"
	"vitro/format"
)

// Volumes is the template of the list of volumes.
func Volumes(quiet bool) string {
	if quiet {
		return quietName
	}
	return "table {{.Driver}}\t{{.Name}}"
}

// A Volume is what a list needs to know of one.
type Volume struct {
	Name, Driver, Mountpoint string
	Labels                   map[string]string
	Links                    int   // containers that have it; -1: not counted
	Size                     int64 // -1: not measured
}

// CheckVolumes refuses values that no volume can have.
func CheckVolumes(f filter.Set) error {
	_, err := f.Bool("dangling", false)
	return err
}

// Match says whether a volume passes. The filter dangling needs Links.
func (v *Volume) Match(f filter.Set) bool {
	dangling, _ := f.Bool("dangling", false)
	return f.Exact("driver", v.Driver) && f.Match("name", v.Name) && f.Label(v.Labels) &&
		(!f.Has("dangling") || dangling == (v.Links == 0))
}

// A VolumeRow is a line of the list of volumes.
type VolumeRow struct {
	Availability string `header:"AVAILABILITY"`
	Driver       string `header:"DRIVER"`
	Group        string `header:"GROUP"`
	Labels       string `header:"LABELS"`
	Links        string `header:"LINKS"`
	Mountpoint   string `header:"MOUNTPOINT"`
	Name         string `header:"VOLUME NAME"`
	Scope        string `header:"SCOPE"`
	Size         string `header:"SIZE"`
	Status       string `header:"STATUS"`

	labels
}

// Row is a volume's line. What only a swarm's volumes have is not known.
func (v *Volume) Row() VolumeRow {
	r := VolumeRow{
		Availability: notKnown, Driver: v.Driver, Group: notKnown, Labels: format.Labels(v.Labels), labels: v.Labels,
		Links: notKnown, Mountpoint: v.Mountpoint, Name: v.Name, Scope: "local", Size: notKnown, Status: notKnown,
	}
	if v.Links >= 0 && v.Size >= 0 {
		r.Links, r.Size = strconv.Itoa(v.Links), units.HumanSize(float64(v.Size))
	}
	return r
}
