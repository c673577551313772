// SPDX-License-Identifier: Apache-2.0

package main

// Options that several commands share.
var (
	optBundle   = option{"bundle", "b", "DIR", "the folder with config.json (default: the current one)"}
	optSocket   = option{"console-socket", "", "PATH", "the Unix socket that takes the terminal's other side"}
	optPID      = option{"pid-file", "", "FILE", "write the process's PID to this file"}
	optPidfd    = option{"pidfd-socket", "", "PATH", "the Unix socket that takes a pidfd of the process"}
	optConfig   = option{"config", "", "FILE", "in place of config.json, seen from the bundle"}
	optPreserve = option{"preserve-fds", "", "N", "hand on N more descriptors, from 3 on"}
	optNoPivot  = option{"no-pivot", "", "", "move the root, do not pivot: for hosts that run from a ramdisk"}
	optKeyring  = option{"no-new-keyring", "", "", "share the caller's session keyring"}
	optFormat   = option{"format", "f", "table|json", "how to show it (default table)"}
	optDetach   = option{"detach", "d", "", "do not wait for its end"}
)

// commands is the table of commands.
var commands = [...]command{
	{name: "create", args: "ID", does: "make a container of a bundle; its process waits to be started", run: createContainer,
		options: []option{optBundle, optConfig, optSocket, optPID, optPidfd, optPreserve, optNoPivot, optKeyring}},
	{name: "start", args: "ID", does: "run the program of a container that was created", run: startContainer},
	{name: "run", args: "ID", does: "create and start a container; wait for it and remove it, unless detached", run: runContainer,
		options: []option{optBundle, optConfig, optSocket, optDetach, optPID, optPidfd, optPreserve, optNoPivot, optKeyring,
			{"keep", "", "", "do not remove it at its end"},
			{"no-subreaper", "", "", "ignored: no container's orphans come to this process"}}},
	{name: "state", args: "ID", does: "show where a container is in its life, as JSON", run: showState},
	{name: "list", does: "list containers", run: listContainers,
		options: []option{optFormat, {"quiet", "q", "", "IDs only"}}},
	{name: "exec", args: "ID COMMAND [ARG...]", does: "run one more process in a running container", atFirst: true, run: execContainer,
		options: []option{optSocket, optDetach, optPID, optPidfd, optPreserve,
			{"process", "p", "FILE", "what to run: the process object of a config.json"},
			{"tty", "t", "", "on a terminal of its own"},
			{"user", "u", "UID[:GID]", "as this user"},
			{"additional-gids", "g", "GID", "and in these groups"},
			{"cwd", "", "DIR", "where it starts"},
			{"env", "e", "NAME=VALUE", "with this in its environment"},
			{"cap", "c", "NAME", "with this capability besides the container's"},
			{"no-new-privs", "", "", "with no way to gain privileges"},
			{"process-label", "", "LABEL", "with this SELinux label"},
			{"apparmor", "", "PROFILE", "with this AppArmor profile"},
			{"cgroup", "", "[CONTROLLER:]PATH", "in this cgroup below the container's"},
			{"ignore-paused", "", "", "even if the container is paused: it waits then"}}},
	{name: "kill", args: "ID [SIGNAL]", does: "send a signal to a container's first process (default SIGTERM)", run: killContainer,
		options: []option{{"all", "a", "", "to all of its processes"}}},
	{name: "delete", args: "ID", does: "remove a container that has stopped, and all that was made for it", run: deleteContainer,
		options: []option{{"force", "f", "", "whatever state it is in, if it is there"}}},
	{name: "ps", args: "ID [OPTIONS OF PS]", does: "list the processes of a container", atFirst: true, run: listProcesses,
		options: []option{optFormat}},
	{name: "pause", args: "ID", does: "have all processes of a container stand still", run: pauseContainer},
	{name: "resume", args: "ID", does: "have them go on", run: resumeContainer},
	{name: "update", args: "ID", does: "change a running container's limits; what is not named stays", run: updateContainer,
		options: []option{
			{"resources", "r", "FILE|-", "what to change, as linux.resources of a config.json; all other options are ignored then"},
			{"memory", "", "BYTES", "limit of memory; such as 512m, or -1 for none"},
			{"memory-swap", "", "BYTES", "limit of memory and swap together; -1 for none"},
			{"memory-reservation", "", "BYTES", "what is taken after others' when memory is short"},
			{"cpu-quota", "", "µs", "CPU time in each period; -1 for no limit"},
			{"cpu-period", "", "µs", "how long that is"},
			{"cpu-burst", "", "µs", "CPU time above the quota that it may save up"},
			{"cpu-share", "", "N", "weight against others when CPUs are short (1024 by default)"},
			{"cpu-idle", "", "0|1", "run only when nobody else wants a CPU"},
			{"cpu-rt-period", "", "µs", "the period of realtime CPU time"},
			{"cpu-rt-runtime", "", "µs", "realtime CPU time in each"},
			{"cpuset-cpus", "", "LIST", "CPUs to run on, such as 0-3,7"},
			{"cpuset-mems", "", "LIST", "memory nodes to use"},
			{"pids-limit", "", "N", "limit of processes and threads; -1 for none"},
			{"blkio-weight", "", "N", "weight against others when disks are short, 10 to 1000"},
			{"kernel-memory", "", "BYTES", "ignored: no kernel since 5.4 keeps such a limit"},
			{"kernel-memory-tcp", "", "BYTES", "ignored likewise"},
			{"l3-cache-schema", "", "SCHEMA", "refused: vitro has no linux.intelRdt"},
			{"mem-bw-schema", "", "SCHEMA", "refused likewise"}}},
	{name: "events", args: "ID", does: "tell as JSON what a container uses, and when it is out of memory", run: watchEvents,
		options: []option{{"interval", "", "TIME", "how often to measure (default 5s)"}, {"stats", "", "", "measure once"}}},
	{name: "features", does: "show what this program can do, as JSON", run: showFeatures},
	{name: "checkpoint", args: "ID", does: "write a running container to files, by criu; it has stopped then", run: checkpointContainer,
		options: []option{optImages, optWork, optEstablished, optUnixSk, optShellJob, optLazy, optLocks, optCgroups, optEmptyNS, optDedup,
			{"parent-path", "", "DIR", "an earlier checkpoint, seen from the images' folder: only what has changed is written"},
			{"leave-running", "", "", "and let it go on"},
			{"pre-dump", "", "", "write its memory only, and let it go on: for a shorter stop later"},
			{"tcp-skip-in-flight", "", "", "without TCP connections that are still being made"},
			{"page-server", "", "ADDRESS:PORT", "send memory there (criu page-server); with --lazy-pages, serve it there"},
			{"status-fd", "", "FD", "write a NUL byte there when --lazy-pages are being served"}}},
	{name: "restore", args: "ID", does: "make a container of the files of a checkpoint; wait for it and remove it, unless detached", run: restoreContainer,
		options: []option{optBundle, optSocket, optDetach, optPID, optNoPivot, optImages, optWork, optEstablished, optUnixSk, optShellJob,
			optLazy, optLocks, optCgroups, optEmptyNS, optDedup,
			{"no-subreaper", "", "", "ignored: no container's orphans come to this process"},
			{"tcp-close", "", "", "with its TCP connections closed"},
			{"lsm-profile", "", "TYPE:NAME", "with this profile of AppArmor or SELinux in place of its own"},
			{"lsm-mount-context", "", "CONTEXT", "with this SELinux context of mounts in place of its own"}}},
	{name: "spec", does: "write a config.json to start from", run: writeSpec,
		options: []option{optBundle, {"rootless", "", "", "for an ordinary user"}}},
}
