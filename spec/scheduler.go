// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/plan"
)

// What a scheduling policy has a use for.
const (
	usesNice = 1 << iota
	usesPriority
	usesDeadline
)

// policies are process.scheduler's (sched(7)). SCHED_ISO is a name that the
// kernel reserves, and has never had.
var policies = [...]struct {
	name specs.LinuxSchedulerPolicy
	num  uint32
	uses uint
}{
	{specs.SchedOther, unix.SCHED_NORMAL, usesNice},
	{specs.SchedBatch, unix.SCHED_BATCH, usesNice},
	{specs.SchedIdle, unix.SCHED_IDLE, 0},
	{specs.SchedFIFO, unix.SCHED_FIFO, usesPriority},
	{specs.SchedRR, unix.SCHED_RR, usesPriority},
	{specs.SchedDeadline, unix.SCHED_DEADLINE, usesDeadline | usesNice}, // which the kernel keeps for later
}

// schedFlags are process.scheduler.flags.
var schedFlags = [...]struct {
	name specs.LinuxSchedulerFlag
	bit  uint64
}{
	{specs.SchedFlagResetOnFork, unix.SCHED_FLAG_RESET_ON_FORK},
	{specs.SchedFlagReclaim, unix.SCHED_FLAG_RECLAIM},
	{specs.SchedFlagDLOverrun, unix.SCHED_FLAG_DL_OVERRUN},
	{specs.SchedFlagKeepPolicy, unix.SCHED_FLAG_KEEP_POLICY},
	{specs.SchedFlagKeepParams, unix.SCHED_FLAG_KEEP_PARAMS},
	{specs.SchedFlagUtilClampMin, unix.SCHED_FLAG_UTIL_CLAMP_MIN},
	{specs.SchedFlagUtilClampMax, unix.SCHED_FLAG_UTIL_CLAMP_MAX},
}

// scheduler reads process.scheduler.
func scheduler(s *specs.Scheduler) (*plan.Scheduler, error) {
	a := &plan.Scheduler{Nice: s.Nice, Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
	i := slices.IndexFunc(policies[:], func(p struct {
		name specs.LinuxSchedulerPolicy
		num  uint32
		uses uint
	}) bool {
		return p.name == s.Policy
	})
	if i < 0 {
		return nil, fmt.Errorf("compile config.json: process.scheduler: the kernel has no policy %q", s.Policy)
	}
	p := policies[i]
	a.Policy, a.Priority = p.num, uint32(s.Priority)
	var reason string
	switch {
	case s.Nice != 0 && p.uses&usesNice == 0:
		reason = "has no nice value"
	case s.Nice < -20 || s.Nice > 19:
		reason = fmt.Sprintf("nice value %d is not from -20 to 19", s.Nice)
	case s.Priority != 0 && p.uses&usesPriority == 0:
		reason = "has no priority"
	case p.uses&usesPriority != 0 && (s.Priority < 1 || s.Priority > 99):
		reason = fmt.Sprintf("priority %d is not from 1 to 99", s.Priority)
	case s.Runtime|s.Deadline|s.Period != 0 && p.uses&usesDeadline == 0:
		reason = "has no runtime, deadline and period"
	case p.uses&usesDeadline != 0 && (s.Runtime == 0 || s.Runtime > s.Deadline || s.Period != 0 && s.Deadline > s.Period):
		reason = fmt.Sprintf("runtime %d, deadline %d, period %d: none may be above the next, and the first not 0", s.Runtime, s.Deadline, s.Period)
	}
	if reason != "" {
		return nil, fmt.Errorf("compile config.json: process.scheduler: %s: %s", s.Policy, reason)
	}
next:
	for _, name := range s.Flags {
		for _, f := range schedFlags {
			if f.name == name {
				a.Flags |= f.bit
				continue next
			}
		}
		return nil, fmt.Errorf("compile config.json: process.scheduler.flags: unknown flag %q", name)
	}
	return a, nil
}

// ioClasses are process.ioPriority's, the first the kernel's number 1 (ioprio_set(2)).
var ioClasses = [...]specs.IOPriorityClass{specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE}

func ioPriority(p *specs.LinuxIOPriority) (*plan.IOPriority, error) {
	class := 1 + slices.Index(ioClasses[:], p.Class)
	switch {
	case class == 0:
		return nil, fmt.Errorf("compile config.json: process.ioPriority: unknown class %q", p.Class)
	case p.Priority < 0 || p.Priority > 7:
		return nil, fmt.Errorf("compile config.json: process.ioPriority: priority %d is not from 0 to 7", p.Priority)
	}
	return &plan.IOPriority{Class: class, Priority: p.Priority}, nil
}

// personality reads linux.personality (personality(2)).
func personality(p *specs.LinuxPersonality) (*plan.Personality, error) {
	switch {
	case len(p.Flags) > 0:
		return nil, fmt.Errorf("compile config.json: linux.personality.flags: %q: the specification has no flags yet", p.Flags)
	case p.Domain == specs.PerLinux:
		return &plan.Personality{}, nil
	case p.Domain == specs.PerLinux32:
		return &plan.Personality{Persona: 8}, nil // PER_LINUX32
	}
	return nil, fmt.Errorf("compile config.json: linux.personality: unknown domain %q", p.Domain)
}

// What a memory policy says about nodes.
const (
	noNodes = iota
	anyNodes
	someNodes
)

// memoryModes are linux.memoryPolicy's (set_mempolicy(2), linux/mempolicy.h).
var memoryModes = [...]struct {
	name  specs.MemoryPolicyModeType
	num   uint32
	nodes int
}{
	{specs.MpolDefault, unix.MPOL_DEFAULT, noNodes},
	{specs.MpolPreferred, unix.MPOL_PREFERRED, anyNodes},
	{specs.MpolBind, unix.MPOL_BIND, someNodes},
	{specs.MpolInterleave, unix.MPOL_INTERLEAVE, someNodes},
	{specs.MpolLocal, unix.MPOL_LOCAL, noNodes},
	{specs.MpolPreferredMany, unix.MPOL_PREFERRED_MANY, someNodes},
	{specs.MpolWeightedInterleave, unix.MPOL_WEIGHTED_INTERLEAVE, someNodes},
}

var memoryFlags = [...]struct {
	name specs.MemoryPolicyFlagType
	bit  uint32
}{
	{specs.MpolFNumaBalancing, unix.MPOL_F_NUMA_BALANCING},
	{specs.MpolFRelativeNodes, unix.MPOL_F_RELATIVE_NODES},
	{specs.MpolFStaticNodes, unix.MPOL_F_STATIC_NODES},
}

// memoryPolicy reads linux.memoryPolicy. The words "invalid memory policy" are
// runc's.
func memoryPolicy(p *specs.LinuxMemoryPolicy) (*plan.MemoryPolicy, error) {
	const property = "compile config.json: linux.memoryPolicy"
	i := slices.IndexFunc(memoryModes[:], func(m struct {
		name  specs.MemoryPolicyModeType
		num   uint32
		nodes int
	}) bool {
		return m.name == p.Mode
	})
	if i < 0 {
		return nil, fmt.Errorf("%s: invalid memory policy mode %q", property, p.Mode)
	}
	var nodes []uint64
	if p.Nodes != "" {
		var err error
		if nodes, err = plan.ParseList(p.Nodes); err != nil {
			return nil, fmt.Errorf("%s.nodes: invalid memory policy nodes: %w", property, err)
		}
	}
	m := memoryModes[i]
	switch {
	case m.nodes == noNodes && p.Nodes != "":
		count := 0
		for _, word := range nodes {
			count += bits.OnesCount64(word)
		}
		return nil, fmt.Errorf("%s: set_mempolicy: invalid argument: %s: mode requires 0 nodes but got %d", property, p.Mode, count)
	case m.nodes == someNodes && p.Nodes == "":
		return nil, fmt.Errorf("%s: %s needs nodes", property, p.Mode)
	}
	a := &plan.MemoryPolicy{Mode: string(m.name), Num: m.num, Nodes: p.Nodes}
next:
	for _, name := range p.Flags {
		for _, f := range memoryFlags {
			if f.name == name {
				if a.Num&f.bit == 0 {
					a.Mode += "|" + string(name)
				}
				a.Num |= f.bit
				continue next
			}
		}
		return nil, fmt.Errorf("%s.flags: invalid memory policy flag %q", property, name)
	}
	const both = unix.MPOL_F_RELATIVE_NODES | unix.MPOL_F_STATIC_NODES
	if a.Num&both == both {
		return nil, fmt.Errorf("%s.flags: nodes can't be both relative and static", property)
	}
	return a, nil
}

// traits are what the process is to the kernel, besides its rights. They come
// before the filter, which may forbid the calls.
func (c *compiler) traits() error {
	var list []plan.Step
	add := func(why string, a plan.Action, err error) error {
		list = append(list, plan.Step{Action: a, Why: why})
		return err
	}
	if p := c.linux.MemoryPolicy; p != nil {
		a, err := memoryPolicy(p)
		if err := add("where its memory comes from: linux.memoryPolicy", a, err); err != nil {
			return err
		}
	}
	if p := c.linux.Personality; p != nil {
		a, err := personality(p)
		if err := add("which machine uname(2) shows: linux.personality", a, err); err != nil {
			return err
		}
	}
	if p := c.proc.IOPriority; p != nil {
		a, err := ioPriority(p)
		if err := add("when its reads and writes are done: process.ioPriority", a, err); err != nil {
			return err
		}
	}
	if p := c.proc.Scheduler; p != nil {
		a, err := scheduler(p)
		if err := add("when it gets a processor: process.scheduler", a, err); err != nil {
			return err
		}
	}
	c.plan.Append(list...)
	return nil
}

// affinity reads process.execCPUAffinity, which is for further processes only:
// the processors that the parent is on until the process is in the container's
// cgroup, and those that the process is on from then on. Either may be empty.
func (c *compiler) affinity() (initial, final string, err error) {
	a := c.proc.ExecCPUAffinity
	if a == nil {
		return "", "", nil
	}
	for _, l := range [...]struct{ name, list string }{{"initial", a.Initial}, {"final", a.Final}} {
		if strings.TrimSpace(l.list) == "" {
			continue
		}
		if _, err := plan.ParseList(l.list); err != nil {
			return "", "", fmt.Errorf("compile config.json: process.execCPUAffinity.%s: %w", l.name, err)
		}
	}
	return strings.TrimSpace(a.Initial), strings.TrimSpace(a.Final), nil
}
