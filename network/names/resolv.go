// SPDX-License-Identifier: Apache-2.0

package names

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How the host's name servers are asked, where resolv.conf(5) says nothing else.
const (
	maxServers   = 3
	maxTimeout   = 30 // seconds, as in the C library
	maxAttempts  = 5
	resolvSize   = 64 << 10
	loopbackText = "127.0.0.1"
)

// upstream is the part of a resolv.conf that is about servers. What is about
// names, search and ndots, is the container's own business.
type upstream struct {
	servers  []unix.Sockaddr
	timeout  time.Duration
	attempts int
	rotate   bool
	tcp      bool // use-vc
}

// parseUpstream reads as the C library does.
func parseUpstream(text string) upstream {
	u := upstream{timeout: 5 * time.Second, attempts: 2}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a := sockaddr(words[1]); a != nil && len(u.servers) < maxServers {
				u.servers = append(u.servers, a)
			}
		case "options":
			for _, w := range words[1:] {
				u.option(w)
			}
		}
	}
	if len(u.servers) == 0 {
		u.servers = []unix.Sockaddr{sockaddr(loopbackText)}
	}
	return u
}

func (u *upstream) option(word string) {
	name, value, _ := strings.Cut(word, ":")
	n, err := strconv.Atoi(value)
	switch {
	case name == "rotate":
		u.rotate = true
	case name == "use-vc":
		u.tcp = true
	case err != nil || n < 1:
	case name == "timeout":
		u.timeout = time.Duration(min(n, maxTimeout)) * time.Second
	case name == "attempts":
		u.attempts = min(n, maxAttempts)
	}
}

// A resolvFile is the host's file, which is read again when it has changed: a
// laptop moves.
type resolvFile struct {
	path  string
	stamp stamp
	had   bool
	upstream
}

func (r *resolvFile) refresh() {
	var st unix.Stat_t
	err := unix.Stat(r.path, &st) // what a symbolic link leads to
	now := stamp{st.Ino, st.Mtim, st.Size}
	if r.had && (err != nil || now == r.stamp) {
		return // what was right before is better than nothing
	}
	text := ""
	if f, err := os.Open(r.path); err == nil {
		b, _ := io.ReadAll(io.LimitReader(f, resolvSize))
		f.Close()
		text = string(b)
	}
	r.upstream, r.stamp, r.had = parseUpstream(text), now, true
}
