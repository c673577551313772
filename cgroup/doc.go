// SPDX-License-Identifier: Apache-2.0

// Package cgroup decides which control groups a container gets and what is
// written there.
//
// A cgroup limits and counts what its processes use, and keeps track of them.
// Linux has two interfaces for it. In version 2 there is one tree for all
// controllers (cpu, memory, io, pids). In version 1 each controller, or each
// few, have a tree of their own. A machine may have both at once (hybrid):
// each controller lives in one of the two. So the package asks of each limit
// where its controller lives, and there is no third case for hybrid.
//
// Everything goes from values to values:
//
//	config.json's resources ─▶ []Limit ─┐
//	                                    ├─▶ Setup: plan steps, child steps, Dirs
//	Detect: the machine's Layout ───────┘
//
// A Limit has both spellings, of version 1 and of version 2, and the reason in
// words. Setup picks one, checks that the kernel has it, and returns steps;
// what can't be had is refused there, before anything is made.
//
// Update does the same for a container that runs: from the limits that it has and
// those that it is to have to a Change, steps that can be set back.
//
// Only these act or look: Detect; the FS that a Layout looks through; the
// actions, when package run calls them; and the methods of Dirs, which ask a
// running container's cgroups (how much, who, was someone killed for memory, tell
// me when) and freeze or kill.
//
// Where systemd owns the tree and has to know of each cgroup, Options.Systemd
// has it make them: package cgroup/systemd talks to it. Without that this
// package makes folders, and is to be used below a delegated cgroup (Delegate=yes).
//
// Sources: cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/
// in the kernel, config-linux.md of the OCI runtime specification 1.3.
package cgroup
