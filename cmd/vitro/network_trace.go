// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/network/trace"
)

func networkTraceCommand(a *app) *cobra.Command {
	to, from := "", ""
	r := trace.Request{}
	c := &cobra.Command{
		Use:   "trace --to ADDRESS:PORT [--from CONTAINER|PID] [--udp]",
		Short: "follow a packet, and find what stops it",
		Long: "trace opens one connection (or sends one empty datagram) from here, or from a container or process of any engine, and has the\n" +
			"kernel tell which rules decide about it. It names what stops it, and the command that shows that. Its rules are for this one\n" +
			"connection, and gone with this command. The exit status is 1 if the packet doesn't get there.",
		Example: "  vitro network trace --to 127.0.0.1:8080\n  vitro network trace --from web --to 192.0.2.7:443",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&to, "to", "", "ADDRESS:PORT, [ADDRESS]:PORT for IPv6")
	c.Flags().StringVar(&from, "from", "", "a container's name or ID, a process's number, or a name of ip netns (default: here)")
	c.Flags().BoolVar(&r.UDP, "udp", false, "a datagram by UDP, not a connection by TCP")
	_ = c.MarkFlagRequired("to")
	c.RunE = func(*cobra.Command, []string) error {
		addr, err := netip.ParseAddrPort(to)
		if err != nil || addr.Port() == 0 || addr.Addr().Zone() != "" {
			return &engine.Error{Err: fmt.Errorf("read --to %q: want ADDRESS:PORT", to), Text: "such as 192.0.2.7:80 or [2001:db8::7]:80; names are not looked up"}
		}
		r.To = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		m, err := a.topology()
		if err != nil {
			return err
		}
		if from != "" {
			n := m.Find(from)
			if n == nil {
				return &engine.Error{Err: fmt.Errorf("read --from %q: no container, process or network namespace of this name", from), Text: "vitro network map shows those that there are"}
			}
			r.From = n.ID
		}
		res, err := trace.Run(m, r)
		if err != nil {
			return err
		}
		report := trace.Explain(res)
		fmt.Print(report)
		if !report.Reached {
			a.code = 1
		}
		return nil
	}
	return c
}
