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
)

var (
	manDir  = flag.String("man", "", "folder to write the manual page to")
	manDate = flag.String("date", time.Now().Format(time.DateOnly), "its date")
)

// TestManPage is also what make man runs, with -man.
func TestManPage(t *testing.T) {
	items := func(list []option) (items []manual.Item) {
		for _, o := range list {
			i := manual.Item{Term: "--" + o.name, Text: o.does}
			if o.short != "" {
				i.Term = "-" + o.short + ", " + i.Term
			}
			if o.value != "" {
				i.Term += " " + o.value
			}
			items = append(items, i)
		}
		return items
	}
	_, number, _ := strings.Cut(version, "version ")
	number, _, _ = strings.Cut(number, "\n")
	p := manual.Page{
		Name: "vitro-oci", Section: 8, Version: number, Date: *manDate, Short: "OCI runtime, with runc's command line",
		Synopsis: []string{"vitro-oci [OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]"},
		Text: "Makes, starts, watches and removes containers, each of a bundle: a folder with a config.json and a root file system. " +
			"Engines that call runc can call it instead: Docker, Podman, containerd, and Kubernetes by the latter two.",
		Lists:   []manual.List{{Title: "OPTIONS", Items: items(globals[:])}, {Title: "COMMANDS"}},
		Example: "vitro-oci spec; vitro-oci create web; vitro-oci start web\nvitro-oci exec web sh\nvitro-oci delete --force web",
		See:     []string{"vitro(1)"},
	}
	for _, c := range commands {
		p.Lists[1].Items = append(p.Lists[1].Items, manual.Item{Term: strings.TrimSpace(c.name + " " + c.args), Text: c.does, Items: items(c.options)})
	}
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	file := filepath.Join(dir, "vitro-oci.8")
	text := p.String()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if want := ".B exec ID COMMAND [ARG...]\n"; !strings.Contains(text, want) {
		t.Errorf("no %q in it:\n%s", want, text)
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("needs mandoc, to check the page")
	}
	if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}
