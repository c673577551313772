// SPDX-License-Identifier: Apache-2.0

// Package seccomp turns the seccomp section of an OCI runtime configuration
// into a classic BPF program, in pure Go, and says in words what such a
// program does.
//
// The meaning of a section is the one that libseccomp and runc gave it, since
// every profile in use was written against them:
//
//   - A rule whose action equals the default action is dropped; so is a name
//     that an architecture does not have.
//   - A rule without arguments decides its system call. The first of several
//     wins, and each of them wins over rules with arguments.
//   - Arguments of one rule must all match; but if two of them look at the
//     same argument, each becomes a rule of its own (any may match).
//   - Of several rules with arguments the most specific is asked first: higher
//     argument index, equality before upper bounds before lower bounds, the
//     tighter bound first, a shorter list before a longer one that it starts;
//     what is then still equal keeps the profile's order. Two rules that ask
//     exactly the same and answer differently are refused.
//   - 64-bit architectures compare all 64 bits of an argument. i386, ARM and
//     x32 compare the low 32, as the rest is not theirs.
//   - On i386 a rule for a socket or System V IPC call also covers its form
//     through socketcall(2) or ipc(2). There the arguments lie behind a pointer
//     that no filter may follow, so a condition on the first argument is lost,
//     and of two rules that then contradict each other the stricter one holds.
//   - A call of an architecture that the section does not list kills the
//     thread. The kernel's own architecture is always listed.
//   - Unless the default action lets calls through (ALLOW, LOG, TRACE), a
//     number above the highest one that the profile names for the architecture
//     gets ENOSYS. A profile can't have an opinion about calls that are newer
//     than itself, and C libraries fall back on ENOSYS only (glibc's clone3
//     was the case that made this necessary).
//
// In two points it is better than its model. The private ARM calls at 0x0f0000
// (cacheflush, set_tls) do not count as "the highest number", or no ARM program
// would ever see that ENOSYS. And libseccomp (2.5), which merges the rules of a
// call into a tree, loses some matches where rules have several arguments or
// bounds that share a high word; here each rule keeps what it says.
//
// Compile is fast enough to be called at each start, so there is no cache and no
// program made at build time. Docker's default profile with its three
// architectures, 430 names, takes 30 to 50 µs warm, 0.1 ms as the first thing
// that a process does, and eight allocations; it becomes 330 instructions, of
// which a call meets about ten. Merely hashing the profile, to look a ready
// program up, takes 9 µs (SHA-256) or 19 µs (FNV-128).
//
// Don't use this package to read Docker's own profile format, with its
// conditions on capabilities and kernel versions: vitro/seccomp/profile turns
// it into an OCI section first. And a filter is no sandbox by itself: it sees
// numbers and pointers, never what a pointer points at.
package seccomp
