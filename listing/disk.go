// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"fmt"
	"strconv"

	units "github.com/docker/go-units"
)

// The templates of system df, and of the lists under system df -v.
const (
	Disk           = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
	DiskImages     = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}"
	DiskContainers = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}"
	DiskVolumes    = "table {{.Name}}\t{{.Links}}\t{{.Size}}"
)

// A DiskRow is a line of system df: what things of a type take on the disk.
type DiskRow struct {
	Active      string `header:"ACTIVE"`
	Reclaimable string `header:"RECLAIMABLE"`
	Size        string `header:"SIZE"`
	TotalCount  string `header:"TOTAL"`
	Type        string `header:"TYPE"`
}

func disk(kind string, total, active int, size, free int64) DiskRow {
	r := DiskRow{
		Active: strconv.Itoa(active), Reclaimable: units.HumanSize(float64(free)), Size: units.HumanSize(float64(size)),
		TotalCount: strconv.Itoa(total), Type: kind,
	}
	if size > 0 {
		r.Reclaimable = fmt.Sprintf("%s (%d%%)", r.Reclaimable, free*100/size)
	}
	return r
}

// DiskUsage are the lines of system df. layers is what all layers take
// together; images need Containers and SharedSize, volumes Links and Size.
func DiskUsage(layers int64, images []Image, containers []Container, volumes []Volume) []DiskRow {
	used, free := 0, layers
	for _, i := range images {
		if i.Containers > 0 {
			used++
			free -= i.Size - max(i.SharedSize, 0)
		}
	}
	rows := []DiskRow{disk("Images", len(images), used, layers, free)}
	var size int64
	used, free = 0, 0
	for _, c := range containers {
		size += c.SizeRw
		if c.State.Active() {
			used++
		} else {
			free += c.SizeRw
		}
	}
	rows = append(rows, disk("Containers", len(containers), used, size, free))
	size, used, free = 0, 0, 0
	for _, v := range volumes {
		size += max(v.Size, 0)
		if v.Links > 0 {
			used++
		} else {
			free += max(v.Size, 0)
		}
	}
	return append(rows, disk("Local Volumes", len(volumes), used, size, free), disk("Build Cache", 0, 0, 0, 0))
}
