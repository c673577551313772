// SPDX-License-Identifier: Apache-2.0

package plan

import "strings"

// A CapSet is a set of capabilities, bit n for capability n (capabilities(7)).
type CapSet uint64

// capNames are the capabilities in the order of linux/capability.h, without "CAP_".
var capNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// AllCaps are the capabilities that vitro knows by name.
const AllCaps CapSet = 1<<len(capNames) - 1

// CapName is the name of capability n, without "CAP_".
func CapName(n int) string {
	if n < 0 || n >= len(capNames) {
		return ""
	}
	return capNames[n]
}

// ParseCap is the capability of a name: "CAP_NET_RAW", "net_raw".
func ParseCap(name string) (CapSet, bool) {
	name = strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	for i, n := range capNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Has reports whether capability n is in the set.
func (s CapSet) Has(n int) bool { return s>>n&1 != 0 }

// Names are the names of the set's members, with "CAP_", in the kernel's order.
func (s CapSet) Names() []string {
	var names []string
	for i, n := range capNames {
		if s.Has(i) {
			names = append(names, "CAP_"+n)
		}
	}
	return names
}

// String is the set as capsh(1) would show it, the shorter way round.
func (s CapSet) String() string {
	switch {
	case s == 0:
		return "none"
	case s&AllCaps == AllCaps:
		return "all"
	}
	var out, missing []string
	for i, n := range capNames {
		if s.Has(i) {
			out = append(out, strings.ToLower(n))
		} else {
			missing = append(missing, strings.ToLower(n))
		}
	}
	if len(missing) < 4 {
		return "all but " + strings.Join(missing, " ")
	}
	return strings.Join(out, " ")
}

// plus is the set as setpriv(1) takes it: ",+chown,+kill".
func (s CapSet) plus() string {
	var b strings.Builder
	for i, n := range capNames {
		if s.Has(i) {
			b.WriteString(",+" + strings.ToLower(n))
		}
	}
	return b.String()
}
