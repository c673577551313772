// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
	"vitro/plan/run/program"
)

// ExitCode is the status that a command ends with for a start that failed, as
// Docker's do: 127 if the container has no such program, 126 if it has and the
// kernel doesn't execute it, 125 for all else; 0 without an error.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var f *Fault
	if !errors.As(err, &f) {
		return 125
	}
	if plan.Program(f.Step.Action) == nil {
		return 125
	}
	if errors.Is(f.Err, unix.ENOENT) || errors.Is(f.Err, unix.ENOTDIR) {
		return 127
	}
	var errno unix.Errno
	if !errors.As(f.Err, &errno) {
		return 125 // it was not the exec that failed
	}
	return 126
}

// maxScripts is how many scripts may be each other's interpreters
// (exec_binprm in fs/exec.c).
const maxScripts = 5

// programFile is a file as the child sees it.
type programFile struct {
	path    string
	missing bool
	link    string // missing: it is a link to this
	mode    uint32
	uid     uint32
	noexec  bool // its mount is
	read    bool // program is known
	program program.Program
}

// file opens a path below the child's root, and never follows a link out of it.
func (m *machineLook) file(name string) *programFile {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", m.pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if m.pid == 0 || err != nil {
		return nil
	}
	defer unix.Close(root)
	p := &programFile{path: name}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, name, &how)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		p.missing = true
		how.Flags |= unix.O_NOFOLLOW
		if fd, err = unix.Openat2(root, name, &how); err == nil {
			p.link = readlink(fd)
			unix.Close(fd)
		}
		return p
	}
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	var fsys unix.Statfs_t
	if unix.Fstat(fd, &st) != nil || unix.Fstatfs(fd, &fsys) != nil {
		return nil
	}
	p.mode, p.uid, p.noexec = st.Mode, st.Uid, fsys.Flags&unix.ST_NOEXEC != 0
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return p // to open a device or a pipe may act on it
	}
	if f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
		p.program, err = program.Read(f)
		p.read = err == nil
		f.Close()
	}
	return p
}

func readlink(fd int) string {
	buf := make([]byte, 4096)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func (m *machineLook) arch() string { return runtime.GOARCH }

// explainExec finds out which of the paths is the one to speak of, and why it
// didn't become the process.
func (s *scene) explainExec(e *plan.Exec) bool {
	f := s.fault
	if !errors.As(f.Err, &s.errno) || s.errno == 0 {
		return false
	}
	tried := s.tried
	for len(tried) > 0 && tried[len(tried)-1] == 0 { // an error has ended the search before
		tried = tried[:len(tried)-1]
	}
	if len(tried) == 0 || len(tried) > len(e.Paths) {
		return s.tell(execText(s.errno, e.Args[0]))
	}
	seen := make([]*programFile, len(tried))
	for i := range seen {
		seen[i] = s.host.file(fromCwd(e, e.Paths[i]))
	}
	i := decisive(tried, seen)
	s.errno = tried[i]
	f.Err = s.errno
	f.Call = strings.Replace(f.Call, fmt.Sprintf("%q", e.Paths[len(tried)-1]), fmt.Sprintf("%q", e.Paths[i]), 1)
	p := seen[i]
	switch {
	case p == nil:
		return s.tell(execText(s.errno, e.Paths[i]))
	case p.missing:
		return s.tell(s.notFound(e, seen))
	}
	return s.tell(s.notRun(e, p))
}

func (s *scene) tell(cause, remedy string) bool {
	s.fault.Cause, s.fault.Remedy = cause, remedy
	return true
}

// decisive is the path that the fault is about: the one whose error ended the
// search, else the first where there is a file, else the last.
func decisive(tried []unix.Errno, seen []*programFile) int {
	last := len(tried) - 1
	if !slices.Contains([]unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.EACCES}, tried[last]) {
		return last
	}
	for i, p := range seen {
		if p != nil && !p.missing {
			return i
		}
	}
	if i := slices.Index(tried, unix.EACCES); i >= 0 {
		return i
	}
	return last
}

// execTexts are what there is to say without having seen the file.
var execTexts = [...]struct {
	errno         unix.Errno
	cause, remedy string
}{
	{unix.ENOENT, "there is no %s in the container, or its interpreter or loader is missing there", "check the spelling, and the program with: file, ldd"},
	{unix.ENOTDIR, "on the way to %s there is a file where a folder should be", "check the spelling"},
	{unix.EACCES, "%s is not executable for the container's user, or is a folder, or its mount is noexec", "chmod +x it in the image, or run it by its interpreter: sh FILE"},
	{unix.EPERM, "a seccomp filter or a security module forbids to execute %s", "allow execve in the seccomp profile"},
	{unix.ENOEXEC, "the kernel knows no way to execute %s: it is for another kind of machine, or a script without #!", "see what it is: file; and mind --platform"},
	{unix.E2BIG, "the arguments and the environment of %s are too large: each may have 128 KiB, all together a quarter of the stack limit", "pass less, by files or standard input; or raise --ulimit stack"},
	{unix.ETXTBSY, "somebody has %s open for writing", "close it; to find out who has it: fuser -v FILE"},
	{unix.ELOOP, "links lead in a circle on the way to %s, or scripts are each other's interpreters", "look at the links: namei; and at the first line of the script"},
	{unix.EINVAL, "%s names more than one loader, or is otherwise no sound program", "look at it: readelf -l"},
	{unix.ELIBBAD, "the loader that %s names is no sound program", "look at it: readelf -l"},
	{unix.ENOMEM, "there is not enough memory to start %s", "choose a higher --memory"},
	{unix.EAGAIN, "the user of %s has as many processes as RLIMIT_NPROC allows", "raise --ulimit nproc"},
	{unix.EIO, "%s could not be read from its file system", "dmesg has more; remove the image and pull it again"},
	{unix.ENAMETOOLONG, "the name %s is too long", "choose a shorter one"},
	{unix.EMFILE, "too many descriptors are open to start %s", "raise --ulimit nofile"},
}

func execText(errno unix.Errno, name string) (cause, remedy string) {
	for _, t := range execTexts {
		if t.errno == errno {
			return fmt.Sprintf(t.cause, plain(name)), t.remedy
		}
	}
	return "", ""
}

// notFound: none of the paths is there.
func (s *scene) notFound(e *plan.Exec, seen []*programFile) (cause, remedy string) {
	name := e.Args[0]
	for _, p := range seen {
		if p != nil && p.link != "" {
			return fmt.Sprintf("%s is a symbolic link to %s, which is not there in the container", plain(p.path), plain(p.link)), "mend the link in the image, or mount what it leads to"
		}
	}
	switch {
	case len(e.Args) == 1 && strings.ContainsAny(name, " \t"):
		remedy = "give the program and its arguments as words of their own, or have a shell take them apart: sh -c COMMAND"
	case strings.HasPrefix(name, "-"):
		remedy = "the image comes first: options stand before its name"
	case name != "sh" && slices.Contains([]string{"bash", "zsh", "ash", "dash", "ksh", "fish"}, path.Base(name)) && s.has("/bin/sh"):
		remedy = "there is /bin/sh: run sh"
	default:
		remedy = "check the spelling, or add the program to the image"
	}
	if strings.Contains(name, "/") {
		return fmt.Sprintf("there is no %s in the container", plain(name)), remedy
	}
	dirs := make([]string, len(e.Paths))
	for i, p := range e.Paths {
		dirs[i] = path.Dir(p)
	}
	return fmt.Sprintf("executable file not found in $PATH: %s is in none of its folders, %s", plain(name), quoteOdd(strings.Join(dirs, ":"))), remedy
}

func (s *scene) has(name string) bool {
	p := s.host.file(name)
	return p != nil && !p.missing
}

// contentErrors are those that what is in the file may be the reason for.
var contentErrors = [...]unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ENOEXEC, unix.ELOOP}

// notRun: there is a file. Interpreters are followed as the kernel does.
func (s *scene) notRun(e *plan.Exec, p *programFile) (cause, remedy string) {
	for range maxScripts {
		switch {
		case p.mode&unix.S_IFMT == unix.S_IFDIR:
			return fmt.Sprintf("%s is a folder", plain(p.path)), "name a program in it"
		case p.mode&unix.S_IFMT != unix.S_IFREG:
			return fmt.Sprintf("%s is no ordinary file", plain(p.path)), "name a program"
		case s.errno == unix.EACCES && p.mode&0o111 == 0:
			return fmt.Sprintf("%s is not executable: its mode is %04o", plain(p.path), p.mode&0o7777),
				fmt.Sprintf("chmod +x %s in the image%s", plain(p.path), byInterpreter(p))
		case s.errno == unix.EACCES && p.noexec:
			return fmt.Sprintf("%s is on a mount with the option noexec", plain(p.path)), "mount it without noexec (--tmpfs PATH:exec), or copy the program elsewhere"
		}
		if !p.read || !slices.Contains(contentErrors[:], s.errno) {
			return execText(s.errno, p.path)
		}
		if cause, remedy = s.notAProgram(p); cause != "" && s.errno != unix.EACCES {
			return cause, remedy
		}
		needed := p.program.Interpreter
		if needed == "" {
			break
		}
		next := s.host.file(fromCwd(e, needed))
		if next == nil {
			return execText(s.errno, p.path)
		}
		if next.missing {
			return missingInterpreter(p, needed)
		}
		p = next
	}
	if s.errno == unix.EACCES {
		return fmt.Sprintf("%s has mode %04o and belongs to uid %d: the container's user may not execute it, or not go to its folder", plain(p.path), p.mode&0o7777, p.uid),
			fmt.Sprintf("chmod a+rx %s and the folders above it in the image, or choose another --user", plain(p.path))
	}
	return execText(s.errno, p.path)
}

func fromCwd(e *plan.Exec, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join("/", e.Cwd) + "/" + name
}

// byInterpreter is another way to run a script.
func byInterpreter(p *programFile) string {
	switch {
	case p.read && p.program.Kind == program.Script && !p.program.CR && p.program.Interpreter != "":
		return fmt.Sprintf(", or run: %s %s", plain(p.program.Interpreter), plain(p.path))
	case p.read && p.program.Kind == program.Text:
		return fmt.Sprintf(", or run: sh %s", plain(p.path))
	}
	return ""
}

// notAProgram: the kernel doesn't know what to do with the bytes.
func (s *scene) notAProgram(p *programFile) (cause, remedy string) {
	name, g := plain(p.path), p.program
	switch g.Kind {
	case program.Empty:
		return name + " is an empty file", "the build or the copy of it has gone wrong: put the program there"
	case program.Text:
		if g.BOM {
			return name + " begins with a byte order mark, so the kernel doesn't see its #!", "take it off: sed -i '1s/^\\xef\\xbb\\xbf//' " + name
		}
		return name + " is a text whose first line names no interpreter with #!", "add the line #!/bin/sh at its top, or run: sh " + name
	case program.Windows:
		return name + " is a program for Windows", "build it for Linux: GOOS=linux, or the toolchain's like"
	case program.MacOS:
		return name + " is a program for macOS", "build it for Linux: GOOS=linux, or the toolchain's like"
	case program.Java:
		return name + " is a Java class", "run it by java"
	case program.Archive:
		return name + " is an archive or a compressed file", "unpack it in the image"
	case program.Unknown:
		return name + " is no program: its first bytes are none that the kernel knows", "see what it is: file " + name
	case program.Script:
		return badScript(name, g)
	}
	if g.Broken != "" {
		return fmt.Sprintf("%s is no sound program: %s", name, g.Broken), "build or copy it again"
	}
	if s.errno == unix.ENOEXEC && g.Machine != s.host.arch() {
		return fmt.Sprintf("%s is a program for %s, and this machine is %s", name, g.Machine, s.host.arch()),
			fmt.Sprintf("take the image for this machine (--platform linux/%s), or install QEMU's handlers: apt install qemu-user-static", s.host.arch())
	}
	return "", ""
}

func badScript(name string, g program.Program) (cause, remedy string) {
	switch {
	case g.Cut:
		return "the first line of " + name + " is longer than the 255 bytes that the kernel reads", "shorten the interpreter's path, or link to it from a shorter one"
	case g.Interpreter == "" || g.Interpreter == "\r":
		return "the first line of " + name + " names no interpreter after #!", "write the line as #!/bin/sh"
	case g.CR:
		return fmt.Sprintf("the first line of %s ends in a carriage return, which the kernel takes for a part of the name %q", name, g.Interpreter), "give it Unix line ends: sed -i 's/\\r$//' " + name
	}
	return "", ""
}

// loaders are the C libraries by what their loaders' names begin with.
var loaders = [...]struct{ prefix, libc, other string }{
	{"ld-musl-", "musl", "an image with musl, as Alpine's"},
	{"ld-linux", "glibc", "an image with glibc, as Debian's"},
	{"ld64.so", "glibc", "an image with glibc, as Debian's"},
	{"ld.so", "glibc", "an image with glibc, as Debian's"},
}

// missingInterpreter: the kernel's "no such file" is about another file than
// the one that was named.
func missingInterpreter(p *programFile, needed string) (cause, remedy string) {
	name, other := plain(p.path), plain(needed)
	if p.program.Kind == program.Script {
		cause = fmt.Sprintf("%s is there, but not the interpreter that its first line names: %s", name, other)
		if !path.IsAbs(needed) {
			return cause, fmt.Sprintf("write the interpreter's full path: #!/usr/bin/env %s", other)
		}
		return cause, fmt.Sprintf("add %s to the image, or write an interpreter that it has, as #!/bin/sh", other)
	}
	cause = fmt.Sprintf("%s is there, but not the loader that it needs: %s", name, other)
	for _, l := range loaders {
		if strings.HasPrefix(path.Base(needed), l.prefix) {
			return cause + ", of the C library " + l.libc, "link it statically (Go: CGO_ENABLED=0), or use " + l.other
		}
	}
	return cause, "link it statically, or add the loader to the image"
}
