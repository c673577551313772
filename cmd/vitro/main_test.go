// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// TestCalled: the table has the commands' names, and a command line is the same
// whether the other commands are there or not.
func TestCalled(t *testing.T) {
	all := new(app).command(nil)
	for _, row := range commands {
		c, _, err := all.Find([]string{row.name})
		if err != nil || c.Name() != row.name || c.Parent() != all {
			t.Errorf("%s is %q, %v", row.name, c.CommandPath(), err)
			continue
		}
		for _, args := range [][]string{{row.name}, {"--root", "x", row.name}, {"--root=x", row.name, "y"}} {
			alone := new(app).command(args)
			if n := len(alone.Commands()); n != 1 || alone.Commands()[0].Name() != row.name {
				t.Errorf("%q brings %d commands", args, n)
			}
			if got := alone.Commands()[0].UsageString(); got != c.UsageString() {
				t.Errorf("%q: its usage is\n%s\nwith all\n%s", args, got, c.UsageString())
			}
		}
	}
	for _, args := range [][]string{{}, {"rn"}, {"help", "run"}, {"--rootfs", "x", "run"}, {"--root", "x"}, {"__complete", "r"}, {"--root"}, {"--root", "run"}, {"-h"}} {
		if n := len(new(app).command(args).Commands()); n < len(commands) {
			t.Errorf("%q: %d commands of %d", args, n, len(commands))
		}
	}
}
