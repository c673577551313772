// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// emulatorVar names a program to run images with, for tests of an architecture
// that this machine is not of: qemu-aarch64-static.
const emulatorVar = "VITRO_EMULATOR"

// An imageRun is an image that runs by itself, without the steps around it.
type imageRun struct {
	m    *machine
	host int // our end of the socket
	cmd  *exec.Cmd
}

// runImage executes the instructions that a linker has. Its socket is descriptor 3.
func runImage(t *testing.T, l *linker, steps, calls int) *imageRun {
	t.Helper()
	m, err := newMachine(&Options{}, steps, calls, l.regs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.unmap)
	m.page.step = noCall
	inside := *m
	inside.fd = 4
	pieces, err := l.pieces(head{sock: 3}, &inside, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, bytes.Join(pieces, nil), 0o700); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	sock := os.NewFile(uintptr(pair[1]), "socket")
	defer sock.Close()
	fd, err := unix.Dup(m.fd)
	if err != nil {
		t.Fatal(err)
	}
	page := os.NewFile(uintptr(fd), "page")
	defer page.Close()
	args := []string{file}
	if emulator := os.Getenv(emulatorVar); emulator != "" {
		args = []string{emulator, file}
	}
	r := &imageRun{m: m, host: pair[0], cmd: exec.Command(args[0], args[1:]...)}
	r.cmd.ExtraFiles = []*os.File{sock, page}
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(r.host); _ = r.cmd.Process.Kill(); _ = r.cmd.Wait() })
	return r
}

func (r *imageRun) hears(t *testing.T, want string) {
	t.Helper()
	b := make([]byte, 100)
	n, err := unix.Read(r.host, b)
	if err != nil || string(b[:max(n, 0)]) != want {
		t.Fatalf("the program says %q, %v; want %q", b[:max(n, 0)], err, want)
	}
}

func (r *imageRun) says(t *testing.T, b string) {
	t.Helper()
	if _, err := unix.Write(r.host, []byte(b)); err != nil {
		t.Fatal(err)
	}
}

// TestInterpreter has the sealed program do instructions of all kinds.
func TestInterpreter(t *testing.T) {
	l := &linker{regs: 3}
	bad := ^uint64(0)
	not := uint64(unix.ENOTRECOVERABLE) // of instructions that are passed over
	l.ops = []op{
		{nr: unix.SYS_GETPID, out: 1, timed: true},
		{kind: opWait, step: 1},
		{step: 2, timed: true, nr: unix.SYS_CLOSE, arg: [6]uint64{bad}, allow: [3]uint8{uint8(unix.EBADF)}, skipErr: 1},
		{kind: opFail, step: 2, arg: [6]uint64{not}},
		{step: 3, timed: true, nr: unix.SYS_GETPGID, reg: [3]uint16{1}, out: 2, skipOK: 1},
		{kind: opFail, step: 3, arg: [6]uint64{not}},
		{step: 3, nr: unix.SYS_FCNTL, arg: [6]uint64{0, 0, bad}, reg: [3]uint16{0, 0, 1}},
		{kind: opDone, step: 4, timed: true},
		{step: 5, timed: true, nr: unix.SYS_WRITE, arg: [6]uint64{3, l.text("hello"), 5}},
		{step: 5, nr: unix.SYS_CLOSE, arg: [6]uint64{bad}, allow: [3]uint8{1, 2, uint8(unix.EBADF)}},
		{kind: opFork, step: 5, nr: unix.SYS_CLONE, arg: [6]uint64{uint64(unix.SIGCHLD)}},
		{kind: opAwait, step: 5, arg: [6]uint64{3, 3}},
		{step: 6, nr: unix.SYS_WRITE, arg: [6]uint64{3, 0, 5}},
		{kind: opFail, step: 7, arg: [6]uint64{not}}, // never reached
	}
	l.ops[6].arg[1] = unix.F_GETFD
	for i := range l.ops {
		l.ops[i].call = uint16(i)
	}
	r := runImage(t, l, 8, len(l.ops))
	r.says(t, "g")
	for _, want := range []string{"d", "hello"} {
		r.hears(t, want)
	}
	b := make([]byte, 2)
	for i := range b { // the two processes say theirs in any order
		if _, err := unix.Read(r.host, b[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(b)
	if string(b) != "fp" {
		t.Errorf("the two processes say %q; want p and f", b)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("the first process: %v", err)
	}
	p := r.m.page
	if p.step != 6 || p.call != 12 || unix.Errno(p.errno) != unix.EFAULT {
		t.Errorf("it stopped at step %d, call %d, %v; want step 6, call 12, EFAULT", p.step, p.call, unix.Errno(p.errno))
	}
	for i, want := range map[int]unix.Errno{2: unix.EBADF, 9: unix.EBADF, 6: 0, 12: unix.EFAULT} {
		if got := r.m.errnoOf(i); got != want {
			t.Errorf("the error of call %d is %v; want %v", i, got, want)
		}
	}
	le := binary.NativeEndian
	if got := le.Uint64(r.m.mem[r.m.regsAt()+8:]); got != uint64(r.cmd.Process.Pid) {
		t.Errorf("register 1 is %d; want the process's ID, %d", got, r.cmd.Process.Pid)
	}
	if p.pid == 0 || p.pid == uint32(r.cmd.Process.Pid) {
		t.Errorf("the second process is said to be %d", p.pid)
	}
	last := int64(0)
	for step := range 7 {
		began := r.m.began(step)
		if timed := began != 0; timed != (step != 1 && step != 6) || timed && began < last {
			t.Errorf("step %d began at %d, the one before at %d", step, began, last)
		}
		last = max(last, began)
	}
}

// TestHostGone: a program that nobody tells to go on ends.
func TestHostGone(t *testing.T) {
	for name, ops := range map[string][]op{
		"waits":  {{kind: opWait}},
		"failed": {{kind: opFail, arg: [6]uint64{1}}},
		"at end": {},
	} {
		l := &linker{regs: 1, ops: ops}
		r := runImage(t, l, 1, 1)
		if name != "waits" {
			r.hears(t, "f")
			r.says(t, "g") // is no leave to go
		}
		if err := unix.Shutdown(r.host, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		if _ = r.cmd.Wait(); r.cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: %v", name, r.cmd.ProcessState)
		}
	}
}

// TestImage reads an image as others do.
func TestImage(t *testing.T) {
	p := &plan.Plan{}
	p.Add("", &plan.Clone{})
	p.Add("", pointers{})
	env := []string{"A=b"}
	p.Add("", &plan.Exec{Paths: []string{"/bin/a", "/bin/b"}, Args: []string{"a", ""}, Env: env})
	l := newLinker(nil, p)
	if err := l.link(p, &Options{}); err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(&Options{}, 3, 3, l.regs)
	if err != nil {
		t.Fatal(err)
	}
	defer m.unmap()
	pieces, err := l.pieces(head{}, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	image := bytes.Join(pieces, nil)
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Progs) != 3 || f.Type != elf.ET_EXEC || f.Entry < imageAt || f.Entry > imageAt+dataOff {
		t.Fatalf("%d segments, %v, entry %#x", len(f.Progs), f.Type, f.Entry)
	}
	for i, want := range []elf.ProgFlag{elf.PF_R | elf.PF_X, elf.PF_R, elf.PF_R | elf.PF_W} {
		if f.Progs[i].Flags != want {
			t.Errorf("segment %d is %v; want %v", i, f.Progs[i].Flags, want)
		}
	}
	for _, s := range []string{"one\x00", "two\x00", "three\x00", "/bin/a\x00", "/bin/b\x00", "A=b\x00"} {
		if n := bytes.Count(image[dataOff:], []byte(s)); n != 1 {
			t.Errorf("%q is in the image %d times", s, n)
		}
	}
	if bytes.Contains(image[:dataOff], []byte("/bin/a")) {
		t.Error("data lies in the executable page")
	}
}

// pointers is a step whose argument points to strings by way of bytes.
type pointers struct{}

func (pointers) Verb() string       { return "pointers" }
func (pointers) Line() string       { return "pointers" }
func (pointers) Shell(*plan.Script) {}
func (pointers) Lower(asm *plan.Asm) {
	inner := plan.Buf(make([]byte, 8), "", plan.Reloc{To: plan.Str("three")})
	asm.Do(plan.SysChdir, plan.Str("one"), plan.Buf(make([]byte, 16), "", plan.Reloc{To: plan.Str("two")}, plan.Reloc{Offset: 8, To: inner}))
}

// TestTooLarge: a plan with more than an instruction has numbers for is refused.
func TestTooLarge(t *testing.T) {
	p := &plan.Plan{}
	p.Add("", &plan.Clone{})
	for range noCall {
		p.Add("", &plan.Umask{})
	}
	err := newLinker(nil, p).link(p, &Options{})
	if err == nil || err.Error() != "65536 steps are too many: at most 65534" {
		t.Errorf("%v", err)
	}
}
