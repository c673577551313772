// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"vitro/image"
	"vitro/plan"
)

// draft is a config.json in the making, and what it is made of.
type draft struct {
	*Flags
	e      *Engine
	id     string
	dir    string // the container's folder
	image  *image.Config
	layers []string // to look users up in
	maps   *idMaps  // of a new user namespace; nil: the host's users
	spec   *specs.Spec
	size   [2]uint16 // of the caller's terminal: rows, columns
	nofile uint64    // Record.Nofile
	try    int       // see prepare

	before []plan.Step // what the mounts need
}

// defaultPath is Docker's, where the image has none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// chapters are the parts of a config.json, each read from the flags and the image.
var chapters = [...]func(*draft) error{
	(*draft).command,
	(*draft).user,
	(*draft).environment,
	(*draft).namespaces,
	(*draft).mounts,
	(*draft).limits,
	(*draft).security,
	(*draft).devices,
}

// write makes the config.json.
func (d *draft) write() error {
	d.spec = &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: "rootfs", Readonly: d.ReadOnly},
		Hostname: d.hostname(), Domainname: d.Domainname,
		Process: &specs.Process{Terminal: d.Terminal, ConsoleSize: d.consoleSize(), Cwd: "/"},
		Linux:   &specs.Linux{Sysctl: d.Sysctl}, Annotations: d.Annotations,
	}
	for _, chapter := range chapters {
		if err := chapter(d); err != nil {
			return err
		}
	}
	return nil
}

// consoleSize is that of the caller's terminal, so that the container's has it
// from its first moment on.
func (d *draft) consoleSize() *specs.Box {
	if !d.Terminal || d.size == [2]uint16{} {
		return nil
	}
	return &specs.Box{Height: uint(d.size[0]), Width: uint(d.size[1])}
}

func (d *draft) hostname() string {
	switch {
	case d.UTS == "host":
		return ""
	case d.Hostname != "":
		return d.Hostname
	case d.Network == "host":
		return hostHostname()
	}
	if name, ok := d.sharedFile("hostname"); ok {
		return strings.TrimSpace(name)
	}
	return d.id[:12]
}

// command is what runs, and where.
func (d *draft) command() error {
	p := d.spec.Process
	p.Args = (&Record{Flags: *d.Flags, Config: *d.image}).Command()
	if len(p.Args) == 0 {
		return hint(errors.New("run container: no command"), "the image names none: give one after it")
	}
	if d.Init {
		p.Args = append([]string{initPath, "--"}, p.Args...)
	}
	p.Cwd = "/"
	if dir := d.image.WorkingDir; dir != "" {
		p.Cwd = path.Clean("/" + dir)
	}
	if d.Workdir != "" {
		if !path.IsAbs(d.Workdir) {
			return fmt.Errorf("use %q as working directory: not an absolute path", d.Workdir)
		}
		p.Cwd = path.Clean(d.Workdir)
	}
	return nil
}

// environment is the image's, under the flags'. Nothing of our own gets in.
func (d *draft) environment() error {
	p := d.spec.Process
	env := []string{defaultPath}
	if d.Terminal {
		env = append(env, "TERM=xterm")
	}
	if d.spec.Hostname != "" {
		env = append(env, "HOSTNAME="+d.spec.Hostname)
	}
	env = merge(env, d.image.Env)
	if d.TZ != "" {
		env = merge(env, []string{"TZ=" + d.TZ})
	}
	files, err := readEnvFiles(d.EnvFiles)
	if err != nil {
		return err
	}
	flags, err := readEnv(d.Env)
	if err != nil {
		return err
	}
	p.Env = merge(merge(env, files), flags)
	if !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		p.Env = append(p.Env, "HOME="+d.home(p.User.UID))
	}
	return nil
}

// namespaceFlags are the kinds of namespaces by their flags, with what the
// flag's absence means.
var namespaceFlags = [...]struct {
	typ  specs.LinuxNamespaceType
	kind string // in /proc/PID/ns
	name string // of the flag
	flag func(*Flags) string
	host bool // shared with the host if nothing is said
}{
	{specs.PIDNamespace, "pid", "pid", func(f *Flags) string { return f.PID }, false},
	{specs.NetworkNamespace, "net", "network", func(f *Flags) string { return f.Network }, false},
	{specs.IPCNamespace, "ipc", "ipc", func(f *Flags) string { return f.IPC }, false},
	{specs.UTSNamespace, "uts", "uts", func(f *Flags) string { return f.UTS }, false},
	{specs.CgroupNamespace, "cgroup", "cgroupns", func(f *Flags) string { return f.Cgroupns }, false},
	{specs.TimeNamespace, "time", "time", func(f *Flags) string { return f.Time }, true},
}

func (d *draft) namespaces() error {
	l := d.spec.Linux
	if d.UTS == "host" && (d.Flags.Hostname != "" || d.Flags.Domainname != "") {
		return hint(errors.New("read --hostname: with --uts=host the machine's own name would change"), "leave one of the two away")
	}
	l.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if d.maps != nil && !d.maps.joined {
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		l.UIDMappings, l.GIDMappings = d.maps.uid, d.maps.gid
	}
	for _, n := range namespaceFlags {
		value := n.flag(d.Flags)
		kind, arg, _ := strings.Cut(value, ":")
		switch {
		case kind == "host" || value == "" && n.host:
		case kind == "container":
			p, err := d.e.namespaceOf(arg, n.kind)
			if err != nil {
				return fmt.Errorf("join --%s=%s: %w", n.name, value, err)
			}
			l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: n.typ, Path: p})
		case kind == "ns":
			l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: n.typ, Path: arg})
		case value == "", value == "private", n.typ == specs.NetworkNamespace && (value == "none" || d.bridged()),
			n.typ == specs.IPCNamespace && (value == "shareable" || value == "none"):
			l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: n.typ})
		default:
			return hint(fmt.Errorf("read --%s=%s: no such mode", n.name, value), "the modes are host, private, container:ID, ns:PATH")
		}
	}
	if arg, ok := joined(d.Userns); ok && d.maps != nil {
		p, err := d.e.namespaceOf(arg, "user")
		if err != nil {
			return fmt.Errorf("join --userns=%s: %w", d.Userns, err)
		}
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: p})
	}
	return nil
}
