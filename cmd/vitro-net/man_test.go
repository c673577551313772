// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vitro/internal/manual"
	"vitro/network/usernet"
)

var (
	manDir  = flag.String("man", "", "folder to write the manual page to")
	manDate = flag.String("date", time.Now().Format(time.DateOnly), "its date")
)

// TestManPage is also what make man runs, with -man.
func TestManPage(t *testing.T) {
	p := manual.Page{
		Name: "vitro-net", Section: 8, Version: version, Date: *manDate, Short: strings.TrimPrefix(short, "vitro-net "),
		Synopsis: []string{"vitro-net serve DIR [again]"},
		Text: starts + " It is found beside vitro, or in PATH. As the user, who is root of a user namespace there, it makes one network namespace in which vitro makes " +
			"bridges, rules and names as it does for root, and stays itself in the host's.\n\nIt binds the ports of the host that containers publish, and passes on what comes to them. " +
			"The way out is pasta's, where that is installed, or a network stack of its own.",
		Lists: []manual.List{{Title: "COMMANDS"}, {Title: "ENVIRONMENT", Items: []manual.Item{
			{Term: usernet.Choice, Text: "pasta or builtin: which way out it is, whatever is installed"}}}},
		See: []string{"vitro(1)", "pasta(1)", "user_namespaces(7)"},
	}
	for _, u := range usage {
		p.Lists[0].Items = append(p.Lists[0].Items, manual.Item{Term: u[0], Text: u[1]})
	}
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	file := filepath.Join(dir, "vitro-net.8")
	text := p.String()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if want := ".B serve DIR again\n"; !strings.Contains(text, want) {
		t.Errorf("no %q in it:\n%s", want, text)
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("needs mandoc, to check the page")
	}
	if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}
