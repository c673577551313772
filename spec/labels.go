// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/host"
	"vitro/plan"
)

// NoModuleError is a property that needs a security module which is not in
// force on this machine.
type NoModuleError struct{ Property, Module string }

func (e *NoModuleError) Error() string {
	return fmt.Sprintf("compile config.json: %s: %s is not enabled on this machine", e.Property, e.Module)
}

// Hint says how to go without, or how to get it.
func (e *NoModuleError) Hint() string {
	return fmt.Sprintf("leave the property out, or boot with lsm=…,%s (cat /sys/kernel/security/lsm shows what is in force)", strings.ToLower(e.Module))
}

// unconfined is AppArmor's name for no profile: what a process has anyway where
// there is no AppArmor.
const unconfined = "unconfined"

// checkLabels refuses what no security module of this machine can give.
func (c *compiler) checkLabels() error {
	p := c.proc
	for _, l := range [...]struct{ property, value string }{
		{"process.apparmorProfile", p.ApparmorProfile}, {"process.selinuxLabel", p.SelinuxLabel}, {"linux.mountLabel", c.linux.MountLabel},
	} {
		if strings.ContainsAny(l.value, "\x00\n") {
			return fmt.Errorf("compile config.json: %s: %q holds a NUL byte or a line break", l.property, l.value)
		}
	}
	switch {
	case p.ApparmorProfile != "" && p.ApparmorProfile != unconfined && !c.Facts.AppArmor:
		return &NoModuleError{"process.apparmorProfile", "AppArmor"}
	case p.SelinuxLabel != "" && !c.Facts.SELinux:
		return &NoModuleError{"process.selinuxLabel", "SELinux"}
	case c.inside == nil && c.linux.MountLabel != "" && !c.Facts.SELinux:
		return &NoModuleError{"linux.mountLabel", "SELinux"}
	}
	return nil
}

// openProc opens /proc for the child, if one of its steps needs it.
func (c *compiler) openProc() error {
	if err := c.checkLabels(); err != nil {
		return err
	}
	if c.profile() != "" || c.proc.SelinuxLabel != "" || c.inside == nil && len(c.linux.TimeOffsets) > 0 {
		c.plan.Add("the host's /proc: what is written there decides over the process, and no other file may stand in for it", &host.OpenProc{})
	}
	return nil
}

// profile is the AppArmor profile to enter; empty for none.
func (c *compiler) profile() string {
	if !c.Facts.AppArmor {
		return ""
	}
	return c.proc.ApparmorProfile
}

// keyLabel has the keys that the process makes carry its label.
func (c *compiler) keyLabel() {
	if l := c.proc.SelinuxLabel; l != "" {
		c.plan.Add("the label of its keyring: process.selinuxLabel", &plan.Label{File: "attr/keycreate", Value: l})
	}
}

// labels says what the process is to be for the security modules from its exec on.
func (c *compiler) labels() {
	if p := c.profile(); p != "" {
		file := "attr/exec"
		if c.Facts.AppArmorAttr {
			file = "attr/apparmor/exec"
		}
		c.plan.Add("what AppArmor lets it do: process.apparmorProfile", &plan.Label{File: file, Value: "exec " + p, Option: []string{"--apparmor-profile", p}})
	}
	if l := c.proc.SelinuxLabel; l != "" {
		c.plan.Add("what SELinux lets it do: process.selinuxLabel", &plan.Label{File: "attr/exec", Value: l, Option: []string{"--selinux-label", l}})
	}
}

// unlabelled are the file systems that have labels of their own, by the policy.
var unlabelled = [...]string{"proc", "sysfs", "mqueue", "cgroup", "cgroup2"}

// labelled are a mount's file system options, with linux.mountLabel.
func (c *compiler) labelled(m *aMount) []string {
	has := slices.ContainsFunc(m.opt.fs, func(o string) bool { return strings.HasPrefix(o, "context=") })
	if c.linux.MountLabel == "" || has || slices.Contains(unlabelled[:], m.Type) {
		return m.opt.fs
	}
	return append(slices.Clone(m.opt.fs), "context="+c.linux.MountLabel)
}

// clocks are those that a time namespace has (time_namespaces(7)).
var clocks = [...]string{"boottime", "monotonic"}

// clocks moves the child into its time namespace, if that has offsets.
func (c *compiler) clocks() error {
	offsets, err := c.timeOffsets()
	if err != nil || offsets == "" {
		return err
	}
	c.plan.Add("clocks of its own, that it isn't in yet", &plan.Unshare{Flags: unix.CLONE_NEWTIME})
	c.plan.Meet("how far they are ahead of the host's: linux.timeOffsets", &host.Write{Path: "/proc/$PID/timens_offsets", Value: offsets})
	c.plan.Add("and now it is: they are set", &plan.EnterTime{})
	return nil
}

// timeOffsets reads linux.timeOffsets, into what the kernel's file takes.
func (c *compiler) timeOffsets() (string, error) {
	if len(c.linux.TimeOffsets) == 0 {
		return "", nil
	}
	if !c.ns.new(unix.CLONE_NEWTIME) {
		return "", fmt.Errorf("compile config.json: linux.timeOffsets: without a new time namespace there is nothing to set")
	}
	var text strings.Builder
	known := 0
	for _, clock := range clocks {
		if o, ok := c.linux.TimeOffsets[clock]; ok {
			if o.Nanosecs >= 1e9 {
				return "", fmt.Errorf("compile config.json: linux.timeOffsets: %s: %d nanoseconds are a second or more", clock, o.Nanosecs)
			}
			fmt.Fprintf(&text, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
			known++
		}
	}
	if known < len(c.linux.TimeOffsets) {
		for name := range c.linux.TimeOffsets {
			if !slices.Contains(clocks[:], name) {
				return "", fmt.Errorf("compile config.json: linux.timeOffsets: a time namespace has no clock %q, only monotonic and boottime", name)
			}
		}
	}
	return text.String(), nil
}
