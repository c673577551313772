// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/internal/processors"
)

// Describe finds out about processes, given in the order of their PIDs. Those
// that have ended are left out.
func Describe(pids []int) []*Process {
	list := make([]*Process, len(pids))
	who := newIdentifier()
	processors.Each(len(pids), func(i int) { list[i] = describe(pids[i], who) })
	names := namer{}
	out := list[:0]
	for _, p := range list {
		if p == nil {
			continue
		}
		if p.Container != nil {
			names.name(p)
		}
		out = append(out, p)
	}
	return out
}

// maxArgs is how much of a command line is read.
const maxArgs = 4096

func describe(pid int, who *identifier) *Process {
	dir := "/proc/" + strconv.Itoa(pid)
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return nil
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return nil
	}
	p := &Process{PID: pid, UID: st.Uid}
	parent := 0
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "Name":
			p.Name = unescapeName(string(bytes.TrimSuffix(bytes.TrimPrefix(value, []byte("\t")), []byte("\n"))))
		case "PPid":
			parent, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		case "Uid":
			if f := bytes.Fields(value); len(f) == 4 {
				uid, _ := strconv.ParseUint(string(f[1]), 10, 32)
				p.UID = uint32(uid)
			}
		case "NSpid":
			for _, f := range bytes.Fields(value) {
				n, _ := strconv.Atoi(string(f))
				p.PIDs = append(p.PIDs, n)
			}
		}
	}
	p.Args = commandLine(dir)
	p.Container = who.identify(pid, parent)
	return p
}

// unescapeName takes back what the kernel escapes in the name: \n and \\.
func unescapeName(name string) string {
	return strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(name)
}

func commandLine(dir string) []string {
	f, err := os.Open(dir + "/cmdline")
	if err != nil {
		return nil
	}
	defer f.Close()
	buf := make([]byte, maxArgs)
	n, _ := f.Read(buf)
	text := string(bytes.TrimRight(buf[:max(n, 0)], "\x00"))
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}
