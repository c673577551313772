// SPDX-License-Identifier: Apache-2.0

// Package unit writes units of systemd for containers: pure functions of what
// is known of one.
//
//	Service  vitro starts and stops a container that is there already
//	Quadlet  a .container file, from which Podman's generator makes a unit that makes the container (podman-systemd.unit(5))
package unit

import (
	"fmt"
	"strings"
	"time"
)

// A Container is what a unit needs to know of one.
type Container struct {
	Name    string
	Dir     string        // its folder
	Vitro   []string      // how vitro is called for its store: path and flags
	Stop    time.Duration // how long it is given to end
	User    bool          // an ordinary user's: for systemctl --user
	Restart string        // systemd's policy: "no", "on-failure", "always" and so on
	After   []string      // units to be started before
}

// Policies are the values of Restart (systemd.service(5)).
var Policies = [...]string{"no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"}

// margin is how long vitro itself may take when it stops a container.
const margin = 30 * time.Second

// Service is a unit that starts the container and stops it. Its main process
// is the one beside the container, whose PID is in the file monitor of the
// container's folder as long as it holds that file; it is the same one when the container is restarted by its own
// policy. systemd removes a PID file when the service has ended: so it is given a link, and not the lock itself, which
// another process may hold by then.
func Service(c Container) string {
	vitro := command(c.Vitro...)
	target := "multi-user.target"
	after := append([]string{"network-online.target"}, c.After...)
	if c.User { // a user's systemd doesn't know the system's units
		target, after = "default.target", c.After
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# vitro-%s.service: made by vitro generate systemd", c.Name)
	line("[Unit]")
	line("Description=Container %s", specifiers(c.Name))
	line("Documentation=man:vitro-generate-systemd(1)")
	if len(after) > 0 {
		line("Wants=%s", strings.Join(after, " "))
		line("After=%s", strings.Join(after, " "))
	}
	line("RequiresMountsFor=%s", quote(c.Dir))
	line("")
	line("[Service]")
	line("Type=forking")
	line("PIDFile=%s", specifiers(c.Dir+"/pid"))
	line("ExecStartPre=/bin/ln -sfn monitor %s", command(c.Dir+"/pid"))
	line("ExecStart=%s start %s", vitro, command(c.Name))
	line("ExecStop=%s stop -t %d %s", vitro, int(c.Stop.Seconds()), command(c.Name))
	line("TimeoutStopSec=%d", int((c.Stop + margin).Seconds()))
	line("Restart=%s", c.Restart)
	line("KillMode=mixed")
	line("Delegate=yes")
	line("")
	line("[Install]")
	line("WantedBy=%s", target)
	return b.String()
}

// command is the words of a command line (systemd.service(5), Command lines).
func command(words ...string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strings.ReplaceAll(quote(w), "$", "$$")
	}
	return strings.Join(list, " ")
}

// quote is a value that is one word, without specifiers (systemd.syntax(7)).
func quote(s string) string {
	s = specifiers(s)
	if s != "" && !strings.ContainsAny(s, " \t\n\r\"'\\;#") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

// specifiers has systemd take a per cent sign for one.
func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }
