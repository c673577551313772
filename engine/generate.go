// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"vitro/format"
	"vitro/image"
	"vitro/internal/outside"
	"vitro/unit"
)

// Service is a unit of systemd that starts and stops a container by vitro,
// which is called by the given path. restart is systemd's policy; "" is none,
// since a container's own is looked after by the process beside it.
func (e *Engine) Service(i *Info, vitro, restart string, after []string) (string, error) {
	switch {
	case restart == "":
		restart = "no"
	case !slices.Contains(unit.Policies[:], restart):
		return "", hint(fmt.Errorf("read --restart-policy=%s: no such policy of systemd", restart), "the policies are %s", strings.Join(unit.Policies[:], ", "))
	case restart != "no" && i.Record.Flags.Restart != "" && i.Record.Flags.Restart != "no":
		return "", hint(fmt.Errorf("make unit of container %q: both systemd and the container would restart it", i.Name),
			"vitro update --restart=no %s, or leave --restart-policy away", i.Name)
	case i.Record.Flags.Rm:
		return "", hint(fmt.Errorf("make unit of container %q: it is removed at its end", i.Name), "make it without --rm")
	}
	call := []string{vitro}
	if dir, err := outside.Folder(); err != nil || dir != e.Dir {
		call = append(call, "--root", e.Dir)
	}
	stop := 10 * time.Second
	if i.Record.Flags.StopTimeout != nil {
		stop = time.Duration(*i.Record.Flags.StopTimeout) * time.Second
	}
	return unit.Service(unit.Container{
		Name: i.Name, Dir: i.Dir, Vitro: call, Stop: stop, User: e.uid != 0, Restart: restart, After: after,
	}), nil
}

// Quadlet is a .container file for Podman that makes a container as this one was asked to be.
func Quadlet(r *Record, user bool) (string, error) {
	f := &r.Flags
	for _, no := range [...]struct {
		flag  string
		given bool
	}{
		{"--time", f.Time != ""}, {"--domainname", f.Domainname != ""}, {"--health-start-interval", f.HealthStartInterval != 0},
		{"--rootfs", f.Rootfs}, {"--link", len(f.Link) > 0}, {"--rootfs-size", f.RootfsSize != ""}, {"--volume-driver", f.VolumeDriver != "" && f.VolumeDriver != "local"},
	} {
		if no.given {
			return "", hint(fmt.Errorf("make quadlet of container %q: Podman's files have no %s", r.Name, no.flag), "make the container without it, or take vitro generate systemd")
		}
	}
	q := unit.Request{Name: r.Name, Command: f.Command, Restart: systemdPolicy(f.Restart), Target: "multi-user.target"}
	if user {
		q.Target = "default.target"
	}
	q.Keys = quadletKeys(f)
	q.Args = podmanArgs(f)
	return unit.Quadlet(q), nil
}

// systemdPolicy is what comes next to one of Docker's restart policies.
func systemdPolicy(docker string) string {
	switch name, _, _ := strings.Cut(docker, ":"); name {
	case "always", "unless-stopped":
		return "always"
	case "on-failure":
		return "on-failure"
	}
	return "no"
}

// quadletKeys are the flags that podman-systemd.unit(5) has keys for.
func quadletKeys(f *Flags) []unit.Key {
	var keys []unit.Key
	text := func(name string, values ...string) {
		for _, v := range values {
			keys = append(keys, unit.Key{Name: name, Value: v})
		}
	}
	words := func(name string, values ...string) {
		for _, v := range values {
			keys = append(keys, unit.Key{Name: name, Value: v, Words: true})
		}
	}
	name := f.Image
	if ref, err := image.ParseReference(name); err == nil { // Podman may look for short names elsewhere
		name = ref.String()
	}
	text("Image", name)
	text("HostName", f.Hostname)
	text("User", f.User)
	text("WorkingDir", f.Workdir)
	if f.Unplugged {
		text("Network", "none")
	}
	text("Network", append([]string{f.Network}, f.Networks...)...)
	text("NetworkAlias", f.NetworkAlias...)
	text("IP", f.IP)
	text("IP6", f.IP6)
	text("PublishPort", f.Publish...)
	text("ExposeHostPort", f.Expose...)
	words("Environment", f.Env...)
	words("Label", format.Pairs(f.Labels)...)
	words("Annotation", format.Pairs(f.Annotations)...)
	text("Volume", f.Volumes...)
	text("Mount", f.Mounts...)
	text("Tmpfs", f.Tmpfs...)
	text("AddDevice", f.Devices...)
	text("DNS", f.DNS...)
	text("DNSSearch", f.DNSSearch...)
	text("DNSOption", f.DNSOption...)
	text("AddHost", f.AddHost...)
	text("AddCapability", f.CapAdd...)
	text("DropCapability", f.CapDrop...)
	text("Ulimit", f.Ulimits...)
	text("GroupAdd", f.GroupAdd...)
	text("Sysctl", format.Pairs(f.Sysctl)...)
	text("ReadOnly", set(f.ReadOnly))
	text("RunInit", set(f.Init))
	if f.HealthCmd != nil {
		text("HealthCmd", *f.HealthCmd)
	}
	text("HealthInterval", span(f.HealthInterval))
	text("HealthTimeout", span(f.HealthTimeout))
	text("HealthStartPeriod", span(f.HealthStartPeriod))
	text("HealthRetries", number(int64(f.HealthRetries)))
	text("HealthOnFailure", f.HealthOnFailure)
	text("PidsLimit", number(f.PidsLimit))
	text("ShmSize", f.ShmSize)
	text("UserNS", f.Userns)
	text("LogDriver", f.LogDriver)
	text("StopSignal", f.StopSignal)
	if f.StopTimeout != nil {
		text("StopTimeout", strconv.Itoa(*f.StopTimeout))
	}
	return keys
}

// podmanArgs are the flags that have no keys, as podman run has them.
func podmanArgs(f *Flags) []string {
	var args []string
	flag := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				args = append(args, "--"+name+"="+v)
			}
		}
	}
	flag("mac-address", f.MAC)
	flag("publish-all", set(f.PublishAll))
	if f.EntrypointSet {
		args = append(args, "--entrypoint="+f.Entrypoint)
	}
	flag("interactive", set(f.Interactive))
	flag("tty", set(f.Terminal))
	flag("privileged", set(f.Privileged))
	flag("no-healthcheck", set(f.NoHealthcheck))
	if f.Timeout > 0 {
		flag("timeout", number(int64(f.Timeout.Seconds())))
	}
	flag("volumes-from", f.VolumesFrom...)
	flag("storage-opt", f.StorageOpt...)
	for _, k := range slices.Sorted(maps.Keys(f.LogOpts)) {
		flag("log-opt", k+"="+f.LogOpts[k])
	}
	flag("memory", f.Memory)
	flag("memory-swap", f.MemorySwap)
	flag("memory-reservation", f.MemoryReservation)
	flag("cpus", f.CPUs)
	flag("cpu-shares", number(int64(f.CPUShares)))
	flag("cpu-period", number(int64(f.CPUPeriod)))
	flag("cpu-quota", number(f.CPUQuota))
	flag("cpuset-cpus", f.CpusetCPUs)
	flag("cpuset-mems", f.CpusetMems)
	flag("blkio-weight", number(int64(f.BlkioWeight)))
	flag("device-read-bps", f.ReadBps...)
	flag("device-write-bps", f.WriteBps...)
	flag("device-read-iops", f.ReadIOps...)
	flag("device-write-iops", f.WriteIOps...)
	flag("cgroup-parent", f.CgroupParent)
	flag("oom-score-adj", number(int64(f.OOMScoreAdj)))
	flag("umask", f.Umask)
	flag("tz", f.TZ)
	flag("device-cgroup-rule", f.DeviceRules...)
	flag("cpu-rt-period", number(int64(f.RealtimePeriod)))
	flag("cpu-rt-runtime", number(f.RealtimeRuntime))
	if f.Swappiness != nil {
		flag("memory-swappiness", strconv.Itoa(*f.Swappiness))
	}
	if f.NoOOMKill {
		flag("oom-kill-disable", "true")
	}
	flag("security-opt", f.SecurityOpt...)
	flag("pid", f.PID)
	flag("ipc", f.IPC)
	flag("uts", f.UTS)
	flag("cgroupns", f.Cgroupns)
	return args
}

func set(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
