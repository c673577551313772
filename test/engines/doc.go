// SPDX-License-Identifier: Apache-2.0

// Package engines runs real engines with vitro-oci as their runtime: Podman,
// dockerd, and containerd through ctr and through its CRI plugin. What they
// are to do is a table of shell scripts (cases_*_test.go), each with the
// output and the exit status wanted.
//
// Each engine is started by the test, on sockets and folders of the test's
// own, in a world of its own (package test/world): nothing of the machine's
// own engines is touched, and nothing is left. At the end of an engine's
// cases, what is there is compared with what was there at their begin:
// mounts, cgroups, processes, links, and the runtime's state.
//
// The tests take minutes, so they run only if asked to:
//
//	make test-engines                       all
//	make test-engines TESTFLAGS=-short      a sample of each engine
//	make test-engines TESTFLAGS='-oci runc' the same cases with runc: a case
//	                                        that fails there, too, is the
//	                                        engine's or the machine's
//
// TestAlike is the other way round: what people type for docker is played with
// dockerd and with vitro itself, and both are to print the same
// (cases_alike_test.go).
//
// Not for what the runtime does by itself: that is checked by package e2e and
// by the conformance suite, which say more when something is wrong.
package engines
