// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// begun asks that a lesson has a process.
func begun(lesson string) func(*Lab) error {
	return func(l *Lab) error {
		_, err := l.process(lesson)
		return err
	}
}

// of makes a question about a lesson's process.
func of(lesson string, ask func(*Lab, process) error) func(*Lab) error {
	return func(l *Lab) error {
		p, err := l.process(lesson)
		if err != nil {
			return err
		}
		return ask(l, p)
	}
}

func apart(lesson string, kinds ...string) func(*Lab) error {
	return of(lesson, func(_ *Lab, p process) error {
		for _, k := range kinds {
			if err := p.apart(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// hostname asks for it inside: no file outside has it.
func hostname(lesson, want string) func(*Lab) error {
	return of(lesson, func(_ *Lab, p process) error {
		var name unix.Utsname
		if err := p.within(func() error { return unix.Uname(&name) }, "uts"); err != nil {
			return err
		}
		return differs("host name", unix.ByteSliceToString(name.Nodename[:]), want)
	})
}

// within does something in a process's namespace of one kind. One that a
// user namespace of ours owns is entered through that.
func (p process) within(do func() error, kind string) error {
	flag := map[string]int{"uts": unix.CLONE_NEWUTS, "ipc": unix.CLONE_NEWIPC, "net": unix.CLONE_NEWNET, "cgroup": unix.CLONE_NEWCGROUP}[kind]
	return within(p.proc("ns/"+kind), flag, do)
}

// numbers asks for a process with so many PIDs more than we have, the last of them 1.
func numbers(lesson string, more int) func(*Lab) error {
	return of(lesson, func(_ *Lab, p process) error {
		its := strings.Fields(status(p.pid, "NSpid"))
		if len(its) < more+1 {
			return fmt.Errorf("its numbers are %q: want %d", strings.Join(its, " "), more+1)
		}
		return differs("its innermost number", its[len(its)-1], "1")
	})
}

// ownProc asks that number 1 in a process's /proc is the process itself.
func ownProc(lesson string) func(*Lab) error {
	return of(lesson, func(_ *Lab, p process) error {
		m, err := at(strconv.Itoa(p.pid), "/proc")
		if err != nil {
			return err
		}
		if m.fstype != "proc" {
			return fmt.Errorf("/proc is of type %s", printable(m.fstype))
		}
		its, err := p.content("/proc/1/stat")
		if err != nil {
			return err
		}
		// Of two views of one process, the 22nd word is the same: when it was started.
		own, err := content(p.proc("stat"))
		if err != nil {
			return err
		}
		if startTime(its) != startTime(own) {
			return errors.New("number 1 in there is somebody else: it was mounted outside")
		}
		return nil
	})
}

// startTime is field 22 of /proc/PID/stat, behind a name that may have anything in it.
func startTime(stat string) string {
	f := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(f) < 20 {
		return ""
	}
	return f[19]
}

func mountedThere(l *Lab) error {
	p, err := l.process("mnt")
	if err != nil {
		return err
	}
	place := l.path("mnt/place")
	m, err := at(strconv.Itoa(p.pid), place)
	if err != nil {
		return err
	}
	if m.fstype != "tmpfs" {
		return fmt.Errorf("it is of type %s", printable(m.fstype))
	}
	if _, err := at("self", place); err == nil {
		return errors.New("you have it too: the mounts are shared")
	}
	return nil
}

// textThere asks for what a file begins with, as the process sees it.
func textThere(lesson, path, want string) func(*Lab) error {
	return of(lesson, func(l *Lab, p process) error {
		got, err := p.content(l.path(path))
		if err != nil {
			return err
		}
		if !strings.HasPrefix(got, want) {
			return differs(path, got, want)
		}
		return nil
	})
}

var queue = of("ipc", func(_ *Lab, p process) error {
	var list string
	err := p.within(func() (err error) {
		list, err = content("/proc/sysvipc/msg")
		return err
	}, "ipc")
	if err != nil {
		return err
	}
	if strings.Count(list, "\n") == 0 {
		return errors.New("there is none")
	}
	return nil
})

var onlyLo = of("net", func(_ *Lab, p process) error {
	dev, err := content(p.proc("net/dev"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(dev) {
		name, _, ok := strings.Cut(strings.TrimSpace(line), ":")
		// Some kernels make these in each namespace, down and without use.
		if ok && name != "lo" && !slices.Contains([]string{"tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0"}, name) {
			return fmt.Errorf("there is %s", printable(name))
		}
	}
	return nil
})

var loUp = of("net", func(_ *Lab, p process) error {
	return p.within(func() error { return upWith("lo", "127.0.0.1/8") }, "net")
})

var tenDays = of("time", func(_ *Lab, p process) error {
	offsets, err := content(p.proc("timens_offsets"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(offsets) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "boottime" {
			return differs("seconds ahead", f[1], "864000")
		}
	}
	return errors.New("it has no such clock")
})

func mapped(file string) func(*Lab) error {
	return of("user", func(_ *Lab, p process) error {
		text, err := content(p.proc(file))
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "0" {
				return nil
			}
		}
		return fmt.Errorf("%s is %q", file, text)
	})
}

var denied = of("user", func(_ *Lab, p process) error {
	text, err := content(p.proc("setgroups"))
	if err != nil {
		return err
	}
	return differs("setgroups", text, "deny")
})

// two are bits 0 and 5.
var two = of("caps", func(_ *Lab, p process) error {
	for _, set := range [...]string{"CapPrm", "CapEff", "CapBnd"} {
		if err := differs(set, strings.TrimLeft(status(p.pid, set), "0"), "21"); err != nil {
			return err
		}
	}
	return nil
})

// owns asks that a process's user namespace owns another of its namespaces.
func owns(lesson, kind string) func(*Lab) error {
	return of(lesson, func(_ *Lab, p process) error {
		user, err := inode(p.proc("ns/user"))
		if err != nil {
			return err
		}
		owner, err := inode(p.proc("ns/"+kind), unix.NS_GET_USERNS)
		if err == unix.EPERM {
			return errors.New("its owner is none that you can see: yours, or one above")
		}
		if err != nil {
			return err
		}
		if owner != user {
			return fmt.Errorf("its owner is user:[%d], not user:[%d]", owner, user)
		}
		return nil
	})
}

// inode is the number of a namespace, or of the one that calls of ioctl_ns(2) lead to.
func inode(path string, calls ...uint) (uint64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	for _, c := range calls {
		next, err := unix.IoctlRetInt(fd, c)
		unix.Close(fd)
		if err != nil {
			return 0, err
		}
		fd = next
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return st.Ino, err
}

var grandchild = of("nested", func(_ *Lab, p process) error {
	ours, err := inode("/proc/self/ns/user")
	if err != nil {
		return err
	}
	above, err := inode(p.proc("ns/user"), unix.NS_GET_PARENT, unix.NS_GET_PARENT)
	if err != nil {
		return fmt.Errorf("look two up from its user namespace: %w", err)
	}
	if above != ours {
		return fmt.Errorf("two up is user:[%d]; yours is user:[%d]", above, ours)
	}
	return nil
})

// rootMount is the mount that a process has as its root.
func (p process) rootMount() (mount, error) {
	m, err := at(strconv.Itoa(p.pid), "/")
	if err == nil && m.fstype != "overlay" {
		err = fmt.Errorf("its root is of type %s", printable(m.fstype))
	}
	return m, err
}

// rootIn asks that a process's root is the overlay of a lesson's upper and lesson 1's root.
func rootIn(lesson, merged string) func(*Lab) error {
	return of(lesson, func(l *Lab, p process) error {
		m, err := p.rootMount()
		if err != nil {
			return err
		}
		return errors.Join(differs("upperdir", m.option("upperdir"), l.path(filepath.Dir(merged), "upper")),
			differs("lowerdir", strings.Join(m.lowers(), ":"), l.path("root")))
	})
}

func rootOverlay(lesson string) func(*Lab) error {
	return of(lesson, func(_ *Lab, p process) error {
		_, err := p.rootMount()
		return err
	})
}

// onlyMounts asks for these mounts and no others.
func onlyMounts(lesson, want string) func(*Lab) error {
	return of(lesson, func(_ *Lab, p process) error {
		list, err := mounts(strconv.Itoa(p.pid))
		if err != nil {
			return err
		}
		for _, m := range list {
			if !slices.Contains(strings.Fields(want), m.target) {
				return fmt.Errorf("%s is mounted too", printable(m.target))
			}
		}
		return nil
	})
}

var pseudo = of("dev", func(_ *Lab, p process) error {
	for _, m := range [...]struct{ target, fstype string }{
		{"/proc", "proc"}, {"/sys", "sysfs"}, {"/sys/fs/cgroup", "cgroup2"}, {"/dev/mqueue", "mqueue"},
	} {
		is, err := at(strconv.Itoa(p.pid), m.target)
		if err != nil {
			return err
		}
		if err := differs(m.target, is.fstype, m.fstype); err != nil {
			return err
		}
	}
	return nil
})

var devices = of("dev", func(_ *Lab, p process) error {
	for _, d := range [...]struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		fd, err := p.open("/dev/"+d.name, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return fmt.Errorf("/dev/%s: %w", d.name, err)
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(d.major, d.minor) {
			return fmt.Errorf("/dev/%s is not the device %d:%d", d.name, d.major, d.minor)
		}
	}
	return nil
})

var joined = of("nsenter", func(l *Lab, p process) error {
	first, err := l.process("dev")
	if err != nil {
		return fmt.Errorf("lesson 13: %w", err)
	}
	for _, k := range [...]string{"mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		a, err := namespace(strconv.Itoa(p.pid), k)
		if err != nil {
			return err
		}
		b, err := namespace(strconv.Itoa(first.pid), k)
		if err != nil {
			return err
		}
		if err := differs(k, a, b); err != nil {
			return err
		}
	}
	return nil
})

var notFirst = of("nsenter", func(_ *Lab, p process) error {
	f := strings.Fields(status(p.pid, "NSpid"))
	if len(f) < 2 || f[len(f)-1] == "1" {
		return fmt.Errorf("its numbers are %q", strings.Join(f, " "))
	}
	return nil
})
