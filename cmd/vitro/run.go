// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vitro/engine"
)

// runFlags declares what `run` and `explain run` have in common. The words are Docker's.
func runFlags(fl *pflag.FlagSet, f *engine.Flags) {
	fl.SetInterspersed(false) // what stands behind the image is the command's
	// identity
	fl.StringVar(&f.Name, "name", "", "a name for the container")
	fl.BoolVarP(&f.Interactive, "interactive", "i", false, "pass standard input on")
	fl.BoolVarP(&f.Terminal, "tty", "t", false, "give the container a terminal")
	fl.BoolVar(&f.Rm, "rm", false, "remove the container at its end (it always is, until containers can be started again)")
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
	// files
	fl.StringArrayVarP(&f.Volumes, "volume", "v", nil, "mount a path of the host: SOURCE:TARGET[:ro,…]")
	fl.StringArrayVar(&f.Mounts, "mount", nil, "mount something: type=bind|tmpfs,source=…,target=…,readonly")
	fl.StringArrayVar(&f.Tmpfs, "tmpfs", nil, "mount a file system in memory: TARGET[:size=…,mode=…]")
	fl.BoolVar(&f.ReadOnly, "read-only", false, "the root file system can't be written to")
	fl.BoolVar(&f.Rootfs, "rootfs", false, "IMAGE is a folder, the root file system; FOLDER:O leaves it as it is, with an overlay on top")
	fl.StringVar(&f.RootfsSize, "rootfs-size", "", "keep changes to the root file system in memory, at most so much: 50m")
	fl.StringVar(&f.ShmSize, "shm-size", "", "size of /dev/shm (default 64m)")
	fl.StringArrayVar(&f.Devices, "device", nil, "give a device of the host: PATH[:TARGET][:rwm]")
	// limits
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
	fl.StringArrayVar(&f.ReadBps, "device-read-bps", nil, "limit of reading from a device: PATH:1mb")
	fl.StringArrayVar(&f.WriteBps, "device-write-bps", nil, "limit of writing to a device: PATH:1mb")
	fl.StringArrayVar(&f.ReadIOps, "device-read-iops", nil, "limit of reads from a device: PATH:100")
	fl.StringArrayVar(&f.WriteIOps, "device-write-iops", nil, "limit of writes to a device: PATH:100")
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
	fl.StringVar(&f.Network, "network", "", "bridge, host, none, container:ID, ns:PATH")
	fl.StringVar(&f.Network, "net", "", "the same as --network")
	_ = fl.MarkHidden("net")
	fl.StringVar(&f.PID, "pid", "", "pid namespace: host, container:ID, ns:PATH")
	fl.StringVar(&f.IPC, "ipc", "", "ipc namespace: host, private, container:ID, ns:PATH")
	fl.StringVar(&f.UTS, "uts", "", "uts namespace: host, private, container:ID, ns:PATH")
	fl.StringVar(&f.Userns, "userns", "", "user namespace: host, keep-id, auto, single, container:ID")
	fl.StringVar(&f.Cgroupns, "cgroupns", "", "cgroup namespace: host, private, container:ID")
	fl.StringVar(&f.Time, "time", "", "time namespace: host (the default), private, container:ID")
	fl.StringArrayVar(&f.DNS, "dns", nil, "a name server for the container")
	fl.StringArrayVar(&f.DNSSearch, "dns-search", nil, "a domain to look names up in")
	fl.StringArrayVar(&f.DNSOption, "dns-option", nil, "an option of resolv.conf")
	fl.StringArrayVar(&f.AddHost, "add-host", nil, "a further line of /etc/hosts: NAME:ADDRESS")
	fl.Bool("help", false, "show this text") // -h is the host name's
}

// readArgs takes what the flag set can't say by itself.
func readArgs(c *cobra.Command, f *engine.Flags, args []string) {
	f.Image, f.Command = args[0], args[1:]
	f.EntrypointSet = c.Flags().Changed("entrypoint")
}

func runCommand(a *app) *cobra.Command {
	f := &engine.Flags{}
	var v view
	c := &cobra.Command{
		Use:     "run [flags] IMAGE [COMMAND [ARG...]]",
		Short:   "run a command in a new container",
		Example: "  vitro run --rm busybox echo hello\n  vitro run -it -m 50m --cpus .5 busybox\n  vitro run --step busybox true",
		Args:    cobra.MinimumNArgs(1),
	}
	runFlags(c.Flags(), f)
	v.flags(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		readArgs(c, f, args)
		if f.Terminal && f.Interactive && !isTerminal(0) {
			return &engine.Error{Err: fmt.Errorf("run container with -t: the input is not a terminal"), Text: "leave -t away: -i alone passes the input on"}
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		exit, err := e.Run(c.Context(), f, v.hooks())
		if err != nil {
			return err
		}
		if exit.OOM {
			fmt.Fprintf(os.Stderr, "vitro: the container ran out of memory (OOM): the kernel killed a process of it; its limit is --memory=%s\n", f.Memory)
		}
		a.code = exit.Code
		return nil
	}
	return c
}
