// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func portCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "port CONTAINER [PORT[/PROTOCOL]]",
		Short:   "list the ports of the host that lead to a container",
		Example: "  vitro port web\n  vitro port web 80",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			port := ""
			if len(args) == 2 {
				port = args[1]
			}
			lines, err := e.Ports(args[0], port)
			for _, l := range lines {
				fmt.Println(l)
			}
			return err
		},
	}
}
