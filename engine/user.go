// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// user finds out which IDs the command runs with: the flag's, else the image's.
// Names are looked up in the image's own files.
func (d *draft) user() error {
	text := d.image.User
	if d.Flags.User != "" {
		text = d.Flags.User
	}
	if text == "" && d.maps != nil && d.maps.keep {
		text = fmt.Sprintf("%d:%d", d.e.uid, d.e.gid)
	}
	u, err := d.lookUp(text)
	if err != nil {
		return err
	}
	for _, g := range d.GroupAdd {
		gid, ok := d.group(g)
		if !ok {
			return fmt.Errorf("read --group-add %q: the image has no such group", g)
		}
		u.AdditionalGids = append(u.AdditionalGids, gid)
	}
	slices.Sort(u.AdditionalGids)
	u.AdditionalGids = slices.Compact(u.AdditionalGids)
	if d.maps != nil && d.maps.single() {
		u.AdditionalGids = nil // only one group exists in the namespace
	}
	if d.Umask != "" {
		n, err := strconv.ParseUint(d.Umask, 8, 16)
		if err != nil || n > 0o777 {
			return hint(fmt.Errorf("read --umask=%s: not an octal number", d.Umask), "such as 0022")
		}
		mask := uint32(n)
		u.Umask = &mask
	}
	d.spec.Process.User = u
	return nil
}

// lookUp reads USER[:GROUP], names or numbers. A user without a group is in
// those that the image's /etc/passwd and /etc/group say.
//
// The user's own group is one of the further ones, too: else a setgid program
// would be a way out of it, and files that are not for the group could be
// read (CVE-2022-36109).
func (d *draft) lookUp(text string) (u specs.User, err error) {
	defer func() {
		if !slices.Contains(u.AdditionalGids, u.GID) {
			u.AdditionalGids = append([]uint32{u.GID}, u.AdditionalGids...)
		}
	}()
	name, group, _ := strings.Cut(text, ":")
	if name == "" {
		name = "0"
	}
	entry := d.find("etc/passwd", func(f []string) bool { return len(f) >= 4 && (f[0] == name || f[2] == name) })
	uid, convErr := strconv.ParseUint(name, 10, 32)
	if entry != nil {
		uid, convErr = strconv.ParseUint(entry[2], 10, 32)
	}
	if convErr != nil {
		return u, hint(fmt.Errorf("find user %q: the image's /etc/passwd has none of this name", name), "a number works without an entry: -u 1000")
	}
	u.UID = uint32(uid)
	if group != "" {
		gid, ok := d.group(group)
		if !ok {
			return u, hint(fmt.Errorf("find group %q: the image's /etc/group has none of this name", group), "a number works without an entry: -u 1000:1000")
		}
		u.GID = gid
		return u, nil
	}
	if entry == nil {
		return u, nil
	}
	gid, err := strconv.ParseUint(entry[3], 10, 32)
	if err != nil {
		return u, fmt.Errorf("read the image's /etc/passwd: %q is no group", entry[3])
	}
	u.GID = uint32(gid)
	d.each("etc/group", func(f []string) bool {
		if len(f) >= 4 && slices.Contains(strings.Split(f[3], ","), entry[0]) {
			if g, err := strconv.ParseUint(f[2], 10, 32); err == nil {
				u.AdditionalGids = append(u.AdditionalGids, uint32(g))
			}
		}
		return false
	})
	return u, nil
}

func (d *draft) group(name string) (uint32, bool) {
	entry := d.find("etc/group", func(f []string) bool { return len(f) >= 3 && (f[0] == name || f[2] == name) })
	if entry != nil {
		name = entry[2]
	}
	gid, err := strconv.ParseUint(name, 10, 32)
	return uint32(gid), err == nil
}

// home is the user's folder by the image's /etc/passwd.
func (d *draft) home(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	entry := d.find("etc/passwd", func(f []string) bool { return len(f) >= 6 && f[2] == id })
	switch {
	case entry != nil && entry[5] != "":
		return entry[5]
	case uid == 0:
		return "/root"
	}
	return "/"
}

func (d *draft) find(file string, match func(fields []string) bool) (found []string) {
	d.each(file, func(f []string) bool {
		if match(f) {
			found = f
		}
		return found != nil
	})
	return found
}

// each goes through a file of colon-separated lines of the image: that of the
// highest layer that has it. The layers are foreign: the file is opened within
// its layer, and what is no plain file there ends the search.
func (d *draft) each(file string, line func(fields []string) (stop bool)) {
	for i := len(d.layers) - 1; i >= 0; i-- {
		root, err := os.OpenRoot(d.layers[i])
		if err != nil {
			return
		}
		st, err := root.Lstat(file)
		if err != nil {
			root.Close()
			continue
		}
		var data []byte
		if st.Mode().IsRegular() && st.Size() < 1<<20 {
			data, _ = root.ReadFile(file)
		}
		root.Close()
		for l := range strings.Lines(string(data)) {
			if line(strings.Split(strings.TrimSpace(l), ":")) {
				return
			}
		}
		return
	}
}

func hostHostname() string {
	name, _ := os.Hostname()
	return name
}
