// SPDX-License-Identifier: Apache-2.0

// Command vitro-oci is an OCI runtime: it runs a container from a bundle, a
// folder with a config.json and a root file system.
//
// It is on the way of every start, so it imports little; what a package costs
// at its start is shown by GODEBUG=inittrace=1, and a test holds the list.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"vitro/plan/run"
)

const usage = `usage: vitro-oci [--root DIR] COMMAND

  run [--bundle DIR] [--pid-file FILE] [--preserve-fds N] ID
                     make a container of a bundle, run it, wait, remove it
  spec [--bundle DIR] [--rootless]
                     write a config.json to start from
  --version          the versions of vitro and of the OCI specification
  --help             this text

  --root DIR         where containers are kept (default /run/vitro-oci, or
                     $XDG_RUNTIME_DIR/vitro-oci for an ordinary user)

Example: mkdir -p b/rootfs/bin; cp /bin/busybox b/rootfs/bin/sh
         cd b; vitro-oci spec; vitro-oci run demo
`

// commands is the table of commands.
var commands = [...]struct {
	name string
	run  func(*invocation) (int, error)
}{
	{"run", runContainer},
	{"spec", writeSpec},
}

// invocation is a command line, taken apart.
type invocation struct {
	args    []string
	options map[string]string
	stdout  io.Writer
}

func main() {
	if filepath.Base(os.Args[0]) == initName {
		os.Exit(initMain(os.Args[1:]))
	}
	code, err := command(os.Args[1:], os.Stdout)
	if err != nil {
		run.Report(os.Stderr, "vitro-oci", err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

// options are the flags, with whether they take a value. The global ones come first.
var options = [...]struct {
	name  string
	value bool
	of    string
}{
	{"root", true, ""},
	{"bundle", true, "run spec"},
	{"pid-file", true, "run"},
	{"preserve-fds", true, "run"},
	{"rootless", false, "spec"},
}

func command(args []string, stdout io.Writer) (int, error) {
	inv := &invocation{options: make(map[string]string), stdout: stdout}
	name := ""
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--help" || arg == "-h":
			_, err := io.WriteString(stdout, usage)
			return 0, err
		case arg == "--version" || arg == "-v":
			_, err := io.WriteString(stdout, version)
			return 0, err
		case arg == "--":
			inv.args = append(inv.args, args...)
			args = nil
		case strings.HasPrefix(arg, "-") && arg != "-":
			var err error
			if args, err = inv.option(name, arg, args); err != nil {
				return 1, err
			}
		case name == "":
			name = arg
		default:
			inv.args = append(inv.args, arg)
		}
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(inv)
		}
	}
	if name == "" {
		_, err := io.WriteString(stdout, usage)
		return 1, err
	}
	return 1, fmt.Errorf("run command %q: there is none of this name; see vitro-oci --help", name)
}

// option reads one flag: --name, --name=value, --name value, -name.
func (inv *invocation) option(command, arg string, rest []string) ([]string, error) {
	key, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if key == "b" {
		key = "bundle"
	}
	for _, o := range options {
		if o.name != key || o.of != "" && !strings.Contains(o.of, command) || (o.of == "") != (command == "") {
			continue
		}
		if o.value && !given {
			if len(rest) == 0 {
				return nil, fmt.Errorf("read option %s: it needs a value", arg)
			}
			value, rest = rest[0], rest[1:]
		}
		inv.options[key] = value
		return rest, nil
	}
	return nil, fmt.Errorf("read option %s: vitro-oci %s has none of this name; see vitro-oci --help", arg, command)
}
