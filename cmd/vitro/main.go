// SPDX-License-Identifier: Apache-2.0

// Command vitro is the container engine for people: Docker's verbs and flags,
// without a daemon, and with every step of a container open to view.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/monitor"
	"vitro/plan/run"
)

// version is the engine's.
const version = "0.1.0"

// commands is the table of commands, a file for each.
var commands = [...]func(*app) *cobra.Command{
	runCommand, createCommand, startCommand, stopCommand, restartCommand, killCommand, removeCommand, pauseCommand, unpauseCommand, waitCommand,
	execCommand, attachCommand, logsCommand, cpCommand, diffCommand, exportCommand, commitCommand,
	psCommand, inspectCommand, topCommand, statsCommand, updateCommand, renameCommand, eventsCommand, containerCommand,
	loadCommand, importCommand, saveCommand, imagesCommand, rmiCommand, tagCommand, historyCommand, imageCommand, volumeCommand, networkCommand, portCommand,
	explainCommand, labCommand, burnCommand,
	systemCommand, infoCommand, versionCommand, generateCommand, completionCommand,
	nsCommand, pidCommand, contrastCommand,
}

// app is what the commands share.
type app struct {
	root string // --root
	code int    // the exit status, if there is no error
}

func (a *app) engine() (*engine.Engine, error) { return engine.Open(a.root) }

func main() {
	if len(os.Args) > 1 && os.Args[1] == engine.HelperVerb {
		if err := engine.Helper(os.Args[2:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == engine.BesideVerb {
		if err := engine.Beside(os.Args[2:], besideHooks); err != nil {
			run.Report(os.Stderr, "vitro", err)
			os.Exit(1)
		}
		return
	}
	a := &app{}
	if err := a.command().Execute(); err != nil {
		a.report(err)
	}
	os.Exit(a.code)
}

// report prints an error. One of the process beside a container comes in words.
func (a *app) report(err error) {
	if e := new(monitor.StartError); errors.As(err, &e) {
		fmt.Fprint(os.Stderr, e.Text)
	} else if !errors.Is(err, monitor.ErrNoReader) { // who has left needs no words
		run.Report(os.Stderr, "vitro", err)
	}
	var own interface{ ExitCode() int }
	switch {
	case errors.As(err, &own):
		a.code = own.ExitCode()
	case a.code == 0:
		a.code = run.ExitCode(err)
	}
}

func (a *app) command() *cobra.Command {
	c := &cobra.Command{
		Use:           "vitro",
		Short:         "containers, in glass: a container engine that shows each step",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.SetVersionTemplate("vitro version {{.Version}}\n")
	c.PersistentFlags().StringVar(&a.root, "root", "", "folder for images and containers (default /var/lib/vitro, or ~/.local/share/vitro)")
	for _, mk := range commands {
		c.AddCommand(mk(a))
	}
	group(c)
	a.complete(c)
	return c
}
