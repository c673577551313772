// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"strings"
)

// A Key is a line of a .container file. One whose value is a list of words in
// systemd's quoting says so.
type Key struct {
	Name, Value string
	Words       bool
}

// A Request is what a container was asked to be, for a .container file.
type Request struct {
	Name    string
	Keys    []Key    // of the section Container, in order; those without a value are left out
	Command []string // what runs
	Args    []string // what there are no keys for: flags of podman run
	Restart string   // systemd's policy
	Target  string   // what wants it
}

// Quadlet is a .container file for it.
func Quadlet(r Request) string {
	var b strings.Builder
	b.WriteString("# " + r.Name + ".container: made by vitro generate quadlet\n[Unit]\n")
	b.WriteString("Description=Container " + specifiers(r.Name) + "\n\n[Container]\n")
	keys := append([]Key{{Name: "ContainerName", Value: r.Name}}, r.Keys...)
	for _, k := range keys {
		value := specifiers(k.Value)
		if k.Words {
			value = quote(k.Value)
		}
		if k.Value != "" {
			b.WriteString(k.Name + "=" + value + "\n")
		}
	}
	if len(r.Args) > 0 {
		b.WriteString("PodmanArgs=" + command(r.Args...) + "\n")
	}
	if len(r.Command) > 0 {
		b.WriteString("Exec=" + command(r.Command...) + "\n")
	}
	b.WriteString("\n[Service]\nRestart=" + r.Restart + "\n\n[Install]\nWantedBy=" + r.Target + "\n")
	return b.String()
}
