// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/engine"
	"vitro/monitor"
)

// runFlags declares what `run` and `explain run` have in common. The words are Docker's.
func runFlags(fl *pflag.FlagSet, f *engine.Flags) {
	fl.SetInterspersed(false) // what stands behind the image is the command's
	// identity
	fl.StringVar(&f.Name, "name", "", "a name for the container")
	fl.BoolVarP(&f.Interactive, "interactive", "i", false, "pass standard input on")
	fl.BoolVarP(&f.Terminal, "tty", "t", false, "give the container a terminal")
	fl.BoolVar(&f.Rm, "rm", false, "remove the container at its end")
	fl.StringArrayVarP(&f.Env, "env", "e", nil, "set an environment variable: NAME=VALUE, or NAME for the host's")
	fl.StringArrayVar(&f.EnvFiles, "env-file", nil, "read environment variables from a file")
	fl.StringVarP(&f.Workdir, "workdir", "w", "", "the command's working directory")
	fl.StringVarP(&f.User, "user", "u", "", "the command's user: NAME|UID[:GROUP|GID]")
	fl.StringArrayVar(&f.GroupAdd, "group-add", nil, "a further group of the command's user")
	fl.StringVarP(&f.Hostname, "hostname", "h", "", "the container's name for itself")
	fl.StringVar(&f.Domainname, "domainname", "", "the container's NIS domain name")
	fl.StringVar(&f.Entrypoint, "entrypoint", "", "the program that the command is passed to, in place of the image's")
	fl.BoolVar(&f.Init, "init", false, "run an init as PID 1 that passes signals on and reaps processes")
	fl.StringVar(&f.CIDFile, "cidfile", "", "write the container's ID to a file")
	fl.StringVar(&f.Umask, "umask", "", "the command's umask, octal (default 0022)")
	fl.StringVar(&f.TZ, "tz", "", "the time zone of its environment")
	fl.StringVar(&f.Pull, "pull", "", "missing or never: images come from archives as yet")
	fl.StringVar(&f.Platform, "platform", "", "refuse to run where this is not the machine's: linux/amd64")
	fl.StringVar(&f.Runtime, "runtime", "", "vitro: it makes its containers itself")
	fl.BoolP("quiet", "q", false, "say nothing of pulling, which there is not")
	fileFlags(fl, f)
	// limits
	limitFlags(fl, f)
	fl.StringArrayVar(&f.ReadBps, "device-read-bps", nil, "limit of reading from a device: PATH:1mb")
	fl.StringArrayVar(&f.WriteBps, "device-write-bps", nil, "limit of writing to a device: PATH:1mb")
	fl.StringArrayVar(&f.ReadIOps, "device-read-iops", nil, "limit of reads from a device: PATH:100")
	fl.StringArrayVar(&f.WriteIOps, "device-write-iops", nil, "limit of writes to a device: PATH:100")
	fl.Var(optionalIntValue{&f.Swappiness}, "memory-swappiness", "how readily memory is swapped out, 0 to 100 (cgroup v1)")
	fl.BoolVar(&f.NoOOMKill, "oom-kill-disable", false, "processes wait when memory runs out, and are not killed (cgroup v1)")
	fl.Uint64Var(&f.RealtimePeriod, "cpu-rt-period", 0, "period of --cpu-rt-runtime, in microseconds (cgroup v1)")
	fl.Int64Var(&f.RealtimeRuntime, "cpu-rt-runtime", 0, "microseconds of realtime processor time in each period (cgroup v1)")
	fl.StringArrayVar(&f.DeviceRules, "device-cgroup-rule", nil, "allow devices by number: \"c 10:200 rwm\"")
	fl.StringArrayVar(&f.Ulimits, "ulimit", nil, "limit for each process: NAME=SOFT[:HARD]")
	fl.StringVar(&f.CgroupParent, "cgroup-parent", "", "the cgroup that the container's is made in")
	fl.IntVar(&f.OOMScoreAdj, "oom-score-adj", 0, "how soon it is killed when memory runs out, -1000 to 1000")
	// security
	fl.StringArrayVar(&f.CapAdd, "cap-add", nil, "add a capability, or ALL")
	fl.StringArrayVar(&f.CapDrop, "cap-drop", nil, "drop a capability, or ALL")
	fl.BoolVar(&f.Privileged, "privileged", false, "all capabilities, all devices, nothing hidden, no filter")
	fl.StringArrayVar(&f.SecurityOpt, "security-opt", nil, "no-new-privileges; seccomp=FILE|unconfined; systempaths=unconfined")
	fl.StringToStringVar(&f.Sysctl, "sysctl", nil, "set a kernel parameter of the container's own: NAME=VALUE")
	// namespaces
	networkFlags(fl, f)
	fl.StringVar(&f.PID, "pid", "", "pid namespace: host, container:ID, ns:PATH")
	fl.StringVar(&f.IPC, "ipc", "", "ipc namespace: host, private, container:ID, ns:PATH")
	fl.StringVar(&f.UTS, "uts", "", "uts namespace: host, private, container:ID, ns:PATH")
	fl.StringVar(&f.Userns, "userns", "", "user namespace: host, keep-id, auto, single, container:ID")
	fl.StringVar(&f.Cgroupns, "cgroupns", "", "cgroup namespace: host, private, container:ID")
	fl.StringVar(&f.Time, "time", "", "time namespace: host (the default), private, container:ID")
	fl.StringArrayVar(&f.DNS, "dns", nil, "a name server for the container")
	fl.StringArrayVar(&f.DNSSearch, "dns-search", nil, "a domain to look names up in")
	fl.StringArrayVar(&f.DNSOption, "dns-option", nil, "an option of resolv.conf")
	fl.StringArrayVar(&f.DNSOption, "dns-opt", nil, "the same as --dns-option")
	_ = fl.MarkHidden("dns-opt")
	fl.StringArrayVar(&f.AddHost, "add-host", nil, "a further line of /etc/hosts: NAME:ADDRESS, or NAME:host-gateway")
	fl.Bool("help", false, "show this text") // -h is the host name's
}

// limitFlags declares the limits that can be changed while a container runs.
func limitFlags(fl *pflag.FlagSet, f *engine.Flags) {
	fl.StringVarP(&f.Memory, "memory", "m", "", "limit of memory: 50m")
	fl.StringVar(&f.MemorySwap, "memory-swap", "", "limit of memory and swap together; -1 is none")
	fl.StringVar(&f.MemoryReservation, "memory-reservation", "", "memory that is left when others want it")
	fl.StringVar(&f.CPUs, "cpus", "", "limit of processors: .5 is half of one")
	fl.Uint64VarP(&f.CPUShares, "cpu-shares", "c", 0, "share of the processors when others want them too (1024 is ordinary)")
	fl.Uint64Var(&f.CPUPeriod, "cpu-period", 0, "period of --cpu-quota, in microseconds")
	fl.Int64Var(&f.CPUQuota, "cpu-quota", 0, "microseconds of processor time in each period")
	fl.StringVar(&f.CpusetCPUs, "cpuset-cpus", "", "processors to run on: 0-2,4")
	fl.StringVar(&f.CpusetMems, "cpuset-mems", "", "memory nodes to use")
	fl.Int64Var(&f.PidsLimit, "pids-limit", 0, "limit of processes and threads; -1 is none")
	fl.Uint16Var(&f.BlkioWeight, "blkio-weight", 0, "share of the disks when others want them too, 10 to 1000")
}

// fileFlags are those about files.
func fileFlags(fl *pflag.FlagSet, f *engine.Flags) {
	fl.StringArrayVarP(&f.Volumes, "volume", "v", nil, "mount a volume or a path of the host: [SOURCE:]TARGET[:ro,…]")
	fl.StringArrayVar(&f.Mounts, "mount", nil, "mount a bind, volume, tmpfs or image: type=…,source=…")
	fl.StringArrayVar(&f.VolumesFrom, "volumes-from", nil, "mount what another container has mounted: CONTAINER[:ro]")
	fl.StringVar(&f.VolumeDriver, "volume-driver", "", "the driver of volumes that are made: local")
	fl.StringArrayVar(&f.Tmpfs, "tmpfs", nil, "mount a file system in memory: TARGET[:size=…,mode=…]")
	fl.BoolVar(&f.ReadOnly, "read-only", false, "the root file system can't be written to")
	fl.BoolVar(&f.Rootfs, "rootfs", false, "IMAGE is a folder, the root file system; FOLDER:O leaves it as it is, with an overlay on top")
	fl.StringVar(&f.RootfsSize, "rootfs-size", "", "keep changes to the root file system in memory, at most so much: 50m")
	fl.StringArrayVar(&f.StorageOpt, "storage-opt", nil, "refused: --rootfs-size limits what the container writes")
	_ = fl.MarkHidden("storage-opt")
	fl.StringVar(&f.ShmSize, "shm-size", "", "size of /dev/shm (default 64m)")
	fl.StringArrayVar(&f.Devices, "device", nil, "give a device of the host: PATH[:TARGET][:rwm]")
}

// networkFlags are those that say how the container is joined to networks.
func networkFlags(fl *pflag.FlagSet, f *engine.Flags) {
	fl.Var(&networks{f}, "network", "bridge, host, none, container:ID, ns:PATH, or networks: NAME[:ip=…,ip6=…,mac=…,alias=…,interface_name=…]")
	fl.Var(&networks{f}, "net", "the same as --network")
	_ = fl.MarkHidden("net")
	fl.StringVar(&f.IP, "ip", "", "the container's IPv4 address on the first network")
	fl.StringVar(&f.IP6, "ip6", "", "the container's IPv6 address on the first network")
	fl.StringVar(&f.MAC, "mac-address", "", "its hardware address there")
	fl.StringArrayVar(&f.NetworkAlias, "network-alias", nil, "a further name of the container on its networks")
	fl.StringArrayVar(&f.Link, "link", nil, "have another container in /etc/hosts: NAME[:ALIAS]")
	fl.StringArrayVarP(&f.Publish, "publish", "p", nil, "have ports of the host lead to the container: [[IP:]PORT[-PORT]:]PORT[-PORT][/tcp|udp|sctp]")
	fl.BoolVarP(&f.PublishAll, "publish-all", "P", false, "publish all ports that the image and --expose name, on free ports of the host")
	fl.StringArrayVar(&f.Expose, "expose", nil, "a port that the container listens on: PORT[-PORT][/tcp|udp|sctp]")
}

// networks is the flag --network, which may be given several times.
type networks struct{ f *engine.Flags }

func (n *networks) String() string { return "" }
func (n *networks) Type() string   { return "network" }
func (n *networks) Set(text string) error {
	if n.f.Network == "" {
		n.f.Network = text
	} else {
		n.f.Networks = append(n.f.Networks, text)
	}
	return nil
}

// readArgs takes what the flag set can't say by itself.
func readArgs(c *cobra.Command, f *engine.Flags, args []string) error {
	f.Image, f.Command = args[0], args[1:]
	f.EntrypointSet = c.Flags().Changed("entrypoint")
	return f.ReadLabels()
}

// lifeFlags declares what `create`, `run` and `explain run` have in common
// about a container's life.
func lifeFlags(fl *pflag.FlagSet, f *engine.Flags) {
	fl.StringVar(&f.Restart, "restart", "", "start it again at its end: no, always, unless-stopped, on-failure[:TIMES]")
	fl.StringVar(&f.StopSignal, "stop-signal", "", "the signal that asks it to end (default the image's, or SIGTERM)")
	fl.Var(optionalIntValue{&f.StopTimeout}, "stop-timeout", "seconds until a container that was asked to end is killed (default 10)")
	fl.Var(secondsValue{&f.Timeout}, "timeout", "seconds after which the container is killed")
	fl.StringVar(&f.LogDriver, "log-driver", "", "what keeps its output: json-file (the default), k8s-file, journald, none")
	fl.StringToStringVar(&f.LogOpts, "log-opt", nil, "an option of the log: max-size=10m, max-file=3, tag=NAME")
	fl.Var(optionalStringValue{&f.HealthCmd}, "health-cmd", "a command in the container that says whether it is well")
	fl.DurationVar(&f.HealthInterval, "health-interval", 0, "time between two checks (default 30s)")
	fl.DurationVar(&f.HealthTimeout, "health-timeout", 0, "how long a check may take (default 30s)")
	fl.DurationVar(&f.HealthStartPeriod, "health-start-period", 0, "time after the start in which failures don't count")
	fl.DurationVar(&f.HealthStartInterval, "health-start-interval", 0, "time between two checks then (default 5s)")
	fl.IntVar(&f.HealthRetries, "health-retries", 0, "failures in a row that make it unhealthy (default 3)")
	fl.StringVar(&f.HealthOnFailure, "health-on-failure", "", "what is done about an unhealthy one: none, kill, restart, stop")
	fl.BoolVar(&f.NoHealthcheck, "no-healthcheck", false, "don't check its health, whatever the image says")
	fl.VarP(labelsValue{&f.Labels}, "label", "l", "a label: NAME=VALUE")
	fl.StringArrayVar(&f.LabelFiles, "label-file", nil, "read labels from a file")
	fl.Var(labelsValue{&f.Annotations}, "annotation", "an annotation of the config.json: NAME=VALUE")
}

// attachFlags are how a caller wants to be joined to a container's streams.
type attachFlags struct {
	detach  bool
	streams []string
	keys    string
	proxy   bool
	replace bool
}

func (a *attachFlags) flags(fl *pflag.FlagSet) {
	fl.BoolVarP(&a.detach, "detach", "d", false, "do not wait for its end: print its ID, and leave it running")
	fl.StringArrayVarP(&a.streams, "attach", "a", nil, "join stdin, stdout or stderr only")
	fl.StringVar(&a.keys, "detach-keys", "ctrl-p,ctrl-q", "keys that leave the container running")
	fl.BoolVar(&a.proxy, "sig-proxy", true, "pass signals on to the container")
}

// wants are the streams that the flags ask for.
func (a *attachFlags) wants(f *engine.Flags) (w monitor.Attach, err error) {
	if a.detach {
		if len(a.streams) > 0 {
			return 0, &engine.Error{Err: errors.New("run container with -d and -a: it can't be both"), Text: "vitro attach joins a container that runs"}
		}
		return 0, nil
	}
	if len(a.streams) == 0 {
		w = monitor.Output | monitor.Errors
		if f.Interactive {
			w |= monitor.Input
		}
		return w, nil
	}
	for _, s := range a.streams {
		bit, ok := map[string]monitor.Attach{"stdin": monitor.Input, "stdout": monitor.Output, "stderr": monitor.Errors}[strings.ToLower(s)]
		if !ok {
			return 0, &engine.Error{Err: fmt.Errorf("read --attach=%s: no such stream", s), Text: "the streams are stdin, stdout, stderr"}
		}
		if w |= bit; bit == monitor.Input {
			f.Interactive = true
		}
	}
	return w, nil
}

// attachment is what is between our streams and the container's.
func (a *attachFlags) attachment(wants monitor.Attach, terminal bool) (*monitor.Attachment, error) {
	keys, err := monitor.ParseKeys(a.keys)
	if err != nil {
		return nil, err
	}
	if !isTerminal(0) || !terminal {
		keys = nil
	}
	return &monitor.Attachment{Streams: wants, Terminal: terminal, DetachKeys: keys, Proxy: a.proxy, Warn: warn}, nil
}

// A noTerminal is -it where no terminal is.
type noTerminal struct{ verb string }

func (e *noTerminal) Error() string { return e.verb + " with -t: the input is not a terminal" }
func (e *noTerminal) Hint() string  { return "leave -t away: -i alone passes the input on" }
func (e *noTerminal) ExitCode() int { return 1 }

func warn(text string) { fmt.Fprintln(os.Stderr, "vitro: warning:", text) }

func runCommand(a *app) *cobra.Command {
	f := &engine.Flags{}
	var v view
	var at attachFlags
	c := &cobra.Command{
		Use:     "run [flags] IMAGE [COMMAND [ARG...]]",
		Short:   "run a command in a new container",
		Example: "  vitro run --rm busybox echo hello\n  vitro run -it -m 50m --cpus .5 busybox\n  vitro run -d --name web -p 8080:80 nginx\n  vitro run --step busybox true",
		Args:    cobra.MinimumNArgs(1),
	}
	runFlags(c.Flags(), f)
	lifeFlags(c.Flags(), f)
	at.flags(c.Flags())
	v.flags(c.Flags())
	c.Flags().BoolVar(&at.replace, "replace", false, "remove a container of the same name first")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if err := readArgs(c, f, args); err != nil {
			return err
		}
		if f.Terminal && f.Interactive && !isTerminal(0) && !at.detach {
			return &noTerminal{"run container"}
		}
		wants, err := at.wants(f)
		if err != nil {
			return err
		}
		attachment, err := at.attachment(wants, f.Terminal)
		if err != nil {
			return err
		}
		f.OpenInput = at.detach && f.Interactive
		e, err := a.engine()
		if err != nil {
			return err
		}
		if err := replace(e, f, at.replace); err != nil {
			return err
		}
		r, err := e.Create(c.Context(), f)
		if err != nil {
			return err
		}
		defer func() { err = forgetCID(e, r, f.CIDFile, err) }()
		conn, err := e.Launch(engine.Launch{ID: r.ID, New: true, Wants: wants, Size: terminalSize(), View: v.text()})
		if err != nil {
			return err
		}
		if at.detach {
			defer conn.Close()
			if err := monitor.AwaitStart(conn, warn); err != nil {
				return err
			}
			fmt.Println(r.ID)
			return nil
		}
		return a.follow(attachment, conn, f.Memory)
	}
	return c
}

// forgetCID removes the file that names a container which was made, and
// removed since its start was refused.
func forgetCID(e *engine.Engine, r *engine.Record, file string, err error) error {
	if start := new(monitor.StartError); file == "" || !errors.As(err, &start) {
		return err
	}
	if _, gone := e.Containers.Look(r.ID); errors.Is(gone, container.ErrNotFound) {
		_ = os.Remove(file)
	}
	return err
}

// follow stays with a container to its end, which gives us our exit status.
func (a *app) follow(at *monitor.Attachment, conn *os.File, limit string) error {
	exit, err := at.Follow(conn)
	if errors.Is(err, monitor.ErrDetached) {
		return nil
	}
	if err != nil {
		return err
	}
	if exit.OOM {
		of := ""
		if limit != "" {
			of = "; its limit is --memory=" + limit
		}
		fmt.Fprintf(os.Stderr, "vitro: the container ran out of memory (OOM): the kernel killed a process of it%s\n", of)
	}
	a.code = exit.Code
	return nil
}

// replace makes way for a container.
func replace(e *engine.Engine, f *engine.Flags, wanted bool) error {
	if !wanted {
		return nil
	}
	if f.Name == "" {
		return &engine.Error{Err: errors.New("replace container: it has no name"), Text: "give it one with --name"}
	}
	err := e.Remove(f.Name, true, false)
	if errors.Is(err, container.ErrNotFound) {
		return nil
	}
	return err
}

// terminalSize is our terminal's: rows, columns; 0 if we have none.
func terminalSize() [2]uint16 {
	for fd := range 3 {
		if ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			return [2]uint16{ws.Row, ws.Col}
		}
	}
	return [2]uint16{}
}

func createCommand(a *app) *cobra.Command {
	f := &engine.Flags{}
	again := false
	c := &cobra.Command{
		Use:     "create [flags] IMAGE [COMMAND [ARG...]]",
		Short:   "make a container, to be started later",
		Example: "  vitro create --name web nginx; vitro start web",
		Args:    cobra.MinimumNArgs(1),
	}
	runFlags(c.Flags(), f)
	lifeFlags(c.Flags(), f)
	c.Flags().BoolVar(&again, "replace", false, "remove a container of the same name first")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := readArgs(c, f, args); err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		if err := e.MayCreate(c.Context(), f); err != nil { // whatever is wrong is to be said now
			return err
		}
		if err := replace(e, f, again); err != nil {
			return err
		}
		r, err := e.Create(c.Context(), f)
		if err != nil {
			return err
		}
		fmt.Println(r.ID)
		return nil
	}
	return c
}
