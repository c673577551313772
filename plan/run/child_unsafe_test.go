// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/binary"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// everyOp is a machine whose instructions are of all kinds, and harmless in
// the test's own process. Clone3 is called with flags that contradict each other.
func everyOp(t *testing.T) (m *machine, host int) {
	t.Helper()
	m, err := newMachine(nil, 8, 16)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.unmap)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	m.in, m.out = uintptr(pair[1]), uintptr(pair[1])
	m.args = cloneArgs{flags: unix.CLONE_THREAD}
	m.regs = make([]uintptr, 3)
	bad := ^uintptr(0)
	m.ops = []op{
		{kind: opCall, nr: unix.SYS_GETPID, out: 1},
		{kind: opWait, step: 1, untimed: true},
		{kind: opCall, step: 2, nr: unix.SYS_CLOSE, arg: [6]uintptr{bad}, allow: [3]uint8{uint8(unix.EBADF)}, skipErr: 1},
		{kind: opFail, step: 2, arg: [6]uintptr{uintptr(unix.ENOTRECOVERABLE)}}, // passed over
		{kind: opCall, step: 3, nr: unix.SYS_GETPGID, reg: [6]uint16{1}, out: 2, skipOK: 1},
		{kind: opFail, step: 3, arg: [6]uintptr{uintptr(unix.ENOTRECOVERABLE)}}, // passed over
		{kind: opCall, step: 3, nr: unix.SYS_FCNTL, arg: [6]uintptr{0, unix.F_GETFD}, reg: [6]uint16{0, 0, 1}},
		{kind: opDone, step: 4},
		{kind: opFork, step: 5, allow: [3]uint8{0, 0, uint8(unix.EINVAL)}},
		{kind: opFail, step: 6, arg: [6]uintptr{uintptr(unix.EXDEV)}},
		{kind: opFail, step: 7, arg: [6]uintptr{uintptr(unix.ENOTRECOVERABLE)}}, // never reached
	}
	for i := range m.ops {
		m.ops[i].call = uint16(i)
	}
	return m, pair[0]
}

// TestInterpreterDoesNotAllocate runs the child's program in this process: in
// the child, an allocation could wait for ever on a lock that a thread holds
// that is not there.
func TestInterpreterDoesNotAllocate(t *testing.T) {
	m, host := everyOp(t)
	b := make([]byte, 1)
	once := func() {
		b[0] = 'g'
		if _, err := unix.Write(host, b); err != nil {
			t.Fatal(err)
		}
		m.interpret()
		if _, err := unix.Read(host, b); err != nil || b[0] != 'd' {
			t.Fatalf("heard %q, %v", b, err)
		}
	}
	if n := testing.AllocsPerRun(100, once); n != 0 {
		t.Errorf("%v allocations in a run of the child's program", n)
	}
	if m.page.step != 6 || m.page.call != 9 || unix.Errno(m.page.errno) != unix.EXDEV {
		t.Errorf("it stopped at step %d, call %d, %v; want step 6, call 9, EXDEV", m.page.step, m.page.call, unix.Errno(m.page.errno))
	}
	if got := m.errnoOf(2); got != unix.EBADF {
		t.Errorf("the allowed error is %v; want EBADF", got)
	}
	if m.regs[1] != uintptr(unix.Getpid()) {
		t.Errorf("register 1 is %d; want this process's ID, %d", m.regs[1], unix.Getpid())
	}
	for step := range 7 {
		if timed := m.began(step) != 0; timed != (step != 1) {
			t.Errorf("step %d has a time: %t", step, timed)
		}
	}
}

// TestChildCallsNothing reads the compiled code of all that the child runs: it
// calls system calls and itself. The index checks are there, and never fail:
// the registers are as many as the program names.
func TestChildCallsNothing(t *testing.T) {
	m := new(machine)
	const self = "vitro/plan/run."
	allowed := []string{
		"syscall.RawSyscall", "syscall.RawSyscall6", "syscall.rawSyscallNoError", "internal/runtime/syscall/linux.Syscall6", "internal/runtime/syscall.Syscall6",
		self + "(*machine).tell", self + "exit", "runtime.panicBounds", "runtime.panicIndex", "runtime.goPanicIndex",
	}
	inFork := []string{
		self + "beforeFork", self + "afterFork", self + "afterForkInChild", "syscall.runtime_BeforeFork", "syscall.runtime_AfterFork", "syscall.runtime_AfterForkInChild",
		self + "rawClone", self + "(*machine).interpret", self + "(*machine).fail",
		"runtime.morestack_noctxt", // before there is a child
	}
	for _, f := range []struct {
		name string
		fn   any
		more []string
	}{
		{"interpret", (*machine).interpret, nil}, {"tell", (*machine).tell, nil}, {"exit", exit, nil},
		{"fail", (*machine).fail, nil}, {"rawClone", rawClone, nil}, {"fork", fork, inFork},
	} {
		calls := callsOf(t, f.fn)
		for _, c := range calls {
			if !slices.Contains(allowed, c) && !slices.Contains(f.more, c) {
				t.Errorf("%s calls %s", f.name, c)
			}
		}
		if f.name == "interpret" && !slices.Contains(calls, "syscall.RawSyscall6") {
			t.Errorf("interpret calls %q: the test does not see the calls", calls)
		}
	}
	_ = m
	// and one that must be seen to call the runtime
	if calls := callsOf(t, (*execution).kill); !slices.ContainsFunc(calls, func(c string) bool { return strings.HasPrefix(c, "runtime.") }) {
		t.Errorf("kill calls %q: the test does not see what the compiler puts in", calls)
	}
}

// TestStringsStay: instructions hold addresses in the block of strings, so it
// must be as large as all of them before the first is put in.
func TestStringsStay(t *testing.T) {
	p := &plan.Plan{}
	p.Add("", &plan.Clone{})
	p.Add("", pointers{})
	p.Add("", &plan.Exec{Paths: []string{"/bin/a", "/bin/b"}, Args: []string{"a", ""}, Env: []string{"A=b"}})
	var l linker
	if err := l.link(new(machine), p, p.Lower(), &Options{}); err != nil {
		t.Fatal(err)
	}
	want := "one\x00two\x00three\x00"
	for range 2 {
		want += "/bin/%\x00a\x00\x00A=b\x00"
	}
	got := strings.NewReplacer("bin/a", "bin/%", "bin/b", "bin/%").Replace(string(l.strings))
	if got != want || len(l.strings) != cap(l.strings) {
		t.Errorf("%d bytes in a block of %d: %q; want %q", len(l.strings), cap(l.strings), got, want)
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

// callsOf are the functions that a function calls directly, from its machine code.
func callsOf(t *testing.T, fn any) (names []string) {
	t.Helper()
	entry := reflect.ValueOf(fn).Pointer()
	own := runtime.FuncForPC(entry)
	size := uintptr(0)
	for at := runtime.FuncForPC(entry); at != nil && at.Entry() == entry; at = runtime.FuncForPC(entry + size) {
		size++
	}
	code := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), entry)), size)
	add := func(target uintptr) {
		f := runtime.FuncForPC(target)
		if f != nil && f.Entry() == target && target != own.Entry() {
			names = append(names, strings.TrimSuffix(f.Name(), ".abi0"))
		}
	}
	switch runtime.GOARCH {
	case "amd64": // CALL rel32; what is no call hardly ever hits the first byte of a function
		for i := 0; i+5 <= len(code); i++ {
			if code[i] == 0xe8 {
				add(entry + uintptr(i+5) + uintptr(int32(binary.LittleEndian.Uint32(code[i+1:]))))
			}
		}
	case "arm64": // BL imm26
		for i := 0; i+4 <= len(code); i += 4 {
			if w := binary.LittleEndian.Uint32(code[i:]); w>>26 == 0b100101 {
				add(entry + uintptr(i) + uintptr(int32(w<<6)>>4))
			}
		}
	default:
		t.Skipf("needs a decoder of calls for %s", runtime.GOARCH)
	}
	return names
}
