// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vitro/burn"
	"vitro/engine"
)

// burnSizes are what --size is by default, by kind.
var burnSizes = [...]struct{ kind, size, help string }{
	{"memory", "64m", "bytes to stop at: 10m"},
	{"pids", "100", "processes to stop at"},
	{"io", "64m", "bytes after which it starts again at the file's beginning"},
}

func burnCommand(*app) *cobra.Command {
	c := &cobra.Command{
		Use:   "burn",
		Short: "use up processor time, memory, processes or a disk, and name the limit it runs into",
		Example: "  vitro burn cpu --seconds 5\n  vitro burn memory --size 50m\n" +
			"  vitro run --cpus .5 -v $(command -v vitro):/bin/vitro busybox vitro burn cpu",
	}
	for _, k := range burn.Kinds {
		c.AddCommand(burnKind(k))
	}
	return c
}

func burnKind(k burn.Kind) *cobra.Command {
	o := burn.Options{Workers: 1, Dir: "."}
	var size, worker string
	var seconds float64
	c := &cobra.Command{Use: k.Name, Short: k.Short, Args: cobra.NoArgs}
	// Memory and processes are refused, or they are there: no need to wait long.
	usual := 10.0
	if k.Name == "memory" || k.Name == "pids" {
		usual = 1
	}
	c.Flags().Float64Var(&seconds, "seconds", usual, "how long; 0 is until it is interrupted")
	for _, s := range burnSizes {
		if s.kind == k.Name {
			c.Flags().StringVar(&size, "size", s.size, s.help)
		}
	}
	switch k.Name {
	case "cpu":
		c.Flags().IntVar(&o.Workers, "workers", 1, "threads that want a processor each")
	case "io":
		c.Flags().StringVar(&o.Dir, "dir", ".", "folder of the file")
	case "memory":
		c.Flags().StringVar(&worker, "worker", "", "")
		_ = c.Flags().MarkHidden("worker")
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if worker != "" {
			return burn.MemoryWorker(os.Stdout, worker)
		}
		if size != "" {
			n, err := units.RAMInBytes(size)
			if err != nil {
				return &engine.Error{Err: fmt.Errorf("read --size=%q: no amount", size), Text: "for instance --size 10m"}
			}
			o.Size = n
		}
		o.Worker = []string{"burn", "memory", "--worker"}
		o.For = time.Duration(seconds * float64(time.Second))
		o.Out, o.Live = os.Stdout, isTerminal(1)
		ctx, stop := signal.NotifyContext(c.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		return k.Run(ctx, o)
	}
	return c
}
