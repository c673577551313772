// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"strconv"
	"strings"

	"vitro/internal/dbus"
	"vitro/plan"
)

// tool is a command of systemd's for the right manager.
func (r Ref) tool(name string) string {
	if r.Bus.User {
		return name + " --user"
	}
	return name
}

func (r Ref) busctl(member, sig string) string {
	return r.tool("busctl") + " call " + plan.Quote(service, root, managerObject.Interface, member, sig)
}

// Shell calls the same method by busctl(1), and waits for what it does.
func (a *Start) Shell(s *plan.Script) {
	pids, n := "", len(a.Properties)
	if a.isScope() {
		pids, n = ` PIDs au 1 "$PID"`, n+1
	}
	s.Run("%s %s fail %d%s%s 0 >/dev/null", a.busctl("StartTransientUnit", "ssa(sv)a(sa(sv))"), plan.Quote(a.Unit), n, arguments(a.Properties), pids)
	if a.isScope() {
		s.Run(`until grep -qF %s "/proc/$PID/cgroup"; do sleep 0.01; done`, plan.Quote("/"+a.Unit))
	}
	a.Undo().Shell(s.Undoing())
}

// Shell stops it by systemctl(1); most have gone by then.
func (a *Stop) Shell(s *plan.Script) {
	s.Run("%s stop %s 2>/dev/null", a.tool("systemctl"), plan.Quote(a.Unit))
}

// Shell calls the same method by busctl(1).
func (a *Set) Shell(s *plan.Script) {
	s.Run("%s %s true %d%s", a.busctl("SetUnitProperties", "sba(sv)"), plan.Quote(a.Unit), len(a.Properties), arguments(a.Properties))
	if back := a.Undo(); back != nil {
		back.Shell(s.Undoing())
	}
}

// arguments are properties as busctl's arguments: name, type, value.
func arguments(list []Property) string {
	var b strings.Builder
	for _, p := range list {
		if v, err := dbus.ParseText(p.Value); err == nil { // else Do refuses it
			b.WriteString(" " + plan.Quote(append([]string{p.Name}, argument("v", v)...)...))
		}
	}
	return b.String()
}

// argument is a value in busctl's words: a variant's type stands in front of
// it, an array's length too; a struct is its members.
func argument(sig string, v any) []string {
	switch v := v.(type) {
	case dbus.Variant:
		return append([]string{v.Sig}, argument(v.Sig, v.Value)...)
	case []byte:
		out := []string{strconv.Itoa(len(v))}
		for _, b := range v {
			out = append(out, strconv.Itoa(int(b)))
		}
		return out
	case []any:
		var out []string
		members := ""
		if sig[0] == 'a' {
			out = append(out, strconv.Itoa(len(v)))
		} else {
			members = sig[1 : len(sig)-1]
		}
		for _, e := range v {
			elem := sig[1:]
			if members != "" {
				elem, members, _ = dbus.Next(members)
			}
			out = append(out, argument(elem, e)...)
		}
		return out
	}
	return []string{fmt.Sprint(v)}
}
