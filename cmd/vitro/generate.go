// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vitro/engine"
)

func generateCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "generate", Short: "make files of containers, for others to start them"}
	c.AddCommand(generateSystemdCommand(a), generateQuadletCommand(a))
	return c
}

func generateSystemdCommand(a *app) *cobra.Command {
	var restart string
	var after []string
	c := &cobra.Command{
		Use:   "systemd CONTAINER",
		Short: "print a unit of systemd that starts and stops a container",
		Long: "Print a unit of systemd that starts and stops a container that is there already. It belongs in\n" +
			"/etc/systemd/system, an ordinary user's in ~/.config/systemd/user.",
		Example: "  vitro generate systemd web >/etc/systemd/system/vitro-web.service\n  systemctl enable --now vitro-web",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&restart, "restart-policy", "", "have systemd start it again: on-failure, always, …; a container's own policy does without")
	c.Flags().StringArrayVar(&after, "after", nil, "a unit to be started before")
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		i, err := e.Info(args[0])
		if err != nil {
			return err
		}
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		text, err := e.Service(i, exe, restart, after)
		fmt.Print(text)
		return err
	}
	return c
}

func generateQuadletCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "quadlet CONTAINER",
		Short: "print a .container file, from which Podman makes a unit that makes the container",
		Long: "Print a .container file (podman-systemd.unit(5)), from which Podman's generator makes a unit of systemd that\n" +
			"makes the container anew at each start. What such files have no keys for stands in PodmanArgs.",
		Example: "  vitro generate quadlet web >/etc/containers/systemd/web.container; systemctl daemon-reload",
		Args:    cobra.ExactArgs(1),
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		i, err := e.Info(args[0])
		if err != nil {
			return err
		}
		text, err := engine.Quadlet(i.Record, os.Geteuid() != 0)
		fmt.Print(text)
		return err
	}
	return c
}
