// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// owner says who has a port of the host: a container of ours, or a process. It
// is empty if we may not know. It looks at all of them, so it is only for the
// words of an error.
func owner(dir string, p Port) string {
	if name := ownerBut(dir, []Port{p}, ""); name != "" {
		return name
	}
	if inode := listener(p); inode != "" {
		return processOf("socket:[" + inode + "]")
	}
	return ""
}

// ownerBut is the container that has one of the ports, but for the one with the ID.
func ownerBut(dir string, ports []Port, id string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*", "ports", "*"))
	for _, file := range files {
		pub, err := readPublication(file)
		if err != nil || pub.ID == id {
			continue
		}
		if slices.ContainsFunc(ports, func(p Port) bool { return slices.ContainsFunc(pub.Ports, p.clashes) }) {
			if pub.Name == "" {
				return "container " + short(pub.ID)
			}
			return "container " + strconv.Quote(pub.Name)
		}
	}
	return ""
}

func short(id string) string { return id[:min(12, len(id))] }

// clashes reports whether two ports can't both be had.
func (p Port) clashes(o Port) bool {
	return p.Proto == o.Proto && p.HostPort == o.HostPort &&
		(!p.Host.IsValid() || !o.Host.IsValid() || p.Host == o.Host ||
			p.Host.Is4() == o.Host.Is4() && (p.Host.IsUnspecified() || o.Host.IsUnspecified()))
}

// listener is the inode of a socket that has the port (proc_net(5)); "" if there is none.
func listener(p Port) string {
	for _, file := range []string{p.Proto, p.Proto + "6"} {
		text, err := os.ReadFile("/proc/net/" + file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 10 || p.Proto == "tcp" && f[3] != "0A" && f[3] != "07" { // TCP_LISTEN, TCP_CLOSE: bound
				continue
			}
			host, port, ok := parseSocket(f[1])
			if ok && port == p.HostPort && (host.IsUnspecified() || !p.Host.IsValid() || host.Unmap() == p.Host) {
				return f[9]
			}
		}
	}
	return ""
}

// parseSocket reads an address as /proc/net has it: words of the machine's own order.
func parseSocket(text string) (netip.Addr, uint16, bool) {
	digits, portDigits, _ := strings.Cut(text, ":")
	raw, err1 := hex.DecodeString(digits)
	port, err2 := strconv.ParseUint(portDigits, 16, 16)
	if err1 != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.Addr{}, 0, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	return a, uint16(port), ok
}

// processOf finds the process that has a descriptor of what is named; "" if
// it can't be seen.
func processOf(target string) string {
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && to == target {
				name, _ := os.ReadFile(filepath.Join(filepath.Dir(dir), "comm"))
				return fmt.Sprintf("process %s (%s)", filepath.Base(filepath.Dir(dir)), bytes.TrimSpace(name))
			}
		}
	}
	return ""
}
