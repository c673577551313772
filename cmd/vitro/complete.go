// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vitro/engine"
)

// What a shell offers behind a command: for each argument the kind of names
// that it is, the last for all that follow. A command that is not in the table
// says itself what its arguments are, or has files.
var completions = [...]struct {
	group    string // "" are those without a group, and the group container, which has them too
	commands string
	kinds    string
}{
	{"", "exec attach port top", "running once"},
	{"", "pause unpause stop kill wait stats", "running"},
	{"", "restart update", "container"},
	{"", "logs rename", "container once"},
	{"", "cp", "inside"},
	{"", "start", "stopped"},
	{"", "diff commit export exists", "container once"},
	{"", "rm inspect", "container"},
	{"", "ns", "running"},
	{"", "pid explain", "running once"},
	{"", "contrast", "running running"},
	{"", "run create", "image once"},
	{"", "rmi save images", "image"},
	{"", "history tag", "image once"},
	{"", "ps ls prune events info version", "nothing"},
	{"explain", "run", "image once"},
	{"generate", "systemd quadlet", "container once"},
	{"image", "rm inspect save", "image"},
	{"image", "history tag", "image once"},
	{"network", "rm inspect", "network"},
	{"network", "connect disconnect", "network container once"},
	{"volume", "rm inspect", "volume"},
	{"system", "df info events sweep boot check", "nothing"},
}

// flagWords are what flags can be, and flagKinds the names that they can be,
// wherever there are flags of these names.
var (
	flagWords = map[string]string{
		"restart":           "no always unless-stopped on-failure",
		"log-driver":        "json-file k8s-file journald none",
		"health-on-failure": "none kill restart stop",
		"pull":              "always missing never",
		"signal":            "HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH",
		"stop-signal":       "HUP INT QUIT KILL USR1 USR2 TERM WINCH",
	}
	flagKinds = map[string]string{"network": "network", "volumes-from": "container", "volume": "place"}
)

// complete has shells offer names. They are read from the file system only:
// nothing is locked, and the kernel is asked only which containers run.
func (a *app) complete(root *cobra.Command) {
	for _, row := range completions {
		for _, parent := range parents(root, row.group) {
			for _, c := range parent.Commands() {
				if c.ValidArgsFunction == nil && !c.HasSubCommands() && slices.Contains(strings.Fields(row.commands), c.Name()) {
					c.ValidArgsFunction = a.offer(strings.Fields(row.kinds))
				}
			}
		}
	}
	for _, parent := range parents(root, "") {
		for _, c := range parent.Commands() {
			a.completeFlags(c)
		}
	}
}

func (a *app) completeFlags(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if words, ok := flagWords[f.Name]; ok && f.Value.Type() != "bool" {
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(strings.Fields(words), cobra.ShellCompDirectiveNoFileComp))
		}
		if kind, ok := flagKinds[f.Name]; ok && f.Value.Type() != "bool" {
			offer := a.offer([]string{kind})
			_ = c.RegisterFlagCompletionFunc(f.Name, func(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
				return offer(c, nil, word)
			})
		}
	})
}

// parents are the commands that have those of a group below them.
func parents(root *cobra.Command, group string) []*cobra.Command {
	var list []*cobra.Command
	if group == "" {
		list, group = append(list, root), "container"
	}
	for _, c := range root.Commands() {
		if c.Name() == group {
			list = append(list, c)
		}
	}
	return list
}

func (a *app) offer(kinds []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		kind := kinds[min(len(args), len(kinds)-1)]
		if kind == "once" { // a command, files, a new name
			return nil, cobra.ShellCompDirectiveDefault
		}
		e, err := a.engine()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var list []string
		for _, n := range known(e, kind) {
			if strings.HasPrefix(n, word) && !slices.Contains(args, n) {
				list = append(list, n)
			}
		}
		switch {
		case kind != "inside" && kind != "place":
			return list, cobra.ShellCompDirectiveNoFileComp
		case len(list) == 0: // a file
			return nil, cobra.ShellCompDirectiveDefault
		}
		return list, cobra.ShellCompDirectiveNoSpace // a path follows
	}
}

// known are the names that there are of a kind.
func known(e *engine.Engine, kind string) []string {
	switch kind {
	case "container":
		return e.Containers.AllNames()
	case "running", "stopped":
		all, err := e.List()
		if err != nil {
			return nil
		}
		var names []string
		for _, i := range all {
			if (i.Pid != 0) == (kind == "running") {
				names = append(names, i.Name)
			}
		}
		return names
	case "inside":
		return withColon(e.Containers.AllNames())
	case "place":
		return withColon(known(e, "volume"))
	case "image":
		return e.Images.Names()
	case "volume":
		return folders(filepath.Join(e.Dir, "volumes"))
	case "network":
		return append(folders(filepath.Join(e.Dir, "network")), "bridge", "host", "none")
	}
	return nil
}

func withColon(names []string) (list []string) {
	for _, n := range names {
		list = append(list, n+":")
	}
	return list
}

// folders are the names in a folder, but for what is being made or removed.
func folders(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}
