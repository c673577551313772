// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// topics are the groups of the list of commands. What is in none of them
// stands at the end.
var topics = [...]struct{ id, title, commands string }{
	{"common", "Common Commands:", "run exec ps build pull push images login logout search version info"},
	{"glass", "Commands That Show How It Works:", "explain ns pid why contrast lesson lab burn trace"},
	{"manage", "Management Commands:", "builder checkpoint container context image manifest network system volume generate"},
	{"life", "Commands For Containers:", "attach commit cp create diff export kill logs pause port rename restart rm start stats stop top unpause update wait inspect events"},
	{"images", "Commands For Images:", "history import load rmi save tag"},
}

// group puts the commands under their topics.
func group(root *cobra.Command) {
	for _, t := range topics {
		list := " " + t.commands + " "
		var some bool
		for _, c := range root.Commands() {
			if strings.Contains(list, " "+c.Name()+" ") {
				c.GroupID, some = t.id, true
			}
		}
		if some {
			root.AddGroup(&cobra.Group{ID: t.id, Title: t.title})
		}
	}
}
