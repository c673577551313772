// SPDX-License-Identifier: Apache-2.0

// Package systemd has cgroups made by systemd, where that owns the tree: each
// container is a unit, a scope, that systemctl and systemd-cgls know.
//
//	"system.slice:docker:abc" ─▶ Unit: docker-abc.scope in system.slice
//	limits, as files and values ─▶ []Property: MemoryMax=uint64 33554432
//	Ask ─▶ Manager: which socket, how old, where its cgroups begin
//	                         │
//	Start, Set, Stop: actions of a plan, over D-Bus
//
// A limit is told to systemd as well as written to the cgroup's file: what
// systemd doesn't know of it resets, at the next daemon-reload. What it has no
// word for it leaves alone, since the unit is delegated (Delegate=yes).
//
// A scope begins with a process, so the child can't be born in its cgroup:
// systemd moves it there while it waits.
//
// Which limits there are and where the rest is written is package cgroup's.
// Do not use this package for services: it starts no programs.
//
// Sources: org.freedesktop.systemd1(5), systemd.scope(5), systemd.slice(5),
// systemd.resource-control(5), and CGROUP_DELEGATION.md of systemd.
package systemd
