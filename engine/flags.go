// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

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
	EntrypointSet                   bool   // even if it is set to nothing
	CIDFile                         string `json:"-"`
	Labels, Annotations             map[string]string
	LabelFiles                      []string

	// Life
	Restart             string // no, always, unless-stopped, on-failure[:TIMES]
	StopSignal          string
	StopTimeout         *int          // seconds; nil is 10
	Timeout             time.Duration // after which the container is killed
	LogDriver           string
	LogOpts             map[string]string
	OpenInput           bool // the input stays open for those who attach later
	HealthCmd           *string
	HealthInterval      time.Duration
	HealthTimeout       time.Duration
	HealthStartPeriod   time.Duration
	HealthStartInterval time.Duration
	HealthRetries       int
	HealthOnFailure     string
	NoHealthcheck       bool

	Umask, TZ               string
	Pull, Platform, Runtime string

	// Files
	Volumes, Mounts, Tmpfs []string
	VolumesFrom            []string
	VolumeDriver           string
	StorageOpt             []string
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
	Swappiness                             *int // memory-swappiness
	NoOOMKill                              bool
	RealtimePeriod                         uint64
	RealtimeRuntime                        int64
	DeviceRules                            []string
	OOMScoreAdj                            int

	// Security
	CapAdd, CapDrop, SecurityOpt []string
	Privileged                   bool
	Sysctl                       map[string]string

	// Namespaces: "", "host", "private", "container:ID", "ns:PATH"; Network may be a network, too
	Network, PID, IPC, UTS, Userns, Cgroupns, Time string

	// Networks
	Networks                           []string // more of them than Network, which is the first
	Unplugged                          bool     `json:",omitempty"` // from all of them, and from the default one
	IP, IP6, MAC                       string   // on the first
	NetworkAlias                       []string // on all
	Link                               []string
	Publish                            []string
	PublishAll                         bool
	Expose                             []string
	DNS, DNSSearch, DNSOption, AddHost []string
}
