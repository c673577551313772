// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// policies are the scheduling policies by the kernel's numbers (sched(7)), with
// the options of chrt(1).
var policies = [...]struct {
	num        uint32
	name, chrt string
}{
	{unix.SCHED_NORMAL, "SCHED_OTHER", "--other"},
	{unix.SCHED_FIFO, "SCHED_FIFO", "--fifo"},
	{unix.SCHED_RR, "SCHED_RR", "--rr"},
	{unix.SCHED_BATCH, "SCHED_BATCH", "--batch"},
	{unix.SCHED_IDLE, "SCHED_IDLE", "--idle"},
	{unix.SCHED_DEADLINE, "SCHED_DEADLINE", "--deadline"},
}

// Scheduler sets how the kernel gives the process its time: sched_setattr(2).
type Scheduler struct {
	Policy   uint32 `json:"policy"` // SCHED_*
	Flags    uint64 `json:"flags,omitempty"`
	Nice     int32  `json:"nice,omitempty"`
	Priority uint32 `json:"priority,omitempty"`
	// Of SCHED_DEADLINE, in nanoseconds.
	Runtime  uint64 `json:"runtime,omitempty"`
	Deadline uint64 `json:"deadline,omitempty"`
	Period   uint64 `json:"period,omitempty"`
}

func (a *Scheduler) words() (name, chrt string) {
	for _, p := range policies {
		if p.num == a.Policy {
			return p.name, p.chrt
		}
	}
	return fmt.Sprintf("policy %d", a.Policy), "--other"
}

func (a *Scheduler) Verb() string { return "scheduler" }
func (a *Scheduler) Line() string {
	line, _ := a.words()
	for _, v := range [...]struct {
		name string
		n    uint64
	}{{"priority", uint64(a.Priority)}, {"runtime", a.Runtime}, {"deadline", a.Deadline}, {"period", a.Period}} {
		if v.n != 0 {
			line += fmt.Sprintf(", %s %d", v.name, v.n)
		}
	}
	if a.Nice != 0 {
		line += fmt.Sprintf(", nice %d", a.Nice)
	}
	if a.Flags != 0 {
		line += fmt.Sprintf(", flags %#x", a.Flags)
	}
	return line
}

func (a *Scheduler) Shell(s *Script) {
	_, cmd := a.words()
	if a.Flags&unix.SCHED_FLAG_RESET_ON_FORK != 0 {
		cmd += " --reset-on-fork"
	}
	if a.Policy == unix.SCHED_DEADLINE {
		cmd += fmt.Sprintf(" --sched-runtime %d --sched-deadline %d --sched-period %d", a.Runtime, a.Deadline, a.Period)
	}
	s.Run("chrt %s --pid %d $$", cmd, a.Priority)
	if a.Nice != 0 {
		s.Run("renice -n %d -p $$", a.Nice)
	}
}

func (a *Scheduler) Lower(asm *Asm) {
	b := make([]byte, 56) // struct sched_attr, with util_min and util_max (Linux 5.3)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint32(b[4:], a.Policy)
	binary.NativeEndian.PutUint64(b[8:], a.Flags)
	binary.NativeEndian.PutUint32(b[16:], uint32(a.Nice))
	binary.NativeEndian.PutUint32(b[20:], a.Priority)
	binary.NativeEndian.PutUint64(b[24:], a.Runtime)
	binary.NativeEndian.PutUint64(b[32:], a.Deadline)
	binary.NativeEndian.PutUint64(b[40:], a.Period)
	asm.Do(SysSchedSetattr, Int(0), Buf(b, "{"+a.Line()+"}"), Int(0))
}

// IOPriority sets the priority of the process group's reads and writes: ioprio_set(2).
type IOPriority struct {
	Class    int `json:"class"` // 1 real time, 2 best effort, 3 idle
	Priority int `json:"priority"`
}

func (a *IOPriority) class() string {
	switch a.Class {
	case 1:
		return "IOPRIO_CLASS_RT"
	case 2:
		return "IOPRIO_CLASS_BE"
	}
	return "IOPRIO_CLASS_IDLE"
}

func (a *IOPriority) Verb() string    { return "io-priority" }
func (a *IOPriority) Line() string    { return fmt.Sprintf("%s, priority %d", a.class(), a.Priority) }
func (a *IOPriority) Shell(s *Script) { s.Run("ionice -c %d -n %d -p $$", a.Class, a.Priority) }
func (a *IOPriority) Lower(asm *Asm) {
	const whoPgrp = 2 // linux/ioprio.h
	asm.Do(SysIoprioSet, Num(whoPgrp, "IOPRIO_WHO_PGRP"), Int(0), Num(uint64(a.Class<<13|a.Priority), fmt.Sprintf("%s|%d", a.class(), a.Priority)))
}

// Affinity limits the child to some of the machine's processors: sched_setaffinity(2).
// The kernel takes what of them its cpuset has.
type Affinity struct {
	CPUs string `json:"cpus"` // as cpuset(7) has it: "0-3,7"
}

func (a *Affinity) Verb() string    { return "affinity" }
func (a *Affinity) Line() string    { return "run on processors " + a.CPUs }
func (a *Affinity) Shell(s *Script) { s.Run("taskset -c -p %s $$", Quote(a.CPUs)) }
func (a *Affinity) Lower(asm *Asm) {
	b := maskBytes(a.CPUs)
	asm.Do(SysSchedSetaffinity, Int(0), Int(len(b)), Buf(b, "["+a.CPUs+"]"))
}

// MemoryPolicy says from which NUMA nodes the process's memory comes: set_mempolicy(2).
type MemoryPolicy struct {
	Mode  string `json:"mode"` // as in linux/mempolicy.h, with its flags: "MPOL_BIND|MPOL_F_STATIC_NODES"
	Num   uint32 `json:"num"`
	Nodes string `json:"nodes,omitempty"` // as cpuset(7) has it
}

func (a *MemoryPolicy) Verb() string { return "memory-policy" }
func (a *MemoryPolicy) Line() string {
	return strings.TrimSuffix(a.Mode+" of nodes "+a.Nodes, " of nodes ")
}
func (a *MemoryPolicy) Shell(s *Script) {
	s.Note("memory policy: %s; numactl(8) can set some of them for a command", Quote(a.Line()))
}

func (a *MemoryPolicy) Lower(asm *Asm) {
	mode := Num(uint64(a.Num), a.Mode)
	if a.Nodes == "" {
		asm.Do(SysSetMempolicy, mode, Num(0, "NULL"), Int(0))
		return
	}
	b := maskBytes(a.Nodes)
	// The kernel takes one off the number of bits (get_nodes in mm/mempolicy.c).
	asm.Do(SysSetMempolicy, mode, Buf(b, "["+a.Nodes+"]"), Int(8*len(b)+1))
}

// Personality sets the execution domain: personality(2).
type Personality struct {
	Persona uint32 `json:"persona"`
}

func (a *Personality) word() string {
	if a.Persona == 8 {
		return "PER_LINUX32"
	}
	return "PER_LINUX"
}

func (a *Personality) Verb() string { return "personality" }
func (a *Personality) Line() string { return a.word() }
func (a *Personality) Shell(s *Script) {
	if a.Persona == 8 {
		s.Reexec("setarch linux32")
	}
}
func (a *Personality) Lower(asm *Asm) { asm.Do(SysPersonality, Num(uint64(a.Persona), a.word())) }
