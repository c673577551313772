// SPDX-License-Identifier: Apache-2.0

// Package inspect looks at the machine's namespaces, whoever made them.
//
// Reading and deciding are apart:
//
//	/proc, ioctls ──Read──▶ Snapshot ──Snapshot.Tree──▶ Tree ──▶ package draw: text, DOT, SVG
//
// A Snapshot is a value: what was found, and what could not be looked at. All
// that comes behind it is pure, and tested with recorded snapshots.
//
// A namespace lives as long as something holds it, and may hide behind any of
// these:
//
//	a process or a thread that is in it          /proc/PID/ns, /proc/PID/task/TID/ns
//	a process whose children will be in it       pid_for_children, time_for_children
//	a bind mount, in any mount namespace         listmount(2), statmount(2), or /proc/PID/mountinfo
//	an open descriptor                           /proc/PID/fd
//	a namespace that it owns, or is parent of    NS_GET_USERNS, NS_GET_PARENT
//	a mount namespace that nothing points to     NS_MNT_GET_NEXT (Linux 6.12)
//	anything else                                listns(2) (Linux 6.19)
//	a socket that was made in it                 pidfd_getfd(2), SIOCGSKNS; with Options.Deep
//
// What comes and goes meanwhile is no error: it is in the snapshot, or it isn't.
//
// Sources: namespaces(7), ioctl_nsfs(2), the kernel's fs/nsfs.c and
// fs/namespace.c. The subpackages look at one process (process), read its
// isolation back (config), and compare (contrast).
package inspect
