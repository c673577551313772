// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A request is what a process asks of a device.
type request struct {
	kind         byte
	major, minor int64
	access       Access
}

// allowed is the meaning of rules, word for word: for each access the last rule
// that matches decides, and none means no.
func allowed(rules []Device, r request) bool {
	for bit := Access(1); bit <= Write; bit <<= 1 {
		if r.access&bit == 0 {
			continue
		}
		ok := false
		for _, d := range rules {
			if (d.Type == 0 || d.Type == r.kind) && covers(d.Major, r.major) && covers(d.Minor, r.minor) && d.Access&bit != 0 {
				ok = d.Allow
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// run is the kernel's interpreter, for the instructions there are.
func (p Program) run(t *testing.T, r request) bool {
	t.Helper()
	kind := uint64(1)
	if r.kind == 'c' {
		kind = 2
	}
	context := map[int16]uint64{0: kind | uint64(r.access)<<16, 4: uint64(r.major), 8: uint64(r.minor)}
	var reg [11]uint64
	for pc := 0; pc < len(p); pc++ {
		in := p[pc]
		imm := uint64(int64(in.Imm))
		switch in.Op {
		case opLoad:
			reg[in.Dst] = context[in.Off]
		case opMov:
			reg[in.Dst] = reg[in.Src]
		case opMovImm:
			reg[in.Dst] = imm
		case opAnd:
			reg[in.Dst] &= imm
		case opShr:
			reg[in.Dst] >>= imm
		case opJeq:
			if reg[in.Dst] == imm {
				pc += int(in.Off)
			}
		case opJne:
			if reg[in.Dst] != imm {
				pc += int(in.Off)
			}
		case opExit:
			return reg[0] != 0
		default:
			t.Fatalf("instruction %d is %s", pc, in)
		}
	}
	t.Fatal("the program has no end")
	return false
}

// fileV1 is the kernel's bookkeeping of a devices cgroup of version 1
// (security/device_cgroup.c): a default, and exceptions from it.
type fileV1 struct {
	allow  bool
	except []Device
}

func (f *fileV1) write(t *testing.T, e Entry) {
	t.Helper()
	allow := e.File == "devices.allow"
	if e.Value == "a" {
		f.allow, f.except = allow, nil
		return
	}
	d := parseLine(t, e.Value)
	if allow == f.allow {
		t.Fatalf("%s %q takes an exception back", e.File, e.Value)
	}
	f.except = append(f.except, d)
}

func parseLine(t *testing.T, s string) Device {
	t.Helper()
	f := strings.Fields(s)
	numbers := strings.Split(f[1], ":")
	r := specs.LinuxDeviceCgroup{Type: f[0], Access: f[2]}
	for i, p := range []**int64{&r.Major, &r.Minor} {
		if numbers[i] != "*" {
			n := int64(parseSize(numbers[i]))
			*p = &n
		}
	}
	d, bad := checkDevice(r)
	if bad != "" {
		t.Fatalf("%q: %s", s, bad)
	}
	return d
}

// may asks as the kernel does: denied by default, a single exception has to
// cover all accesses; allowed by default, none may touch one.
func (f *fileV1) may(r request) bool {
	for _, d := range f.except {
		if d.Type != r.kind || !covers(d.Major, r.major) || !covers(d.Minor, r.minor) {
			continue
		}
		if f.allow && d.Access&r.access != 0 || !f.allow && r.access&^d.Access == 0 {
			return !f.allow
		}
	}
	return f.allow
}

// decode makes rules and a request of random bytes. There are few numbers, so
// that they meet.
func decode(b []byte) (rules []Device, ask request, ok bool) {
	if len(b) < 2 {
		return nil, ask, false
	}
	number := func(n byte) int64 { return int64(n%4) - 1 }
	ask = request{"bc"[b[0]&1], int64(b[0] >> 1 % 3), int64(b[0] >> 4 % 3), Access(b[1]%7 + 1)}
	for b = b[2:]; len(b) >= 2; b = b[2:] {
		rules = append(rules, Device{
			Allow: b[0]&1 == 0, Type: [...]byte{0, 'b', 'c', 'c'}[b[0]>>1&3],
			Major: number(b[0] >> 3), Minor: number(b[0] >> 5), Access: Access(b[1]%7 + 1),
		})
	}
	return rules, ask, true
}

func FuzzDevices(f *testing.F) {
	f.Add([]byte{0x13, 2, 1, 6, 0x28, 6, 0x49, 2})
	f.Add([]byte{0x13, 5, 0, 6, 0x2d, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if rules, ask, ok := decode(b); ok {
			compareDevices(t, rules, ask)
		}
	})
}

func TestDevicesAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50000 {
		b := make([]byte, 2+2*random.IntN(6))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		rules, ask, _ := decode(b)
		compareDevices(t, rules, ask)
	}
}

func compareDevices(t *testing.T, rules []Device, ask request) {
	t.Helper()
	want := allowed(rules, ask)
	p := DeviceProgram(rules)
	if got := p.run(t, ask); got != want {
		t.Fatalf("%+v of %v: the program says %v, want %v\n%s", ask, rules, got, want, p)
	}
	if allowsAll(rules) && !want {
		t.Fatalf("%v allows all, but not %+v", rules, ask)
	}
	lines, err := devicesV1(rules)
	if err != nil {
		return
	}
	v1 := fileV1{allow: true}
	for _, l := range lines {
		v1.write(t, l)
	}
	// of two exceptions that only overlap, version 1 does not add up the accesses
	several := ask.access&(ask.access-1) != 0
	if got := v1.may(ask); got != want && (got || !several) {
		t.Fatalf("%+v of %v: version 1 says %v, want %v: %v", ask, rules, got, want, lines)
	}
}

// Every jump ends within the program, and every instruction can be reached: the
// verifier wants both.
func TestDeviceProgramIsReachable(t *testing.T) {
	for _, rules := range [][]Device{
		nil,
		mustDevices(t, DefaultDevices()),
		{{Allow: true, Major: -1, Minor: -1, Access: fullAccess}},
		{{Allow: true, Type: 'c', Major: 8, Minor: -1, Access: Read}, {Major: -1, Minor: -1, Access: fullAccess}, {Major: 3, Minor: 4, Access: Write}},
	} {
		p := DeviceProgram(rules)
		seen := make([]bool, len(p))
		var walk func(pc int)
		walk = func(pc int) {
			for !seen[pc] {
				seen[pc] = true
				switch p[pc].Op {
				case opJeq, opJne:
					walk(pc + 1 + int(p[pc].Off))
				case opExit:
					return
				}
				pc++
			}
		}
		walk(0)
		for i, ok := range seen {
			if !ok {
				t.Errorf("instruction %d can't be reached:\n%s", i, p)
			}
		}
	}
}

func TestDeviceProgramText(t *testing.T) {
	rules := []Device{
		{Major: -1, Minor: -1, Access: fullAccess},
		{Allow: true, Type: 'c', Major: 1, Minor: 3, Access: fullAccess},
		{Type: 'b', Major: 8, Minor: -1, Access: Write},
	}
	golden(t, "program", DeviceProgram(rules).String())
}

func mustDevices(t *testing.T, rules []specs.LinuxDeviceCgroup) []Device {
	t.Helper()
	d, err := Devices(rules)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDevices(t *testing.T) {
	for _, c := range []struct{ rule, want string }{
		{`{"allow":false,"access":"rwm"}`, "a"},
		{`{"allow":false,"type":"a"}`, "a"},
		{`{"allow":true,"type":"c","major":1,"minor":3,"access":"mr"}`, "c 1:3 rm"},
		{`{"allow":true,"type":"b","access":"w"}`, "b *:* w"},
		{`{"allow":true,"type":"a","major":7,"access":"r"}`, "a 7:* r"},
		{`{"allow":true,"type":"u","major":-1,"minor":5,"access":"r"}`, "c *:5 r"},
		{`{"allow":true,"type":"p","access":"r"}`, `set devices[0] to "p *:* r": the type is none of a, b, c`},
		{`{"allow":true,"type":"c","access":"rx"}`, `set devices[0] to "c *:* rx": the access is not made of r, w, m`},
		{`{"allow":true,"type":"c"}`, `set devices[0] to "c *:* ": no access`},
		{`{"allow":true,"type":"c","major":4294967296,"access":"r"}`, `set devices[0] to "c 4294967296:* r": a device number out of range`},
	} {
		got, err := Devices(resources(t, `{"devices":[`+c.rule+`]}`).Devices)
		text := ""
		if err != nil {
			text = err.Error()
		} else {
			text = got[0].String()
		}
		if text != c.want {
			t.Errorf("%s = %q, want %q", c.rule, text, c.want)
		}
	}
}

func TestAttachDevicesJSON(t *testing.T) {
	a := &AttachDevices{Path: "/x", Rules: mustDevices(t, DefaultDevices())}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	back := new(AttachDevices)
	if err := json.Unmarshal(text, back); err != nil || !reflect.DeepEqual(a, back) {
		t.Errorf("%s comes back as %+v, %v", text, back, err)
	}
}
