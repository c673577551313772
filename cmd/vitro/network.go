// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/spf13/cobra"

func networkCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "network", Short: "networks: how containers and the machine are joined"}
	c.AddCommand(networkAttachCommand(a), networkDetachCommand(a), networkMapCommand(a), networkTraceCommand(a))
	return c
}
