// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
)

func systemCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "system", Short: "look after the engine itself"}
	c.AddCommand(&cobra.Command{
		Use:   "sweep",
		Short: "take back what containers have left whose engine was killed (every run does it first)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return e.Sweep()
		},
	})
	c.AddCommand(diskCommand(a), eventsCommand(a), infoCommand(a))
	return c
}
