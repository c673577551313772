// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"vitro/internal/ocijson"
	"vitro/plan"
	"vitro/seccomp"
	"vitro/spec"
)

// systemdDriver: this program asks systemd for a container's cgroup, if it is
// told to.
const systemdDriver = true

// showFeatures says what this program can do (features.md of the runtime
// specification): it doesn't depend on the machine.
//
// Who reads it: containerd's CRI, for pods with user namespaces
// (mountExtensions.idmap) and recursive read-only mounts (rro in mountOptions);
// Docker, for the latter, and to show it in `docker info --format json`.
func showFeatures(inv *invocation) (int, error) {
	if len(inv.args) > 0 {
		return 1, errors.New("show features: want no arguments")
	}
	_, err := inv.stdout.Write(append(ocijson.Indent(nil, ocijson.AppendFeatures(nil, theFeatures())), '\n'))
	return 0, err
}

func theFeatures() *features.Features {
	words, filter := spec.Known(), seccomp.Known()
	yes := func(b bool) *bool { return &b }
	f := &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  words.MountOptions,
		Linux: &features.Linux{
			Namespaces:   words.Namespaces,
			Capabilities: plan.AllCaps.Names(),
			Cgroup:       &features.Cgroup{V1: yes(true), V2: yes(true), Systemd: yes(systemdDriver), SystemdUser: yes(systemdDriver), Rdma: yes(true)},
			Seccomp: &features.Seccomp{
				Enabled: yes(true), Actions: filter.Actions, Operators: filter.Operators, Archs: filter.Archs,
				KnownFlags: filter.Flags, SupportedFlags: filter.Flags,
			},
			Apparmor:        &features.Apparmor{Enabled: yes(true)},
			Selinux:         &features.Selinux{Enabled: yes(true)},
			IntelRdt:        &features.IntelRdt{Enabled: yes(true), Schemata: yes(true), Monitoring: yes(true)},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: yes(true)}},
			MemoryPolicy:    &features.MemoryPolicy{Modes: words.MemoryModes, Flags: words.MemoryFlags},
			NetDevices:      &features.NetDevices{Enabled: yes(true)},
		},
		// the second is the name that engines know for it, whoever the runtime is
		Annotations: map[string]string{"vitro.version": strings.Fields(version)[2], "org.opencontainers.runc.checkpoint.enabled": "true"},
	}
	if systemdDriver {
		f.PotentiallyUnsafeConfigAnnotations = []string{"org.systemd.property."} // for systemd to read
	}
	return f
}
