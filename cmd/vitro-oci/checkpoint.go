// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/checkpoint"
	"vitro/container"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// Options that checkpoint and restore share.
var (
	optImages      = option{"image-path", "", "DIR", "the folder of the images (default ./checkpoint)"}
	optWork        = option{"work-path", "", "DIR", "the folder of criu's log (default: that of the images)"}
	optEstablished = option{"tcp-established", "", "", "with its open TCP connections"}
	optUnixSk      = option{"ext-unix-sk", "", "", "with Unix sockets whose other side is outside"}
	optShellJob    = option{"shell-job", "", "", "with a terminal of the host's"}
	optLazy        = option{"lazy-pages", "", "", "hand memory over when it is asked for (userfaultfd)"}
	optLocks       = option{"file-locks", "", "", "with its locks on files"}
	optCgroups     = option{"manage-cgroups-mode", "", "soft|full|strict|ignore", "what criu does about cgroups (default soft)"}
	optEmptyNS     = option{"empty-ns", "", "network", "ignored: its network is never in the images, hooks set it up"}
	optDedup       = option{"auto-dedup", "", "", "remove from older images what newer ones have"}
)

// checkpointed is a file of a container that ended in a checkpoint: a restore
// may take its place.
const checkpointed = "checkpointed"

// checkpointContainer writes a running container to files.
func checkpointContainer(inv *invocation) (int, error) {
	c, err := inv.lock()
	if err != nil {
		return 1, err
	}
	defer c.Release()
	if s := c.Status(); s != container.Running && s != container.Paused {
		return 1, fmt.Errorf("checkpoint container %q: it is %s, not running", c.ID, s)
	}
	if err := inv.dump(c); err != nil {
		return 1, fmt.Errorf("checkpoint container %q: %w", c.ID, err)
	}
	if inv.has("leave-running") || inv.has("pre-dump") {
		return 0, nil
	}
	return 0, os.WriteFile(c.Path(checkpointed), nil, 0o600)
}

func (inv *invocation) dump(c *container.Container) error {
	b, err := kept(c)
	if err != nil {
		return err
	}
	d := &checkpoint.Dump{
		Outside: spec.Outside(b.spec, b.dir), Dirs: c.State.Cgroups,
		CgroupNS: namespace(b.spec, specs.CgroupNamespace) != nil, Parent: inv.get("parent-path"),
		PreDump: inv.has("pre-dump"), LeaveRunning: inv.has("leave-running"), SkipInFlight: inv.has("tcp-skip-in-flight"),
	}
	if ns := namespace(b.spec, specs.PIDNamespace); ns != nil {
		d.JoinsPID = ns.Path != ""
	}
	if d.Options, err = inv.criuOptions(b); err != nil {
		return err
	}
	if d.PageServer, err = pageServer(inv.get("page-server")); err != nil {
		return err
	}
	handles, err := inv.statusFD()
	if err != nil {
		return err
	}
	d.Status = len(handles) > 0
	if err := checkParent(d.Images, d.Parent); err != nil {
		return err
	}
	if err := spec.Checkpointable(b.spec); err != nil {
		return err
	}
	if d.Criu, d.Path, err = checkpoint.Find(); err != nil {
		return err
	}
	_, err = exec.LookPath("iptables-restore")
	d.NFTables = err != nil
	places := make([]string, len(d.Outside))
	for i := range d.Outside {
		places[i] = d.Outside[i].Place
	}
	if d.Seen, err = checkpoint.Look(c.State.Pid, places); err != nil {
		return err
	}
	for _, dir := range [...]string{d.Images, d.Work} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil { // memory is in it
			return err
		}
	}
	if !d.PreDump {
		if err := checkpoint.WriteStreams(d.Images, d.Seen.Streams); err != nil {
			return err
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := d.Plan()
	inv.debugPlan(p)
	_, err = run.Start(p, run.Options{Handles: handles})
	return err
}

// criuOptions reads the options that checkpoint and restore share.
func (inv *invocation) criuOptions(b *bundle) (o checkpoint.Options, err error) {
	if os.Geteuid() != 0 || spec.InUserNS() {
		return o, &checkpoint.Unusable{Err: errors.New("criu takes the rights of the machine's root"), Remedy: "call vitro-oci as root, outside of any user namespace"}
	}
	images := inv.get("image-path")
	if images == "" {
		images = "checkpoint"
	}
	o = checkpoint.Options{
		Config:         criuConfig(b.spec.Annotations),
		TCPEstablished: inv.has("tcp-established"), ExtUnixSk: inv.has("ext-unix-sk"), ShellJob: inv.has("shell-job"),
		FileLocks: inv.has("file-locks"), AutoDedup: inv.has("auto-dedup"), LazyPages: inv.has("lazy-pages"),
		Cgroups: inv.get("manage-cgroups-mode"),
	}
	if err := checkpoint.CheckMode(o.Cgroups); err != nil {
		return o, err
	}
	for _, ns := range inv.options["empty-ns"] {
		if ns != "network" {
			return o, fmt.Errorf("use --empty-ns %q: want network", ns)
		}
	}
	if o.Images, err = filepath.Abs(images); err != nil {
		return o, err
	}
	if work := inv.get("work-path"); work != "" {
		if o.Work, err = filepath.Abs(work); err != nil {
			return o, err
		}
	}
	return o, nil
}

// criuConfig is the configuration file of criu's for a container: an annotation
// names it, or denies it. Without one it is the one that runtimes share, if there is one.
func criuConfig(annotations map[string]string) string {
	if file, ok := annotations["org.criu.config"]; ok {
		return file
	}
	const shared = "/etc/criu/runc.conf"
	if _, err := os.Stat(shared); err != nil {
		return ""
	}
	return shared
}

// namespace is a container's namespace of a type; nil if it is the host's.
func namespace(s *specs.Spec, typ specs.LinuxNamespaceType) *specs.LinuxNamespace {
	if s.Linux == nil {
		return nil
	}
	i := slices.IndexFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == typ })
	if i < 0 {
		return nil
	}
	return &s.Linux.Namespaces[i]
}

// pageServer reads --page-server ADDRESS:PORT.
func pageServer(value string) (server [2]string, err error) {
	if value == "" {
		return server, nil
	}
	i := strings.LastIndexByte(value, ':')
	address := strings.Trim(value[:max(i, 0)], "[]") // those of IPv6
	port, err := strconv.ParseUint(value[i+1:], 10, 16)
	if address == "" || err != nil || port == 0 {
		return server, fmt.Errorf("use --page-server %q: want ADDRESS:PORT", value)
	}
	return [2]string{address, value[i+1:]}, nil
}

// statusFD reads --status-fd: a descriptor of ours that can be written to.
func (inv *invocation) statusFD() (map[string]int, error) {
	if inv.get("status-fd") == "" {
		return nil, nil
	}
	fd, err := inv.number("status-fd")
	if err != nil {
		return nil, err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	switch {
	case err != nil:
		return nil, fmt.Errorf("use --status-fd %d: %w", fd, err)
	case flags&unix.O_ACCMODE == unix.O_RDONLY:
		return nil, fmt.Errorf("use --status-fd %d: it is open for reading only", fd)
	}
	return map[string]int{checkpoint.StatusFD: fd}, nil
}

// checkParent refuses a --parent-path that criu would not find.
func checkParent(images, parent string) error {
	if parent == "" {
		return nil
	}
	if path.IsAbs(parent) {
		return fmt.Errorf("use --parent-path %q: want a path that begins at --image-path", parent)
	}
	st, err := os.Stat(path.Join(images, parent))
	if err == nil && !st.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		return fmt.Errorf("use --parent-path %q: %w", parent, err)
	}
	return nil
}

// debugPlan shows the steps of a plan.
func (inv *invocation) debugPlan(p *plan.Plan) {
	if !inv.has("debug") {
		return
	}
	for _, s := range p.Steps {
		inv.debug("%s: %s", s.Where(), s.Action.Line())
		if f, ok := s.Action.(*plan.Seccomp); ok {
			inv.debug("seccomp filter flags: %d", f.Flags)
		}
	}
}
