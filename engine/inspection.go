// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

// An Inspection is all that is known about a container, with Docker's names:
// people's scripts read it.
type Inspection struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           InspectedState
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      InspectedHostConfig
	GraphDriver     InspectedDriver
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []InspectedMount
	Config          InspectedConfig
	NetworkSettings InspectedNetwork
}

// InspectedState is where the container is in its life.
type InspectedState struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
	Health     *InspectedHealth `json:",omitempty"`
	// Not Docker's:
	MonitorPid int // the process beside it
}

// InspectedHealth is what the health checks have found.
type InspectedHealth struct {
	Status        string
	FailingStreak int
	Log           []InspectedCheck
}

// InspectedCheck is one of them.
type InspectedCheck struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}

// InspectedHostConfig is what the container was asked to be on this machine.
type InspectedHostConfig struct {
	Binds           []string
	ContainerIDFile string
	LogConfig       struct {
		Type   string
		Config map[string]string
	}
	NetworkMode   string
	PortBindings  map[string][]InspectedBinding
	RestartPolicy struct {
		Name              string
		MaximumRetryCount int
	}
	AutoRemove      bool
	VolumeDriver    string
	VolumesFrom     []string
	ConsoleSize     [2]uint
	CapAdd          []string
	CapDrop         []string
	CgroupnsMode    string
	Dns             []string
	DnsOptions      []string
	DnsSearch       []string
	ExtraHosts      []string
	GroupAdd        []string
	IpcMode         string
	Cgroup          string
	Links           []string
	OomScoreAdj     int
	PidMode         string
	Privileged      bool
	PublishAllPorts bool
	ReadonlyRootfs  bool
	SecurityOpt     []string
	UTSMode         string
	UsernsMode      string
	ShmSize         int64
	Sysctls         map[string]string `json:",omitempty"`
	Tmpfs           map[string]string `json:",omitempty"`
	Runtime         string
	Isolation       string
	CpuShares       uint64
	Memory          int64
	NanoCpus        int64
	CgroupParent    string
	BlkioWeight     uint16

	BlkioWeightDevice, BlkioDeviceReadBps, BlkioDeviceWriteBps, BlkioDeviceReadIOps, BlkioDeviceWriteIOps []InspectedThrottle

	CpuPeriod          uint64
	CpuQuota           int64
	CpuRealtimePeriod  uint64
	CpuRealtimeRuntime int64
	CpusetCpus         string
	CpusetMems         string
	Devices            []InspectedDevice
	DeviceCgroupRules  []string
	DeviceRequests     []string // GPUs, which there are none of
	MemoryReservation  int64
	MemorySwap         int64
	MemorySwappiness   *int
	OomKillDisable     bool
	PidsLimit          *int64
	Ulimits            []InspectedUlimit
	Annotations        map[string]string `json:",omitempty"`
	Init               *bool             `json:",omitempty"`
	MaskedPaths        []string
	ReadonlyPaths      []string
}

// InspectedDevice is a device of the host.
type InspectedDevice struct{ PathOnHost, PathInContainer, CgroupPermissions string }

// InspectedThrottle is a limit of a device's rate.
type InspectedThrottle struct {
	Path string
	Rate uint64
}

// InspectedUlimit is a resource limit of each process.
type InspectedUlimit struct {
	Name       string
	Hard, Soft uint64
}

// InspectedDriver is where the root file system's parts are.
type InspectedDriver struct {
	Name string
	Data map[string]string
}

// InspectedMount is something that is mounted in the container.
type InspectedMount struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// InspectedConfig is what would be the same on another machine.
type InspectedConfig struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *InspectedHealthcheck `json:",omitempty"`
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
	StopTimeout  *int   `json:",omitempty"`
}

// InspectedHealthcheck is how its health is checked; times are in nanoseconds.
type InspectedHealthcheck struct {
	Test          []string
	Interval      time.Duration `json:",omitempty"`
	Timeout       time.Duration `json:",omitempty"`
	StartPeriod   time.Duration `json:",omitempty"`
	StartInterval time.Duration `json:",omitempty"`
	Retries       int           `json:",omitempty"`
}

// InspectedNetwork is how the container is joined to networks.
type InspectedNetwork struct {
	Bridge      string
	SandboxID   string
	SandboxKey  string
	HairpinMode bool
	Ports       map[string][]InspectedBinding

	// Those on the default network.
	EndpointID          string
	Gateway             string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	MacAddress          string

	Networks map[string]InspectedEndpoint
}

// InspectedBinding is where a port is published.
type InspectedBinding struct{ HostIp, HostPort string }

// InspectedEndpoint is the container's place in one network.
type InspectedEndpoint struct {
	Aliases             []string
	MacAddress          string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	DNSNames            []string
}
