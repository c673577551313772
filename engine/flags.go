// SPDX-License-Identifier: Apache-2.0

package engine

// Flags are what `vitro run` and `vitro explain run` are given. The zero value
// is a container as Docker makes it when no flag is given.
type Flags struct {
	Image   string
	Command []string

	// Identity
	Name, Hostname, Domainname      string
	Interactive, Terminal, Init, Rm bool
	Env, EnvFiles                   []string
	Workdir, User                   string
	GroupAdd                        []string
	Entrypoint                      string
	EntrypointSet                   bool // even if it is set to nothing
	CIDFile                         string

	// Files
	Volumes, Mounts, Tmpfs []string
	ReadOnly               bool
	Rootfs                 bool // Image is a folder
	RootfsSize             string
	ShmSize                string
	Devices                []string

	// Limits
	Memory, MemorySwap, MemoryReservation  string
	CPUs                                   string
	CPUShares                              uint64
	CPUPeriod                              uint64
	CPUQuota                               int64
	CpusetCPUs, CpusetMems                 string
	PidsLimit                              int64
	BlkioWeight                            uint16
	ReadBps, WriteBps, ReadIOps, WriteIOps []string
	Ulimits                                []string
	CgroupParent                           string
	OOMScoreAdj                            int

	// Security
	CapAdd, CapDrop, SecurityOpt []string
	Privileged                   bool
	Sysctl                       map[string]string

	// Namespaces: "", "host", "private", "container:ID", "ns:PATH"
	Network, PID, IPC, UTS, Userns, Cgroupns, Time string
	DNS, DNSSearch, DNSOption, AddHost             []string
}
