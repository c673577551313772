// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/internal/ocijson"
	"vitro/monitor"
	"vitro/network"
)

const never = "0001-01-01T00:00:00Z"

// Inspect says all that is known about a container; size has it counted how
// much it has written.
func (e *Engine) Inspect(name string, size bool) (*Inspection, error) {
	i, err := e.Info(name)
	if err != nil {
		return nil, err
	}
	s, err := e.configOf(i)
	if err != nil {
		return nil, err
	}
	r := &Inspection{
		ID: i.ID, Created: i.Created.UTC().Format(time.RFC3339Nano), Args: []string{}, Image: string(i.ImageID),
		ResolvConfPath: filepath.Join(i.Dir, "resolv.conf"), HostnamePath: filepath.Join(i.Dir, "hostname"), HostsPath: filepath.Join(i.Dir, "hosts"),
		Name: "/" + i.Name, Driver: "overlay2", Platform: runtime.GOOS,
	}
	if d := i.Record.Flags.LogDriver; d == "" || strings.HasSuffix(d, "-file") {
		r.LogPath = filepath.Join(i.Dir, monitor.LogFile)
	}
	if args := s.Process.Args; len(args) > 0 {
		r.Path, r.Args = args[0], args[1:]
	}
	r.State = i.inspectState()
	if i.Last != nil {
		r.RestartCount = i.Last.Restarts
	}
	r.GraphDriver = i.inspectDriver()
	r.Mounts = inspectMounts(i.Mounts)
	r.HostConfig = i.inspectHostConfig(s)
	r.Config = i.inspectConfig(s)
	r.NetworkSettings = i.inspectNetwork()
	if size {
		rw, all := e.Sizes(&i.Card)
		r.SizeRw, r.SizeRootFs = &rw, &all
	}
	return r, nil
}

// configOf is the config.json of a container's last start; of one that was
// never started, what it would be now.
func (e *Engine) configOf(i *Info) (*specs.Spec, error) {
	data, err := os.ReadFile(filepath.Join(i.Dir, "config.json"))
	if err == nil {
		return ocijson.DecodeSpec(data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p, err := e.prepare(context.Background(), i.Record, [2]uint16{}, onlyLook)
	if err != nil { // something that it needs is gone: the rest can still be shown
		return &specs.Spec{Process: &specs.Process{Args: i.Command}, Root: &specs.Root{}, Linux: &specs.Linux{}}, nil
	}
	return p.Spec, nil
}

func (i *Info) inspectState() InspectedState {
	s := InspectedState{
		Status: string(i.Status), Running: i.Status == Running || i.Status == Paused, Paused: i.Status == Paused,
		Restarting: i.Status == Restarting, StartedAt: never, FinishedAt: never, MonitorPid: i.Beside,
	}
	if x := i.Last; x != nil {
		s.ExitCode, s.OOMKilled, s.Error, s.FinishedAt = x.Code, x.OOM, x.Error, x.Finished.UTC().Format(time.RFC3339Nano)
		if !x.Started.IsZero() {
			s.StartedAt = x.Started.UTC().Format(time.RFC3339Nano)
		} else if i.Status == Created {
			s.FinishedAt = never
		}
	}
	if i.Pid != 0 {
		s.Pid, s.ExitCode, s.OOMKilled, s.Error = i.Pid, 0, false, ""
		s.StartedAt = i.Began.UTC().Format(time.RFC3339Nano)
	}
	if h := i.Health; h != nil {
		s.Health = &InspectedHealth{Status: h.Status, FailingStreak: h.Failing, Log: []InspectedCheck{}}
		for _, c := range h.Log {
			s.Health.Log = append(s.Health.Log, InspectedCheck{Start: c.Start, End: c.End, ExitCode: c.Code, Output: c.Output})
		}
	}
	return s
}

// inspectDriver has the layers with the highest first, as mount(8) takes them.
func (i *Info) inspectDriver() InspectedDriver {
	d := InspectedDriver{Name: "overlay2", Data: map[string]string{}}
	if i.Record.Flags.Rootfs {
		d.Name = "rootfs"
		d.Data["MergedDir"] = strings.TrimSuffix(i.Record.Flags.Image, ":O")
		return d
	}
	lower := slices.Clone(i.Record.Layers)
	slices.Reverse(lower)
	d.Data["LowerDir"] = strings.Join(lower, ":")
	d.Data["UpperDir"], d.Data["WorkDir"] = filepath.Join(i.Dir, "upper"), filepath.Join(i.Dir, "work")
	d.Data["MergedDir"] = filepath.Join(i.Dir, "rootfs")
	if i.Pid != 0 { // mounted in the container's own namespace only
		d.Data["MergedDir"] = "/proc/" + itoa(i.Pid) + "/root"
	}
	return d
}

// inspectMounts are those that were asked for.
func inspectMounts(ms []Mount) []InspectedMount {
	list := []InspectedMount{}
	for _, m := range ms {
		if m.Type == kindVolume {
			m.Propagation = "" // Docker tells it of binds only
		}
		list = append(list, InspectedMount{m.Type, m.Name, m.Source, m.Destination, m.Driver, m.Mode, m.RW, m.Propagation})
	}
	return list
}

func (i *Info) inspectConfig(s *specs.Spec) InspectedConfig {
	f := &i.Record.Flags
	c := InspectedConfig{
		Hostname: s.Hostname, Domainname: f.Domainname, User: or(f.User, i.Record.Config.User), AttachStdin: f.Interactive && !f.OpenInput,
		AttachStdout: true, AttachStderr: true, Tty: f.Terminal, OpenStdin: f.Interactive, StdinOnce: f.Interactive && !f.OpenInput,
		Env: s.Process.Env, Image: f.Image, WorkingDir: or(f.Workdir, i.Record.Config.WorkingDir), Labels: i.Labels,
		StopSignal: or(f.StopSignal, i.Record.Config.StopSignal), StopTimeout: f.StopTimeout, ExposedPorts: i.Record.Config.ExposedPorts, Volumes: i.Record.Config.Volumes,
		Cmd: f.Command, Entrypoint: i.Record.Config.Entrypoint,
	}
	if len(f.Command) == 0 && !f.EntrypointSet {
		c.Cmd = i.Record.Config.Cmd
	}
	if f.EntrypointSet {
		if c.Entrypoint = nil; f.Entrypoint != "" {
			c.Entrypoint = []string{f.Entrypoint}
		}
	}
	if h, err := readHealth(i.Record); err == nil && len(h.Command) > 0 {
		c.Healthcheck = &InspectedHealthcheck{Test: append([]string{"CMD"}, h.Command...), Interval: h.Interval, Timeout: h.Timeout,
			StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return c
}

func (i *Info) inspectHostConfig(s *specs.Spec) InspectedHostConfig {
	f := &i.Record.Flags
	h := InspectedHostConfig{
		Binds: f.Volumes, NetworkMode: or(f.Network, "default"), AutoRemove: f.Rm, CapAdd: f.CapAdd, CapDrop: f.CapDrop,
		PortBindings: portBindings(f.Publish), PublishAllPorts: f.PublishAll, CgroupnsMode: or(f.Cgroupns, "private"), Dns: f.DNS, DnsOptions: f.DNSOption, DnsSearch: f.DNSSearch, ExtraHosts: f.AddHost, GroupAdd: f.GroupAdd,
		IpcMode: or(f.IPC, "private"), OomScoreAdj: f.OOMScoreAdj, PidMode: f.PID, Privileged: f.Privileged, ReadonlyRootfs: f.ReadOnly,
		SecurityOpt: f.SecurityOpt, UTSMode: f.UTS, UsernsMode: f.Userns, ShmSize: 64 << 20, Sysctls: f.Sysctl, Runtime: "vitro", CpuShares: f.CPUShares,
		CgroupParent: f.CgroupParent, BlkioWeight: f.BlkioWeight, CpuPeriod: f.CPUPeriod, CpuQuota: f.CPUQuota, CpusetCpus: f.CpusetCPUs,
		CpusetMems: f.CpusetMems, Annotations: f.Annotations, Ulimits: []InspectedUlimit{}, MaskedPaths: s.Linux.MaskedPaths, ReadonlyPaths: s.Linux.ReadonlyPaths,
	}
	h.VolumeDriver, h.Links, h.DeviceCgroupRules, h.MemorySwappiness, h.OomKillDisable = f.VolumeDriver, f.Link, f.DeviceRules, f.Swappiness, f.NoOOMKill
	h.CpuRealtimePeriod, h.CpuRealtimeRuntime, h.BlkioWeightDevice = f.RealtimePeriod, f.RealtimeRuntime, []InspectedThrottle{}
	h.devices(f)
	h.LogConfig.Type, h.LogConfig.Config = or(f.LogDriver, logDrivers[0]), f.LogOpts
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
	if p, err := parsePolicy(f.Restart); err == nil {
		h.RestartPolicy.Name, h.RestartPolicy.MaximumRetryCount = p.Name, p.Max
	}
	if n, err := size("shm-size", f.ShmSize); err == nil {
		h.ShmSize = n
	}
	if f.Init {
		h.Init = &f.Init
	}
	for _, t := range f.Tmpfs {
		target, options, _ := strings.Cut(t, ":")
		if h.Tmpfs == nil {
			h.Tmpfs = map[string]string{}
		}
		h.Tmpfs[target] = options
	}
	for _, l := range s.Process.Rlimits {
		h.Ulimits = append(h.Ulimits, InspectedUlimit{strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_")), l.Hard, l.Soft})
	}
	if r := s.Linux.Resources; r != nil {
		h.limits(f, r)
	}
	return h
}

// devices are those that the flags name. What can't be read has been refused before.
func (h *InspectedHostConfig) devices(f *Flags) {
	h.Devices = []InspectedDevice{}
	for _, text := range f.Devices {
		src, dst, access, _ := splitDevice(text)
		h.Devices = append(h.Devices, InspectedDevice{src, dst, access})
	}
	for _, t := range []struct {
		to     *[]InspectedThrottle
		values []string
		bytes  bool
	}{{&h.BlkioDeviceReadBps, f.ReadBps, true}, {&h.BlkioDeviceWriteBps, f.WriteBps, true}, {&h.BlkioDeviceReadIOps, f.ReadIOps, false}, {&h.BlkioDeviceWriteIOps, f.WriteIOps, false}} {
		*t.to = []InspectedThrottle{}
		for _, text := range t.values {
			path, rate, _ := splitThrottle("", text, t.bytes)
			*t.to = append(*t.to, InspectedThrottle{path, rate})
		}
	}
}

// portBindings are the ports as they were asked for: the host's is empty where
// any will do. What can't be read has been refused before.
func portBindings(publish []string) map[string][]InspectedBinding {
	m := map[string][]InspectedBinding{}
	for _, text := range publish {
		wishes, _ := network.ParsePorts(text)
		for _, w := range wishes {
			var b InspectedBinding
			if w.Host.IsValid() {
				b.HostIp = w.Host.String()
			}
			switch {
			case w.Low != w.High:
				b.HostPort = itoa(int(w.Low)) + "-" + itoa(int(w.High))
			case w.Low != 0:
				b.HostPort = itoa(int(w.Low))
			}
			key := itoa(int(w.Container)) + "/" + w.Proto
			m[key] = append(m[key], b)
		}
	}
	return m
}

func (h *InspectedHostConfig) limits(f *Flags, r *specs.LinuxResources) {
	d := &draft{Flags: f}
	now := &specs.LinuxResources{} // after the last update
	if d.memory(now) != nil || d.cpu(now) != nil {
		now = r
	}
	if m := now.Memory; m != nil {
		h.Memory, h.MemoryReservation, h.MemorySwap = value(m.Limit), value(m.Reservation), value(m.Swap)
	}
	if c := now.CPU; c != nil && f.CPUs != "" {
		h.NanoCpus = value(c.Quota) * 1e9 / int64(cpuPeriod)
	}
	if f.PidsLimit != 0 {
		h.PidsLimit = &f.PidsLimit
	}
}

func (i *Info) inspectNetwork() InspectedNetwork {
	n := InspectedNetwork{Ports: map[string][]InspectedBinding{}, Networks: map[string]InspectedEndpoint{}}
	for _, e := range i.Networks.Endpoints {
		v := InspectedEndpoint{Aliases: e.Aliases, MacAddress: e.MAC, NetworkID: e.NetworkID}
		if e.DNS {
			v.DNSNames = slices.Concat([]string{i.Name, i.ID[:12]}, e.Aliases)
		}
		if i.Pid != 0 { // a container that doesn't run has no addresses
			v.EndpointID = e.ID(i.ID)
			v.Gateway, v.IPAddress, v.IPPrefixLen = addressParts(e.Gateway, e.Address)
			v.IPv6Gateway, v.GlobalIPv6Address, v.GlobalIPv6PrefixLen = addressParts(e.Gateway6, e.Address6)
		}
		n.Networks[e.Network] = v
		if e.Network == network.Default {
			n.EndpointID, n.Gateway, n.IPAddress, n.IPPrefixLen, n.MacAddress = v.EndpointID, v.Gateway, v.IPAddress, v.IPPrefixLen, v.MacAddress
			n.IPv6Gateway, n.GlobalIPv6Address, n.GlobalIPv6PrefixLen = v.IPv6Gateway, v.GlobalIPv6Address, v.GlobalIPv6PrefixLen
		}
	}
	for _, name := range i.Meant {
		n.Networks[name] = InspectedEndpoint{}
	}
	if i.Pid == 0 {
		return n
	}
	n.SandboxKey = "/proc/" + itoa(i.Pid) + "/ns/net"
	for _, exposed := range i.Networks.Exposed {
		n.Ports[exposed] = nil
	}
	for _, p := range i.Networks.Published() {
		key := itoa(int(p.Container)) + "/" + p.Proto
		n.Ports[key] = append(n.Ports[key], InspectedBinding{p.Host.String(), itoa(int(p.HostPort))})
	}
	return n
}

// addressParts are empty where there is no such address.
func addressParts(gateway netip.Addr, address netip.Prefix) (gw, ip string, bits int) {
	if gateway.IsValid() {
		gw = gateway.String()
	}
	if address.IsValid() {
		ip, bits = address.Addr().String(), address.Bits()
	}
	return gw, ip, bits
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func itoa(n int) string { return strconv.Itoa(n) }
