// SPDX-License-Identifier: Apache-2.0

package process

import (
	"golang.org/x/sys/unix"

	"vitro/inspect"
	"vitro/plan"
)

// A Power is what capabilities hold over one thing: a namespace, files, or the
// machine itself.
type Power struct {
	Over  string      // "net 4026532201"
	Owner uint64      // the user namespace that owns it; 0 if that can't be seen
	Means string      // what they allow there
	Has   plan.CapSet // the process's effective ones
	Held  bool        // they count there: else the rest is void
}

func set(list ...int) (s plan.CapSet) {
	for _, n := range list {
		s |= 1 << n
	}
	return s
}

// scopes are what capabilities act on: the kernel asks for them in the user
// namespace that owns the thing (ns_capable), or in the machine's first
// (capable). See capabilities(7), and user_namespaces(7) under "Interaction of
// user namespaces and other types of namespaces".
var scopes = [...]struct {
	kind  inspect.Kind
	caps  plan.CapSet
	means string
}{
	{inspect.Mount, set(unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT), "mounts, and its root"},
	{inspect.PID, set(unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_KILL, unix.CAP_CHECKPOINT_RESTORE), "processes in it"},
	{inspect.Network, set(unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_BROADCAST), "links, addresses, routes, firewall, ports"},
	{inspect.IPC, set(unix.CAP_IPC_OWNER, unix.CAP_IPC_LOCK, unix.CAP_SYS_RESOURCE), "shared memory, semaphores, queues"},
	{inspect.UTS, set(unix.CAP_SYS_ADMIN), "host name"},
	{inspect.Cgroup, set(unix.CAP_SYS_ADMIN), "what is its root"},
	{inspect.Time, set(unix.CAP_SYS_TIME), "offsets of clocks"},
	{inspect.User, set(unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETFCAP,
		unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_KILL, unix.CAP_SYS_PTRACE, unix.CAP_LEASE),
		"users of its map: their files, their processes"},
}

// machine are the capabilities that count in the first user namespace only.
var machine = set(unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME, unix.CAP_SYSLOG, unix.CAP_MKNOD,
	unix.CAP_SYS_NICE, unix.CAP_SYS_RESOURCE, unix.CAP_SYS_PACCT, unix.CAP_SYS_TTY_CONFIG, unix.CAP_LINUX_IMMUTABLE, unix.CAP_AUDIT_WRITE,
	unix.CAP_AUDIT_CONTROL, unix.CAP_AUDIT_READ, unix.CAP_MAC_OVERRIDE, unix.CAP_MAC_ADMIN, unix.CAP_WAKE_ALARM, unix.CAP_BLOCK_SUSPEND,
	unix.CAP_PERFMON, unix.CAP_BPF, unix.CAP_SYS_ADMIN)

// Powers says over what the process's effective capabilities hold.
func (p *Process) Powers() (list []Power) {
	for _, s := range scopes {
		n := p.NamespaceOf(s.kind)
		if n == nil {
			continue
		}
		power := Power{Over: label(n), Owner: n.Owner, Means: s.means, Has: p.Capabilities.Effective & s.caps, Held: n.Held}
		if s.kind == inspect.User {
			power.Held = true // its own
		}
		list = append(list, power)
	}
	if n := p.NamespaceOf(inspect.User); n != nil {
		list = append(list, Power{Over: "the machine", Means: "its devices, clock, kernel, and what no namespace divides",
			Has: p.Capabilities.Effective & machine, Held: n.Initial})
	}
	return list
}
