// SPDX-License-Identifier: Apache-2.0

package run

//lint:file-ignore U1000 what is here is used in assembler

import "golang.org/x/sys/unix"

// sealed is the interpreter. It is copied, never called; it ends before sealedEnd.
func sealed()
func sealedEnd()

// Numbers for the assembler, in whose source they are const_NAME.
const (
	sysRead     = unix.SYS_READ
	sysWrite    = unix.SYS_WRITE
	sysMmap     = unix.SYS_MMAP
	sysPrctl    = unix.SYS_PRCTL
	sysClock    = unix.SYS_CLOCK_GETTIME
	sysExit     = unix.SYS_EXIT_GROUP
	sysFcntl    = unix.SYS_FCNTL
	sysCapset   = unix.SYS_CAPSET
	sysExecveat = unix.SYS_EXECVEAT

	protRW      = unix.PROT_READ | unix.PROT_WRITE
	mapHere     = unix.MAP_SHARED | unix.MAP_FIXED_NOREPLACE
	setDumpable = unix.PR_SET_DUMPABLE
	monotonic   = unix.CLOCK_MONOTONIC
	eintr       = int(unix.EINTR)
	einval      = int(unix.EINVAL)
	setfd       = unix.F_SETFD
	capAmbient  = unix.PR_CAP_AMBIENT
	ambientUp   = unix.PR_CAP_AMBIENT_RAISE
	emptyPath   = unix.AT_EMPTY_PATH
	lastErrno   = -4095
	nanoseconds = 1_000_000_000
	notRun      = 126 // exit status: a container has executed the program, by /proc/self/exe
)
