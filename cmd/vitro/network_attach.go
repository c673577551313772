// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vitro/engine"
	"vitro/network/cable"
	"vitro/plan"
)

// attached is the folder with the ways back. It is in /run, for what it is about is gone after a boot.
func (a *app) attached() string {
	if a.root != "" {
		return filepath.Join(a.root, "attached")
	}
	return "/run/vitro/attached"
}

func networkAttachCommand(a *app) *cobra.Command {
	r := cable.Request{}
	host, container, explain := "", "", false
	c := &cobra.Command{
		Use:   "attach --pid PID --name NAME [flags]",
		Short: "join any process's network namespace to this machine",
		Long: "attach puts a cable (a veth pair) between this machine and the network namespace of a process, whoever made it, with the\n" +
			"addresses that you choose, and binds the namespace below /run/netns, for ip netns. The host's end is called NAME-0, the\n" +
			"other NAME-1. vitro network detach NAME takes all of it back, even if the process has ended.",
		Example: "  vitro network attach --pid $(pidof -s busybox) --name consh --host 10.0.0.1/24 --container 10.0.0.2/24\n" +
			"  vitro network attach --pid 4711 --name lab --bridge br0 --host 10.0.0.1/24 --container 10.0.0.3/24 --gateway\n" +
			"  ip netns exec consh ping 10.0.0.1\n" +
			"  vitro network detach consh",
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.IntVar(&r.PID, "pid", 0, "a process in the network namespace")
	f.StringVar(&r.Name, "name", "", "what it is to be called by ip netns")
	f.StringVar(&host, "host", "", "ADDRESS/BITS of the host's end, or of the bridge")
	f.StringVar(&container, "container", "", "ADDRESS/BITS of the process's end")
	f.StringVar(&r.Bridge, "bridge", "", "plug the host's end into this bridge; it is made if it isn't there")
	f.BoolVar(&r.Gateway, "gateway", false, "the process reaches all other addresses by way of the host's")
	f.BoolVar(&explain, "explain", false, "show what would be done, as commands, and do nothing")
	for _, name := range [...]string{"pid", "name"} {
		_ = c.MarkFlagRequired(name)
	}
	c.RunE = func(*cobra.Command, []string) error {
		var err error
		if r.Host, err = prefixFlag("host", host); err != nil {
			return err
		}
		if r.Container, err = prefixFlag("container", container); err != nil {
			return err
		}
		facts, err := cable.Read(r)
		if err != nil {
			return err
		}
		p, err := cable.Plan(r, facts)
		if err != nil {
			return err
		}
		if explain {
			fmt.Print(commandsOf(p))
			return nil
		}
		return cable.Attach(a.attached(), r.Name, p)
	}
	return c
}

func networkDetachCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "detach NAME",
		Short: "take back what attach did",
		Args:  cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return cable.Names(a.attached()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error { return cable.Detach(a.attached(), args[0]) },
	}
}

// prefixFlag reads an address with the length of its range.
func prefixFlag(name, value string) (netip.Prefix, error) {
	if value == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return p, &engine.Error{Err: fmt.Errorf("read --%s %q: want ADDRESS/BITS", name, value), Text: "such as 10.0.0.1/24"}
	}
	return p, nil
}

// commandsOf is a plan of host steps as a shell does it, with the reasons, and the way back.
func commandsOf(p *plan.Plan) string {
	var b, back strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "# %s\n%s\n", s.Why, strings.Join(s.Shell(), "\n"))
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if u := p.Steps[i].Action.(plan.Host).Undo(); u != nil {
			back.WriteString("# " + strings.Join(plan.Step{Action: u}.Shell(), "\n# ") + "\n")
		}
	}
	return b.String() + "\n# The way back:\n" + back.String()
}
