// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/dbus"
	"vitro/internal/outside"
)

// IsRunning reports whether the machine has been booted with systemd
// (sd_booted(3)).
func IsRunning() bool {
	var st unix.Stat_t
	return unix.Lstat("/run/systemd/system", &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// A Bus is a socket that systemd is to be reached at.
type Bus struct {
	Socket string `json:"socket"` // a path; with "@" in front an abstract one
	// Private: it is systemd's own, without a bus in between.
	Private bool `json:"private,omitempty"`
	User    bool `json:"user,omitempty"` // it leads to a user's systemd
}

// A Manager is a running systemd: what a plan has to know of it.
type Manager struct {
	Bus     Bus
	Version int
	// ControlGroup is where its cgroups begin, in every hierarchy: "/", or
	// "/user.slice/user-1000.slice/user@1000.service".
	ControlGroup string
}

// patience is how long systemd may take for a job. Tests have less.
var patience = 30 * time.Second

// The names on the bus.
const (
	service   = "org.freedesktop.systemd1"
	root      = "/org/freedesktop/systemd1"
	propertyI = "org.freedesktop.DBus.Properties"
)

var (
	managerObject = dbus.Object{Destination: service, Path: root, Interface: service + ".Manager"}
	managerValues = dbus.Object{Destination: service, Path: root, Interface: propertyI}
)

// Unreachable: there is no systemd to talk to.
type Unreachable struct {
	User bool
	Err  error
}

func (e *Unreachable) Error() string {
	if e.User {
		return "reach the user's systemd: " + e.Err.Error()
	}
	return "reach systemd: " + e.Err.Error()
}

func (e *Unreachable) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *Unreachable) Hint() string {
	if e.User {
		return "log in as the user (ssh, or machinectl shell user@), or let it run without a login: loginctl enable-linger; " +
			"XDG_RUNTIME_DIR has to be /run/user/UID"
	}
	return "leave --systemd-cgroup out where systemd is not the machine's first process"
}

// Ask finds the machine's systemd, or that of this user.
func Ask(user bool) (*Manager, error) {
	var errs []error
	for _, b := range buses(user) {
		m, err := ask(b)
		if err == nil {
			return m, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"))
	}
	return nil, &Unreachable{user, errors.Join(errs...)}
}

// buses are the sockets to try, the likeliest first.
func buses(user bool) (list []Bus) {
	if !user {
		list = append(list, Bus{Socket: "/run/systemd/private", Private: true})
		for _, s := range append(addresses(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")), "/run/dbus/system_bus_socket") {
			list = append(list, Bus{Socket: s})
		}
		return list
	}
	for _, s := range addresses(os.Getenv("DBUS_SESSION_BUS_ADDRESS")) {
		list = append(list, Bus{Socket: s, User: true})
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		dir = "/run/user/" + strconv.Itoa(outside.UID())
	}
	return append(list, Bus{Socket: dir + "/bus", User: true}, Bus{Socket: dir + "/systemd/private", Private: true, User: true})
}

// addresses are the Unix sockets in a D-Bus address:
// "unix:path=/run/user/1000/bus,guid=…;unix:abstract=/tmp/x".
func addresses(list string) []string {
	var paths []string
	for a := range strings.SplitSeq(list, ";") {
		rest, ok := strings.CutPrefix(a, "unix:")
		if !ok {
			continue
		}
		for pair := range strings.SplitSeq(rest, ",") {
			key, value, _ := strings.Cut(pair, "=")
			switch value = unescape(value); key {
			case "path":
				paths = append(paths, value)
			case "abstract":
				paths = append(paths, "@"+value)
			}
		}
	}
	return paths
}

// unescape reads %2f as a slash.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func ask(b Bus) (*Manager, error) {
	c, err := b.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	version, err := property(c, managerValues, managerObject.Interface, "Version")
	if err != nil {
		return nil, err
	}
	cgroup, err := property(c, managerValues, managerObject.Interface, "ControlGroup")
	if err != nil {
		return nil, err
	}
	m := &Manager{Bus: b, ControlGroup: filepath.Join("/", cgroup)}
	digits := strings.TrimLeft(version, "v")
	end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(digits)
	}
	if m.Version, err = strconv.Atoi(digits[:end]); err != nil {
		return nil, fmt.Errorf("read systemd's version %q: %w", version, err)
	}
	return m, nil
}

// dial connects. PIDs are going to be sent, which mean something only to who
// numbers processes as we do.
func (b Bus) dial() (*dbus.Conn, error) {
	c, err := dbus.Dial(b.Socket, !b.Private, patience)
	if err != nil {
		return nil, err
	}
	peer, err := c.Peer()
	if err == nil && !samePIDs(int(peer.Pid)) {
		err = fmt.Errorf("use %s: what listens there is of another PID namespace, where a PID is another process's", b.Socket)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// samePIDs reports whether a process is in our PID namespace. One whose
// namespace we may not look at is taken to be: it has a number here.
func samePIDs(pid int) bool {
	if pid == 0 {
		return false
	}
	own, err1 := os.Readlink("/proc/self/ns/pid")
	its, err2 := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	return err1 != nil || err2 != nil || own == its
}

// property asks for a property that is text.
func property(c *dbus.Conn, of dbus.Object, iface, name string) (string, error) {
	body, err := c.Call(of, "Get", "ss", iface, name)
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", name, err)
	}
	if len(body) == 1 {
		if v, ok := body[0].(dbus.Variant); ok {
			if s, ok := v.Value.(string); ok {
				return s, nil
			}
		}
	}
	return "", fmt.Errorf("ask for %s: the answer is %v", name, body)
}
