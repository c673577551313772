// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// start runs the steps in a child with its own mount namespace, and for an
// ordinary user in a user namespace, and returns the fault.
func start(t *testing.T, flags uint64, actions ...plan.Action) *Fault {
	t.Helper()
	flags |= unix.CLONE_NEWNS
	if os.Geteuid() != 0 {
		flags |= unix.CLONE_NEWUSER
	}
	p := &plan.Plan{}
	p.Add("", &plan.Clone{Flags: flags})
	for _, a := range actions {
		p.Add("", a)
	}
	child, err := Start(p, Options{})
	if err == nil {
		_, _, _ = child.Wait()
		t.Fatal("it ran")
	}
	var f *Fault
	if !errors.As(err, &f) {
		t.Fatalf("not a fault: %v", err)
	}
	if f.Step.Action.Verb() == "clone" {
		t.Skipf("needs new namespaces: %v (%s)", f, f.Cause)
	}
	return f
}

// check compares what a fault says. DIR stands for a folder.
func check(t *testing.T, f *Fault, dir, cause, hint string) {
	t.Helper()
	cause, hint = strings.ReplaceAll(cause, "DIR", dir), strings.ReplaceAll(hint, "DIR", dir)
	if f.Cause != cause || f.Hint() != hint {
		t.Errorf("%v\n%s\ncause: %s\n want: %s\n hint: %s\n want: %s", f, f.Detail(), f.Cause, cause, f.Hint(), hint)
	}
}

// program makes a static ELF program for a machine, with a loader if one is named.
func elfProgram(machine uint16, loader string) string {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], machine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	if loader != "" {
		le.PutUint32(b[64:], 3)
		le.PutUint64(b[72:], uint64(len(b)))
		le.PutUint64(b[96:], uint64(len(loader)+1))
		b = append(append(b, loader...), 0)
	}
	return string(b)
}

// Machines: ours, and one that neither we nor an emulator run.
func ourMachine() uint16 {
	if runtime.GOARCH == "arm64" {
		return 183
	}
	return 62
}

const sparc = 43

func TestExecFaults(t *testing.T) {
	here := runtime.GOARCH
	for _, c := range []struct {
		name    string
		content string // of the file "prog"; "-" for none
		mode    os.FileMode
		args    []string // the first in the test's folder; nil: prog
		errno   unix.Errno
		code    int
		cause   string
		hint    string
	}{
		{"missing", "-", 0, nil, unix.ENOENT, 127,
			"there is no DIR/prog in the container", "check the spelling, or add the program to the image"},
		{"a whole command in one word", "-", 0, []string{"prog -x"}, unix.ENOENT, 127,
			`there is no "DIR/prog -x" in the container`, "give the program and its arguments as words of their own, or have a shell take them apart: sh -c COMMAND"},
		{"below a file", "x", 0o755, []string{"prog/x"}, unix.ENOTDIR, 127,
			"there is no DIR/prog/x in the container", "check the spelling, or add the program to the image"},
		{"not executable", "#!/bin/sh\n", 0o644, nil, unix.EACCES, 126,
			"DIR/prog is not executable: its mode is 0644", "chmod +x DIR/prog in the image, or run: /bin/sh DIR/prog"},
		{"program that is not executable", elfProgram(ourMachine(), ""), 0o644, nil, unix.EACCES, 126,
			"DIR/prog is not executable: its mode is 0644", "chmod +x DIR/prog in the image"},
		{"a folder", "-", 0, []string{"."}, unix.EACCES, 126,
			"DIR/. is a folder", "name a program in it"},
		{"empty", "", 0o755, nil, unix.ENOEXEC, 126,
			"DIR/prog is an empty file", "the build or the copy of it has gone wrong: put the program there"},
		{"text", "echo hello\n", 0o755, nil, unix.ENOEXEC, 126,
			"DIR/prog is a text whose first line names no interpreter with #!", "add the line #!/bin/sh at its top, or run: sh DIR/prog"},
		{"byte order mark", "\xef\xbb\xbf#!/bin/sh\n", 0o755, nil, unix.ENOEXEC, 126,
			"DIR/prog begins with a byte order mark, so the kernel doesn't see its #!", `take it off: sed -i '1s/^\xef\xbb\xbf//' DIR/prog`},
		{"no interpreter named", "#!\n", 0o755, nil, unix.ENOEXEC, 126,
			"the first line of DIR/prog names no interpreter after #!", "write the line as #!/bin/sh"},
		{"carriage return", "#!/bin/sh\r\necho\r\n", 0o755, nil, unix.ENOENT, 127,
			`the first line of DIR/prog ends in a carriage return, which the kernel takes for a part of the name "/bin/sh\r"`, `give it Unix line ends: sed -i 's/\r$//' DIR/prog`},
		{"missing interpreter", "#!/opt/none/bash -x\n", 0o755, nil, unix.ENOENT, 127,
			"DIR/prog is there, but not the interpreter that its first line names: /opt/none/bash", "add /opt/none/bash to the image, or write an interpreter that it has, as #!/bin/sh"},
		{"relative interpreter", "#!nonesuch\n", 0o755, nil, unix.ENOENT, 127,
			"DIR/prog is there, but not the interpreter that its first line names: nonesuch", "write the interpreter's full path: #!/usr/bin/env nonesuch"},
		{"hostile interpreter", "#!/\x1b[31m\n", 0o755, nil, unix.ENOENT, 127,
			`DIR/prog is there, but not the interpreter that its first line names: "/\x1b[31m"`, `add "/\x1b[31m" to the image, or write an interpreter that it has, as #!/bin/sh`},
		{"glibc's loader", elfProgram(ourMachine(), "/opt/none/ld-linux-x86-64.so.2"), 0o755, nil, unix.ENOENT, 127,
			"DIR/prog is there, but not the loader that it needs: /opt/none/ld-linux-x86-64.so.2, of the C library glibc", "link it statically (Go: CGO_ENABLED=0), or use an image with glibc, as Debian's"},
		{"musl's loader", elfProgram(ourMachine(), "/opt/none/ld-musl-x86_64.so.1"), 0o755, nil, unix.ENOENT, 127,
			"DIR/prog is there, but not the loader that it needs: /opt/none/ld-musl-x86_64.so.1, of the C library musl", "link it statically (Go: CGO_ENABLED=0), or use an image with musl, as Alpine's"},
		{"another machine", elfProgram(sparc, ""), 0o755, nil, unix.ENOEXEC, 126,
			"DIR/prog is a program for sparc64, and this machine is " + here, "take the image for this machine (--platform linux/" + here + "), or install QEMU's handlers: apt install qemu-user-static"},
		{"object file", strings.Replace(elfProgram(ourMachine(), ""), "\x02\x00", "\x01\x00", 1), 0o755, nil, unix.ENOEXEC, 126,
			"DIR/prog is no sound program: it is an object file, not yet linked", "build or copy it again"},
		{"Windows", "MZ\x90\x00\x03", 0o755, nil, unix.ENOEXEC, 126,
			"DIR/prog is a program for Windows", "build it for Linux: GOOS=linux, or the toolchain's like"},
		{"arguments too large", "#!/bin/sh\n", 0o755, []string{"prog", strings.Repeat("x", 1<<18)}, unix.E2BIG, 126,
			"the arguments and the environment of DIR/prog are too large: each may have 128 KiB, all together a quarter of the stack limit", "pass less, by files or standard input; or raise --ulimit stack"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.content != "-" {
				if err := os.WriteFile(filepath.Join(dir, "prog"), []byte(c.content), c.mode); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"prog"}, c.args...)
			if c.args != nil {
				args = args[1:]
			}
			args[0] = dir + "/" + args[0]
			f := start(t, 0, &plan.Exec{Paths: args[:1], Args: args, Cwd: "/"})
			check(t, f, dir, c.cause, c.hint)
			if f.Err != c.errno || ExitCode(fmt.Errorf("run: %w", f)) != c.code {
				t.Errorf("err %v, exit code %d; want %v, %d", f.Err, ExitCode(f), c.errno, c.code)
			}
		})
	}
}

// The files that several steps make: a busy one, links, a search through PATH.
func TestExecSearch(t *testing.T) {
	dir := t.TempDir()
	t.Chdir("/") // where a container is when its folder is looked up
	for _, d := range []string{"a", "b", "c"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, content string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("b/denied", "#!/bin/sh\n", 0o600)
	write("b/lost", "#!/opt/none\n", 0o755)
	write("a/text", "hello", 0o755)
	write("chain", "#!"+dir+"/b/lost\n", 0o755)
	for _, l := range [][2]string{{"/opt/none", "c/link"}, {"loop", "loop"}} {
		if err := os.Symlink(l[0], filepath.Join(dir, l[1])); err != nil {
			t.Fatal(err)
		}
	}
	search := func(name string) []string {
		return []string{dir + "/a/" + name, dir + "/b/" + name, dir + "/c/" + name}
	}
	for _, c := range []struct {
		name, arg   string
		paths       []string
		decisive    int // of the paths
		errno       unix.Errno
		code        int
		cause, hint string
	}{
		{"nowhere", "nonesuch", search("nonesuch"), 2, unix.ENOENT, 127,
			"executable file not found in $PATH: nonesuch is in none of its folders, DIR/a:DIR/b:DIR/c", "check the spelling, or add the program to the image"},
		{"a shell that is not there", "fish", search("fish"), 2, unix.ENOENT, 127,
			"executable file not found in $PATH: fish is in none of its folders, DIR/a:DIR/b:DIR/c", "there is /bin/sh: run sh"},
		{"denied before missing", "denied", search("denied"), 1, unix.EACCES, 126,
			"DIR/b/denied is not executable: its mode is 0600", "chmod +x DIR/b/denied in the image, or run: /bin/sh DIR/b/denied"},
		{"missing interpreter before missing", "lost", search("lost"), 1, unix.ENOENT, 127,
			"DIR/b/lost is there, but not the interpreter that its first line names: /opt/none", "add /opt/none to the image, or write an interpreter that it has, as #!/bin/sh"},
		{"the search ends at a text", "text", search("text"), 0, unix.ENOEXEC, 126,
			"DIR/a/text is a text whose first line names no interpreter with #!", "add the line #!/bin/sh at its top, or run: sh DIR/a/text"},
		{"a link to nowhere", "link", search("link"), 2, unix.ENOENT, 127,
			"DIR/c/link is a symbolic link to /opt/none, which is not there in the container", "mend the link in the image, or mount what it leads to"},
		{"a circle of links", dir + "/loop", []string{dir + "/loop"}, 0, unix.ELOOP, 126,
			"links lead in a circle on the way to DIR/loop, or scripts are each other's interpreters", "look at the links: namei; and at the first line of the script"},
		{"an interpreter's interpreter", dir + "/chain", []string{dir + "/chain"}, 0, unix.ENOENT, 127,
			"DIR/b/lost is there, but not the interpreter that its first line names: /opt/none", "add /opt/none to the image, or write an interpreter that it has, as #!/bin/sh"},
		{"relative to the working directory", "b/lost", []string{"b/lost"}, 0, unix.ENOENT, 127,
			"DIR/b/lost is there, but not the interpreter that its first line names: /opt/none", "add /opt/none to the image, or write an interpreter that it has, as #!/bin/sh"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "a shell that is not there" {
				if _, err := os.Stat("/bin/sh"); err != nil {
					t.Skip("needs a /bin/sh on this machine")
				}
			}
			f := start(t, 0, &plan.Chdir{Path: dir}, &plan.Exec{Paths: c.paths, Args: []string{c.arg}, Cwd: dir})
			check(t, f, dir, c.cause, c.hint)
			if f.Err != c.errno || ExitCode(f) != c.code {
				t.Errorf("err %v, exit code %d; want %v, %d", f.Err, ExitCode(f), c.errno, c.code)
			}
			if at := fmt.Sprintf("execve(%q", c.paths[c.decisive]); !strings.HasPrefix(f.Call, at) {
				t.Errorf("the call is %s; want %s", f.Call, at)
			}
		})
	}
}

func TestExecBusy(t *testing.T) {
	prog := filepath.Join(t.TempDir(), "prog")
	f, err := os.OpenFile(prog, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fault := start(t, 0, &plan.Exec{Paths: []string{prog}, Args: []string{prog}, Cwd: "/"})
	check(t, fault, prog, "somebody has DIR open for writing", "close it; to find out who has it: fuser -v FILE")
}

func TestExecNoexec(t *testing.T) {
	dir := t.TempDir()
	prog := filepath.Join(dir, "prog")
	if err := os.WriteFile(prog, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	bind := &plan.Bind{Source: dir, Target: "/", Set: unix.MOUNT_ATTR_NOEXEC, Share: unix.MS_PRIVATE}
	f := start(t, 0, &plan.Propagation{Flag: unix.MS_REC | unix.MS_PRIVATE}, bind, &plan.SetRoot{At: dir},
		&plan.Exec{Paths: []string{prog}, Args: []string{prog}, Cwd: "/"})
	check(t, f, dir, "DIR/prog is on a mount with the option noexec", "mount it without noexec (--tmpfs PATH:exec), or copy the program elsewhere")
}

// A link in the image must not lead the diagnosis to the host's files: the
// answer would depend on them.
func TestExecLookStaysInRoot(t *testing.T) {
	root := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("#!/host/path/of/the/secret\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, to := range []struct{ name, target string }{{"absolute", secret}, {"up", "../../../../../../../.." + secret}} {
		if err := os.Symlink(to.target, filepath.Join(root, to.name)); err != nil {
			t.Fatal(err)
		}
		name := "/" + to.name
		bind := &plan.Bind{Source: root, Target: "/", Share: unix.MS_PRIVATE}
		f := start(t, 0, &plan.Propagation{Flag: unix.MS_REC | unix.MS_PRIVATE}, bind, &plan.SetRoot{At: root}, &plan.Pivot{},
			&plan.Exec{Paths: []string{name}, Args: []string{name}, Cwd: "/"})
		check(t, f, "", name+" is a symbolic link to "+to.target+", which is not there in the container", "mend the link in the image, or mount what it leads to")
	}
}

func TestExecUnseen(t *testing.T) {
	// where the root can't be looked at, the error alone is explained
	for _, c := range []struct {
		tried []unix.Errno
		errno unix.Errno
		code  int
		cause string
	}{
		{[]unix.Errno{unix.ENOENT, unix.ENOENT}, unix.ENOENT, 127, "there is no /b/x in the container, or its interpreter or loader is missing there"},
		{[]unix.Errno{unix.EACCES, unix.ENOENT}, unix.EACCES, 126, "/a/x is not executable for the container's user, or is a folder, or its mount is noexec"},
		{[]unix.Errno{unix.ENOEXEC, 0}, unix.ENOEXEC, 126, "the kernel knows no way to execute /a/x: it is for another kind of machine, or a script without #!"},
		{[]unix.Errno{0, 0}, unix.EPERM, 126, "a seccomp filter or a security module forbids to execute x"},
	} {
		err := error(unix.EPERM)
		for _, e := range c.tried {
			if e != 0 {
				err = e
			}
		}
		f := &Fault{Step: plan.Step{Action: &plan.Exec{Paths: []string{"/a/x", "/b/x"}, Args: []string{"x"}, Cwd: "/"}}, Err: err}
		(&scene{fault: f, tried: c.tried, host: &fakeLook{}}).explain()
		if f.Cause != c.cause || f.Err != c.errno || ExitCode(f) != c.code {
			t.Errorf("%v: %q, %v, %d; want %q, %v, %d", c.tried, f.Cause, f.Err, ExitCode(f), c.cause, c.errno, c.code)
		}
	}
}

func TestExitCode(t *testing.T) {
	mount := &Fault{Step: plan.Step{Action: &plan.NewFS{}}, Err: unix.ENOENT}
	killed := &Fault{Step: plan.Step{Action: &plan.Exec{}}, Err: errors.New("the child was killed")}
	for _, c := range []struct {
		err  error
		want int
	}{{nil, 0}, {errors.New("x"), 125}, {unix.ENOENT, 125}, {mount, 125}, {killed, 125}} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("ExitCode(%v) = %d; want %d", c.err, got, c.want)
		}
	}
}
