// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/dbus"
	"vitro/internal/dbus/dbustest"
	"vitro/plan"
)

// answers are what a systemd says to calls, in turn; to those that it has no
// words for it returns nothing, as a method without a result does.
type answers map[string][][]*dbus.Message

func (a answers) answer(call *dbus.Message) []*dbus.Message {
	if list := a[call.Member]; len(list) > 0 {
		a[call.Member] = list[1:]
		return list[0]
	}
	return []*dbus.Message{dbustest.Return("")}
}

// done is the answer with a job, and the signal at its end.
func done(result string) []*dbus.Message {
	const job = root + "/job/7"
	other := &dbus.Message{Type: dbus.Signal, Path: root, Interface: managerObject.Interface, Member: "JobRemoved", Sig: "uoss",
		Body: []any{uint32(6), root + "/job/6", "other.scope", "failed"}}
	m := &dbus.Message{Type: dbus.Signal, Path: root, Interface: managerObject.Interface, Member: "JobRemoved", Sig: "uoss",
		Body: []any{uint32(7), job, "x.scope", result}}
	return []*dbus.Message{other, dbustest.Return("o", job), m}
}

func one(m *dbus.Message) []*dbus.Message { return []*dbus.Message{m} }

// described is what a unit answers to who asks for its description.
func described(text string) answers {
	return answers{
		"GetUnit": {one(dbustest.Return("o", root+"/unit/x"))},
		"Get":     {one(dbustest.Return("v", dbus.Variant{Sig: "s", Value: text}))},
	}
}

func impatient(t *testing.T) {
	t.Helper()
	old := patience
	patience = 100 * time.Millisecond
	t.Cleanup(func() { patience = old })
}

func TestStart(t *testing.T) {
	exists := one(dbustest.Refuse(unitExists, "Unit x.slice was already loaded."))
	for _, c := range []struct {
		name   string
		unit   string
		silent bool
		a      answers
		want   string
		is     error
		calls  string
	}{
		{"slice", "x.slice", false, answers{"StartTransientUnit": {done("done")}}, "", nil, "StartTransientUnit"},
		{"refused", "x.scope", false, answers{"StartTransientUnit": {one(dbustest.Refuse("org.freedesktop.DBus.Error.AccessDenied", "Access denied"))}},
			`start unit "x.scope": call StartTransientUnit: Access denied (org.freedesktop.DBus.Error.AccessDenied)`, nil, "StartTransientUnit"},
		{"exists", "x.slice", false, answers{"StartTransientUnit": {exists}, "ResetFailedUnit": {one(dbustest.Refuse(noSuchUnit, "no"))}},
			`start unit "x.slice": systemd has a unit of this name already`, ErrExists, "StartTransientUnit ResetFailedUnit"},
		{"exists still", "x.slice", false, answers{"StartTransientUnit": {exists, exists}}, "", ErrExists, "StartTransientUnit ResetFailedUnit StartTransientUnit"},
		{"failed one before", "x.slice", false, answers{"StartTransientUnit": {exists, done("done")}}, "", nil, "StartTransientUnit ResetFailedUnit StartTransientUnit"},
		{"job fails", "x.scope", false, answers{"StartTransientUnit": {done("failed")}, "GetUnit": {one(dbustest.Refuse(noSuchUnit, "no"))}},
			`start unit "x.scope": its job has ended with the result "failed"`, nil, "StartTransientUnit GetUnit"},
		{"job never ends", "x.scope", true, answers{"StartTransientUnit": {one(dbustest.Return("o", "/job"))}, "GetUnit": {one(dbustest.Refuse(noSuchUnit, "no"))}},
			`start unit "x.scope": wait for its job: not done within 100ms: connection timed out`, unix.ETIMEDOUT, "StartTransientUnit GetUnit"},
		{"no job", "x.scope", false, answers{}, `start unit "x.scope": call StartTransientUnit: the answer is [], not a job`, nil, "StartTransientUnit GetUnit"},
		{"closes", "x.scope", false, answers{"StartTransientUnit": {dbustest.Hangup}}, "", dbus.ErrClosed, "StartTransientUnit GetUnit"},
		{"does not move", "x.scope", false, answers{"StartTransientUnit": {done("done")}, "GetUnit": {one(dbustest.Refuse(noSuchUnit, "no"))}},
			`start unit "x.scope": systemd has not moved process `, nil, "StartTransientUnit GetUnit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := (&dbustest.Peer{Answer: c.a.answer}).Start(t)
			if c.silent {
				impatient(t)
			}
			a := &Start{Ref: Ref{Bus: Bus{Socket: p.Socket, Private: true}, Unit: c.unit, Description: "d"}, Properties: []Property{{"TasksMax", "uint64 5"}}}
			err := a.Do(&plan.Env{Pid: os.Getpid()})
			if c.want == "" && c.is == nil {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got the error %v\nwant %q, %v", err, c.want, c.is)
			}
			var hint interface{ Hint() string }
			if err != nil && (!errors.As(err, &hint) || !strings.Contains(hint.Hint(), c.unit)) {
				t.Errorf("%v has no hint that names the unit", err)
			}
			if p.Calls() != c.calls {
				t.Errorf("the calls are %s, want %s", p.Calls(), c.calls)
			}
		})
	}
}

// What is sent is what was asked for, and the process.
func TestStartSends(t *testing.T) {
	var sent *dbus.Message
	a := answers{"StartTransientUnit": {done("done")}, "GetUnit": {one(dbustest.Refuse(noSuchUnit, "no"))}}
	p := (&dbustest.Peer{Answer: func(call *dbus.Message) []*dbus.Message {
		if call.Member == "StartTransientUnit" {
			sent = call
		}
		return a.answer(call)
	}}).Start(t)
	start := &Start{Ref: Ref{Bus: Bus{Socket: p.Socket}, Unit: "x.scope"}, Properties: []Property{{"MemoryMax", "uint64 5"}}}
	if err := start.Do(&plan.Env{Pid: os.Getpid()}); err == nil || !strings.Contains(err.Error(), "has not moved") {
		t.Errorf("the peer moves nothing, and the error is %v", err)
	}
	if sent == nil {
		t.Fatalf("the calls were %s", p.Calls())
	}
	if !strings.HasPrefix(p.Calls(), "Hello AddMatch StartTransientUnit") {
		t.Errorf("the calls were %s, want a greeting and a match first", p.Calls())
	}
	v := func(sig string, value any) dbus.Variant { return dbus.Variant{Sig: sig, Value: value} }
	want := &dbus.Message{Type: dbus.MethodCall, Serial: sent.Serial, Destination: service, Path: root, Interface: managerObject.Interface,
		Member: "StartTransientUnit", Sig: "ssa(sv)a(sa(sv))",
		Body: []any{"x.scope", "fail", []any{[]any{"MemoryMax", v("t", uint64(5))}, []any{"PIDs", v("au", []any{uint32(os.Getpid())})}}, []any{}}}
	b1, err1 := sent.Encode()
	b2, err2 := want.Encode()
	if err1 != nil || err2 != nil || string(b1) != string(b2) {
		t.Errorf("sent %+v\nwant %+v", sent, want)
	}
}

func TestStop(t *testing.T) {
	with := func(a answers, member string, list ...*dbus.Message) answers {
		a[member] = [][]*dbus.Message{list}
		return a
	}
	for _, c := range []struct {
		name  string
		a     answers
		want  string
		calls string
	}{
		{"stops", with(described("d"), "StopUnit", done("done")...), "", "GetUnit Get StopUnit ResetFailedUnit"},
		{"gone", with(answers{}, "GetUnit", dbustest.Refuse(noSuchUnit, "Unit x.scope not loaded.")), "", "GetUnit"},
		{"goes meanwhile", with(described("d"), "StopUnit", dbustest.Refuse(noSuchUnit, "Unit x.scope not loaded.")), "", "GetUnit Get StopUnit"},
		{"somebody else's", described("e"), "", "GetUnit Get"},
		{"refused", with(described("d"), "StopUnit", dbustest.Refuse("org.No", "no")), `stop unit "x.scope": call StopUnit: no (org.No)`, "GetUnit Get StopUnit"},
		{"job fails", with(described("d"), "StopUnit", done("timeout")...), `stop unit "x.scope": its job has ended with the result "timeout"`, "GetUnit Get StopUnit"},
		{"no path", with(answers{}, "GetUnit", dbustest.Return("u", uint32(1))), "the answer is [1], not a path", "GetUnit"},
		{"closes", with(answers{}, "GetUnit", nil), dbus.ErrClosed.Error(), "GetUnit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := (&dbustest.Peer{Answer: c.a.answer}).Start(t)
			stop := &Stop{Ref{Bus: Bus{Socket: p.Socket, Private: true}, Unit: "x.scope", Description: "d"}}
			err := stop.Do(nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got the error %v, want %q", err, c.want)
			}
			if p.Calls() != c.calls {
				t.Errorf("the calls are %s, want %s", p.Calls(), c.calls)
			}
		})
	}
	if err := (&Stop{Ref{Bus: Bus{Socket: t.TempDir() + "/none"}, Unit: "x.scope"}}).Do(nil); err != nil {
		t.Errorf("stop a unit of a systemd that has gone: %v", err)
	}
}

func TestSet(t *testing.T) {
	p := (&dbustest.Peer{Answer: answers{"SetUnitProperties": {
		one(dbustest.Return("")), one(dbustest.Refuse(noSuchUnit, "Unit x.scope not found.")),
	}}.answer}).Start(t)
	a := &Set{Ref: Ref{Bus: Bus{Socket: p.Socket, Private: true}, Unit: "x.scope"}, Properties: []Property{{"TasksMax", "uint64 5"}}}
	if err := a.Do(nil); err != nil {
		t.Error(err)
	}
	const want = `change unit "x.scope": call SetUnitProperties: Unit x.scope not found. (org.freedesktop.systemd1.NoSuchUnit)`
	if err := a.Do(nil); err == nil || err.Error() != want {
		t.Errorf("got the error %v, want %s", err, want)
	}
}

func TestAskFake(t *testing.T) {
	text := func(s string) []*dbus.Message { return one(dbustest.Return("v", dbus.Variant{Sig: "s", Value: s})) }
	for _, c := range []struct {
		version, cgroup string
		want            Manager
		err             string
	}{
		{"252.38-1~deb12u1", "", Manager{Version: 252, ControlGroup: "/"}, ""},
		{"v257", "/user.slice/user-5.slice/user@5.service", Manager{Version: 257, ControlGroup: "/user.slice/user-5.slice/user@5.service"}, ""},
		{"new", "", Manager{}, `read systemd's version "new"`},
	} {
		p := (&dbustest.Peer{Answer: answers{"Get": {text(c.version), text(c.cgroup)}}.answer}).Start(t)
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+p.Socket)
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		m, err := Ask(true)
		if c.err != "" {
			var away *Unreachable
			if !errors.As(err, &away) || away.Hint() == "" || !strings.Contains(err.Error(), c.err) {
				t.Errorf("Ask() = %+v, %v; want the error %q", m, err, c.err)
			}
			continue
		}
		c.want.Bus = Bus{Socket: p.Socket, User: true}
		if err != nil || *m != c.want {
			t.Errorf("Ask() = %+v, %v; want %+v", m, err, c.want)
		}
	}
}

func TestShell(t *testing.T) {
	ref := Ref{Bus: Bus{User: true}, Unit: "x.scope"}
	for _, c := range []struct {
		a    plan.Action
		want string
	}{
		{&Start{ref, []Property{{"MemoryMax", "uint64 5"}, {"AllowedCPUs", "[byte 0x03, byte 0x80]"}, {"DeviceAllow", "[('/dev/null', 'rwm')]"}}},
			"busctl --user call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit 'ssa(sv)a(sa(sv))'" +
				" x.scope fail 4 MemoryMax t 5 AllowedCPUs ay 2 3 128 DeviceAllow 'a(ss)' 1 /dev/null rwm PIDs au 1 \"$PID\" 0 >/dev/null\n" +
				`until grep -qF /x.scope "/proc/$PID/cgroup"; do sleep 0.01; done`},
		{&Set{Ref: ref, Properties: []Property{{"TasksMax", "uint64 5"}}},
			"busctl --user call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager SetUnitProperties 'sba(sv)' x.scope true 1 TasksMax t 5"},
		{&Stop{ref}, "systemctl --user stop x.scope 2>/dev/null"},
	} {
		if got := strings.Join(plan.Step{Action: c.a}.Shell(), "\n"); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.a.Line(), got, c.want)
		}
	}
}
