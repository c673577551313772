// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"strconv"

	units "github.com/docker/go-units"

	"vitro/format"
)

// Stats is the template of what containers use.
const Stats = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"

// A Usage is what a container uses.
type Usage struct {
	Asked    string // what the user called it
	ID, Name string
	CPU      float64 // per cent of one processor
	Memory   int64   // without the page cache
	Limit    int64   // of memory
	Rx, Tx   int64   // network
	Read     int64   // block devices
	Write    int64
	PIDs     int64
	Unknown  bool // it could not be measured
}

// A UsageRow is a line of it.
type UsageRow struct {
	BlockIO   string `header:"BLOCK I/O"`
	CPUPerc   string `header:"CPU %"`
	Container string `header:"CONTAINER"`
	ID        string `header:"CONTAINER ID"`
	MemPerc   string `header:"MEM %"`
	MemUsage  string `header:"MEM USAGE / LIMIT"`
	Name      string `header:"NAME"`
	NetIO     string `header:"NET I/O"`
	PIDs      string `header:"PIDS"`
}

// Row is a container's line; long is --no-trunc.
func (u *Usage) Row(long bool) UsageRow {
	const unknown = "--"
	r := UsageRow{
		BlockIO: unknown, CPUPerc: unknown, Container: u.Asked, ID: id(u.ID, long), MemPerc: unknown,
		MemUsage: "-- / --", Name: u.Name, NetIO: unknown, PIDs: unknown,
	}
	if u.Name == "" {
		r.Name = unknown
	}
	if u.Unknown {
		return r
	}
	var share float64
	if u.Limit > 0 {
		share = float64(u.Memory) / float64(u.Limit) * 100
	}
	r.BlockIO = format.Size(u.Read) + " / " + format.Size(u.Write)
	r.CPUPerc = percent(u.CPU)
	r.MemPerc = percent(share)
	r.MemUsage = units.BytesSize(float64(u.Memory)) + " / " + units.BytesSize(float64(u.Limit))
	r.NetIO = format.Size(u.Rx) + " / " + format.Size(u.Tx)
	r.PIDs = strconv.FormatInt(u.PIDs, 10)
	return r
}

func percent(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + "%" }

// Changes is the template of what a container has changed in its files.
const Changes = "{{.Type}} {{.Path}}"

// A ChangeRow is a line of it.
type ChangeRow struct {
	Path string `header:"PATH"`
	Type string `header:"CHANGE TYPE"` // A, C or D
}
