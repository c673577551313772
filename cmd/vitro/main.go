// SPDX-License-Identifier: Apache-2.0

// Command vitro is the container engine for people: Docker's verbs and flags,
// without a daemon, and with every step of a container open to view.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/internal/entry"
	"vitro/monitor"
	"vitro/plan/run"
)

// version is the engine's.
const version = "0.1.0"

// commands is the table of commands, a file for each.
var commands = [...]struct {
	name string
	make func(*app) *cobra.Command
}{
	{"run", runCommand},
	{"create", createCommand},
	{"start", startCommand},
	{"stop", stopCommand},
	{"restart", restartCommand},
	{"kill", killCommand},
	{"rm", removeCommand},
	{"pause", pauseCommand},
	{"unpause", unpauseCommand},
	{"wait", waitCommand},
	{"exec", execCommand},
	{"attach", attachCommand},
	{"logs", logsCommand},
	{"cp", cpCommand},
	{"diff", diffCommand},
	{"export", exportCommand},
	{"commit", commitCommand},
	{"ps", psCommand},
	{"inspect", inspectCommand},
	{"top", topCommand},
	{"stats", statsCommand},
	{"update", updateCommand},
	{"rename", renameCommand},
	{"events", eventsCommand},
	{"container", containerCommand},
	{"load", loadCommand},
	{"import", importCommand},
	{"save", saveCommand},
	{"images", imagesCommand},
	{"rmi", rmiCommand},
	{"tag", tagCommand},
	{"history", historyCommand},
	{"image", imageCommand},
	{"volume", volumeCommand},
	{"network", networkCommand},
	{"port", portCommand},
	{"explain", explainCommand},
	{"lab", labCommand},
	{"burn", burnCommand},
	{"system", systemCommand},
	{"info", infoCommand},
	{"version", versionCommand},
	{"generate", generateCommand},
	{"completion", completionCommand},
	{"ns", nsCommand},
	{"pid", pidCommand},
	{"contrast", contrastCommand},
}

// app is what the commands share.
type app struct {
	root string // --root
	code int    // the exit status, if there is no error
}

func (a *app) engine() (*engine.Engine, error) {
	e, err := engine.Open(a.root)
	if err == nil {
		e.Warn = warn
	}
	return e, err
}

func main() {
	entry.Unset()
	entry.Widen()
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
	ran, err := a.command(os.Args[1:]).ExecuteC()
	if err == nil && !ran.Runnable() && ran.Flags().NArg() > 0 {
		err = &usageError{ran, fmt.Errorf("has no command %q", ran.Flags().Arg(0))}
	}
	if err != nil {
		report(err)
		a.code = exitCode(ran, err)
	}
	os.Exit(a.code)
}

// report prints an error. One of the process beside a container comes in words.
func report(err error) {
	if e := new(monitor.StartError); errors.As(err, &e) {
		fmt.Fprint(os.Stderr, e.Text)
	} else if !errors.Is(err, monitor.ErrNoReader) { // who has left needs no words
		run.Report(os.Stderr, "vitro", err)
	}
}

// exitCode is what a command of vitro ends with after an error, as Docker's:
// scripts tell by it whether a container, or a command in one, has run at all.
func exitCode(ran *cobra.Command, err error) int {
	var fault *run.Fault
	var start *monitor.StartError
	var own interface{ ExitCode() int }
	verb := strings.TrimPrefix(strings.TrimPrefix(ran.CommandPath(), "vitro "), "container ")
	switch {
	case errors.As(err, &start), errors.As(err, &fault):
		if verb != "run" && verb != "exec" {
			return 1
		}
		code := run.ExitCode(err)
		if start != nil {
			code = start.Code
		}
		if code == 125 && verb == "exec" { // the engine is well; the command can't be run
			code = 126
		}
		return code
	case errors.As(err, &own):
		return own.ExitCode()
	case verb == "run":
		return run.ExitCode(err)
	}
	return 1
}

// A usageError is a command line that has too few words, or too many.
type usageError struct {
	command *cobra.Command
	err     error
}

func (e *usageError) Error() string { return fmt.Sprintf("%q %v", e.command.CommandPath(), e.err) }
func (e *usageError) ExitCode() int { return 1 }
func (e *usageError) Hint() string {
	return fmt.Sprintf("%s; see %s --help", e.command.UseLine(), e.command.CommandPath())
}

// A flagError is a flag that there is not, or that can't have this value.
type flagError struct {
	command *cobra.Command
	err     error
}

func (e *flagError) Error() string { return e.err.Error() }
func (e *flagError) Unwrap() error { return e.err }
func (e *flagError) ExitCode() int { return 125 }
func (e *flagError) Hint() string {
	var own interface{ Hint() string }
	if errors.As(e.err, &own) {
		return own.Hint()
	}
	return e.command.CommandPath() + " --help lists the flags"
}

// called is the name of the command that args call; empty if there is no such
// command, or if it can't be told from its place.
func called(args []string) string {
	switch { // what may stand before it
	case len(args) > 1 && args[0] == "--root":
		args = args[2:]
	case len(args) > 0 && strings.HasPrefix(args[0], "--root="):
		args = args[1:]
	}
	for _, row := range commands {
		if len(args) > 0 && row.name == args[0] {
			return row.name
		}
	}
	return ""
}

// instruct has a command and those below it say how they are used.
func instruct(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &usageError{c, err}
			}
			return nil
		}
	}
	for _, below := range c.Commands() {
		instruct(below)
	}
}

// command is the program's command line, with all commands below it, or with
// that one alone which args call: the others' flags take a start a millisecond.
func (a *app) command(args []string) *cobra.Command {
	c := &cobra.Command{
		Use:           "vitro",
		Short:         "containers, in glass: a container engine that shows each step",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c.SetVersionTemplate("vitro version {{.Version}}\n")
	c.PersistentFlags().StringVar(&a.root, "root", "", "folder for images and containers (default /var/lib/vitro, or ~/.local/share/vitro)")
	called := called(args)
	for _, row := range commands {
		if called == "" || called == row.name {
			c.AddCommand(row.make(a))
		}
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &flagError{c, err} })
	instruct(c)
	group(c)
	a.complete(c)
	return c
}
