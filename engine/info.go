// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"vitro/container"
	"vitro/monitor"
	"vitro/network"
)

// A Status is where a container is in its life, in Docker's words.
type Status string

// The statuses. A container whose start has failed is still created.
const (
	Created    Status = "created"
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting"
	Exited     Status = "exited"
)

// An Info is what is known about a container.
type Info struct {
	*Record
	Dir    string
	Status Status
	State  *container.State // of its process, as long as that lives
	Exit   *container.Exit  // how it ended the last time, nil if it has not
	Health *monitor.Condition
	Wanted container.Wanted
	Beside int // the process beside it, 0 if there is none

	Networks network.Attachments // those of its last start
}

// Info looks at a container.
func (e *Engine) Info(name string) (*Info, error) {
	c, err := e.find(name)
	if err != nil {
		return nil, err
	}
	return e.info(c)
}

// info looks at a container; at one that has lost the process beside it after
// it was looked after.
func (e *Engine) info(c *container.Container) (*Info, error) {
	if c.State != nil && c.Holder() == 0 {
		_, _ = e.mend(c) // if that can't be, it is shown as it is
		var err error
		if c, err = e.Containers.Look(c.ID); err != nil {
			return nil, err
		}
	}
	return look(c)
}

func look(c *container.Container) (*Info, error) {
	r, err := loadRecord(c.Dir)
	if err != nil {
		return nil, err
	}
	i := &Info{Record: r, Dir: c.Dir, Wanted: c.Wanted(), Beside: c.Holder()}
	if i.Networks, err = network.ReadAttachments(c.Dir); err != nil {
		return nil, err
	}
	if i.Exit, err = c.LoadExit(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s := c.Status()
	switch {
	case s == container.Paused:
		i.Status = Paused
	case s == container.Running:
		i.Status = Running
	case i.Exit == nil || i.Exit.Started.IsZero():
		i.Status = Created
	case i.Beside != 0 && i.Exit.Restarts > 0:
		i.Status = Restarting
	default:
		i.Status = Exited
	}
	if i.Status == Running || i.Status == Paused {
		i.State, i.Health = c.State, monitor.ReadCondition(c.Dir)
	}
	return i, nil
}

// List looks at all containers, the newest first. One that goes while it looks
// is left out.
func (e *Engine) List() ([]*Info, error) {
	ids, err := e.Containers.IDs()
	if err != nil {
		return nil, err
	}
	all := make([]*Info, len(ids))
	errs := make([]error, len(ids))
	each(len(ids), func(n int) {
		c, err := e.Containers.Look(ids[n])
		if err != nil {
			return
		}
		all[n], errs[n] = e.info(c)
		if errors.Is(errs[n], os.ErrNotExist) || errors.Is(errs[n], container.ErrNotFound) {
			errs[n] = nil // still in the making, or just gone
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i *Info) bool { return i == nil })
	sortInfos(all)
	return all, nil
}

// each calls do for 0 to n-1, on all processors.
func each(n int, do func(int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	group.Wait()
}

func sortInfos(all []*Info) {
	slices.SortStableFunc(all, func(a, b *Info) int { return b.Created.Compare(a.Created) })
}
