// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"vitro/container"
	"vitro/engine"
	"vitro/monitor"
)

// each does something with each of several containers, and prints the names of
// those with which it went well. One that goes wrong doesn't spare the others.
func (a *app) each(names []string, quiet bool, do func(e *engine.Engine, name string) error) error {
	e, err := a.engine()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if err := do(e, name); err != nil {
			errs = append(errs, err)
		} else if !quiet {
			fmt.Println(name)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	for _, err := range errs {
		report(err)
		a.code = 1
	}
	return nil
}

func startCommand(a *app) *cobra.Command {
	var at attachFlags
	var attach, interactive bool
	c := &cobra.Command{Use: "start [-a] [-i] CONTAINER [CONTAINER...]", Short: "start containers that don't run", Args: cobra.MinimumNArgs(1)}
	c.Flags().BoolVarP(&attach, "attach", "a", false, "join its output, and stay to its end")
	c.Flags().BoolVarP(&interactive, "interactive", "i", false, "join its input too")
	c.Flags().StringVar(&at.keys, "detach-keys", "ctrl-p,ctrl-q", "keys that leave the container running")
	c.Flags().BoolVar(&at.proxy, "sig-proxy", true, "pass signals on to the container")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if !attach && !interactive {
			return a.each(args, false, func(e *engine.Engine, name string) error { return start(e, name) })
		}
		if len(args) > 1 {
			return &engine.Error{Err: errors.New("start containers with -a or -i: this terminal can follow only one"), Text: "start them without, and vitro attach to one"}
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		r, err := e.Startable(args[0])
		if err != nil {
			return err
		}
		wants := monitor.Output | monitor.Errors
		if interactive && r.Flags.Interactive {
			wants |= monitor.Input
		}
		attachment, err := at.attachment(wants, r.Flags.Terminal)
		if err != nil {
			return err
		}
		conn, err := e.Launch(engine.Launch{ID: r.ID, Wants: wants, Size: terminalSize()})
		if err != nil {
			return err
		}
		return a.follow(attachment, conn, r.Flags.Memory)
	}
	return c
}

// start starts a container; one that runs already is left alone.
func start(e *engine.Engine, name string) error {
	r, err := e.Startable(name)
	if errors.Is(err, engine.ErrRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	conn, err := e.Launch(engine.Launch{ID: r.ID})
	if err != nil {
		return err
	}
	defer conn.Close()
	return monitor.AwaitStart(conn, warn)
}

// stopFlags are those of stop and restart.
func stopFlags(c *cobra.Command) func() (engine.StopRequest, error) {
	var timeout *int
	var sig string
	c.Flags().VarP(optionalIntValue{&timeout}, "timeout", "t", "seconds until it is killed (default the container's, 10); -1 is never")
	c.Flags().Var(optionalIntValue{&timeout}, "time", "the same as --timeout")
	_ = c.Flags().MarkHidden("time")
	c.Flags().StringVarP(&sig, "signal", "s", "", "the signal that asks it to end (default the container's)")
	return func() (s engine.StopRequest, err error) {
		s.Timeout = timeout
		if sig != "" {
			s.Signal, err = container.ParseSignal(sig)
		}
		return s, err
	}
}

func stopCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "stop [-t SECONDS] CONTAINER [CONTAINER...]", Short: "ask containers to end, and kill those that don't", Args: cobra.MinimumNArgs(1)}
	request := stopFlags(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		s, err := request()
		if err != nil {
			return err
		}
		return a.each(args, false, func(e *engine.Engine, name string) error { return e.Stop(name, s) })
	}
	return c
}

func restartCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "restart [-t SECONDS] CONTAINER [CONTAINER...]", Short: "stop containers, and start them again", Args: cobra.MinimumNArgs(1)}
	request := stopFlags(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		s, err := request()
		if err != nil {
			return err
		}
		return a.each(args, false, func(e *engine.Engine, name string) error {
			if err := e.Stop(name, s); err != nil {
				return err
			}
			return start(e, name)
		})
	}
	return c
}

func killCommand(a *app) *cobra.Command {
	var name string
	c := &cobra.Command{Use: "kill [-s SIGNAL] CONTAINER [CONTAINER...]", Short: "send a signal to containers (default SIGKILL)", Args: cobra.MinimumNArgs(1)}
	c.Flags().StringVarP(&name, "signal", "s", "KILL", "the signal, by name or number")
	c.RunE = func(_ *cobra.Command, args []string) error {
		sig, err := container.ParseSignal(name)
		if err != nil {
			return err
		}
		return a.each(args, false, func(e *engine.Engine, name string) error { return e.Signal(name, sig) })
	}
	return c
}

func removeCommand(a *app) *cobra.Command {
	var force, volumes bool
	c := &cobra.Command{Use: "rm [-f] CONTAINER [CONTAINER...]", Short: "remove containers", Args: cobra.MinimumNArgs(1)}
	c.Flags().BoolVarP(&force, "force", "f", false, "even those that run: they are killed; no error if there is none")
	c.Flags().BoolVarP(&volumes, "volumes", "v", false, "with their anonymous volumes")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.each(args, true, func(e *engine.Engine, name string) error {
			err := e.Remove(name, force, volumes)
			switch {
			case force && errors.Is(err, container.ErrNotFound):
				report(err)
				return nil
			case err == nil:
				fmt.Println(name)
			}
			return err
		})
	}
	return c
}

func pauseCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "pause CONTAINER [CONTAINER...]", Short: "have all processes of containers stand still", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.each(args, false, func(e *engine.Engine, name string) error { return e.Pause(name, true) })
		}}
}

func unpauseCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "unpause CONTAINER [CONTAINER...]", Short: "have processes of paused containers go on", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.each(args, false, func(e *engine.Engine, name string) error { return e.Pause(name, false) })
		}}
}

func renameCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "rename CONTAINER NAME", Short: "give a container another name", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return e.Rename(args[0], args[1])
		}}
}

func waitCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "wait CONTAINER [CONTAINER...]", Short: "wait for containers to end, and print their exit codes", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.each(args, true, func(e *engine.Engine, name string) error {
				exit, err := e.Wait(name)
				if err == nil {
					fmt.Println(exit.Code)
				}
				return err
			})
		}}
}

func attachCommand(a *app) *cobra.Command {
	var at attachFlags
	var noInput bool
	c := &cobra.Command{Use: "attach CONTAINER", Short: "join the streams of a running container", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVar(&noInput, "no-stdin", false, "not its input")
	c.Flags().StringVar(&at.keys, "detach-keys", "ctrl-p,ctrl-q", "keys that leave the container running")
	c.Flags().BoolVar(&at.proxy, "sig-proxy", true, "pass signals on to the container")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		conn, r, err := e.Connect(args[0])
		if err != nil {
			return err
		}
		wants := monitor.Output | monitor.Errors
		if r.Flags.Interactive && !noInput {
			wants |= monitor.Input
		}
		attachment, err := at.attachment(wants, r.Flags.Terminal)
		if err != nil {
			return err
		}
		exit, err := attachment.Attach(conn)
		if errors.Is(err, monitor.ErrDetached) {
			return nil
		}
		a.code = exit.Code
		return err
	}
	return c
}

func execCommand(a *app) *cobra.Command {
	f := &engine.ExecFlags{}
	c := &cobra.Command{
		Use:     "exec [flags] CONTAINER COMMAND [ARG...]",
		Short:   "run one more command in a running container",
		Example: "  vitro exec -it web sh\n  vitro exec -u 1000 -w /srv web ls",
		Args:    cobra.MinimumNArgs(2),
	}
	fl := c.Flags()
	fl.SetInterspersed(false)
	fl.BoolVarP(&f.Interactive, "interactive", "i", false, "pass standard input on")
	fl.BoolVarP(&f.Terminal, "tty", "t", false, "give it a terminal")
	fl.BoolVarP(&f.Detach, "detach", "d", false, "do not wait for its end")
	fl.StringArrayVarP(&f.Env, "env", "e", nil, "set an environment variable: NAME=VALUE, or NAME for the host's")
	fl.StringArrayVar(&f.EnvFiles, "env-file", nil, "read environment variables from a file")
	fl.StringVarP(&f.Workdir, "workdir", "w", "", "its working directory")
	fl.StringVarP(&f.User, "user", "u", "", "its user: NAME|UID[:GROUP|GID]")
	fl.BoolVar(&f.Privileged, "privileged", false, "with all capabilities")
	keys := fl.String("detach-keys", "ctrl-p,ctrl-q", "keys that leave the command running, with -it")
	c.RunE = func(_ *cobra.Command, args []string) (err error) {
		f.Command = args[1:]
		if f.DetachKeys, err = monitor.ParseKeys(*keys); err != nil {
			return err
		}
		if f.Terminal && f.Interactive && !isTerminal(0) && !f.Detach {
			return &noTerminal{"exec"}
		}
		f.Size = terminalSize()
		e, err := a.engine()
		if err != nil {
			return err
		}
		exit, err := e.Exec(args[0], f)
		if errors.Is(err, monitor.ErrDetached) {
			return nil
		}
		a.code = exit.Code
		return err
	}
	return c
}
