// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// How a deletion is written in a layer archive; the rest are notes of AUFS to itself, that old images still carry.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// A role is what an entry's name says about it.
type role int

const (
	rolePlain    role = iota
	roleWhiteout      // a deleted file: the name is that of the file
	roleOpaque        // a replaced directory: the name is that of the directory
	roleIgnore        // AUFS' own
)

// cleanName turns an entry's name into a path relative to the layer, "." for the layer itself. A leading slash means
// the layer's root, as it does to other engines and to tar(1).
func cleanName(name string) (string, error) {
	if len(name) >= unix.PathMax {
		return "", fmt.Errorf("%w: %d bytes long", ErrName, len(name))
	}
	if name == "" || strings.IndexByte(name, 0) >= 0 {
		return "", ErrName
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", ErrEscape
		}
		if len(part) > unix.NAME_MAX {
			return "", fmt.Errorf("%w: a part is %d bytes long", ErrName, len(part))
		}
	}
	return path.Clean(strings.TrimLeft(name, "/")), nil
}

// roleOf finds the deletion, if that is what a clean name is, and what is deleted.
func roleOf(name string) (role, string, error) {
	if !strings.Contains(name, whiteoutPrefix) {
		return rolePlain, name, nil
	}
	dir, base := path.Split(name)
	for part := range strings.SplitSeq(dir, "/") {
		switch {
		case strings.HasPrefix(part, whiteoutMeta):
			return roleIgnore, name, nil
		case strings.HasPrefix(part, whiteoutPrefix):
			return rolePlain, "", fmt.Errorf("%w: a deletion mark is used as a directory", ErrName)
		}
	}
	switch {
	case base == whiteoutOpaque:
		return roleOpaque, path.Clean(dir), nil
	case strings.HasPrefix(base, whiteoutMeta):
		return roleIgnore, name, nil
	case strings.HasPrefix(base, whiteoutPrefix):
		target := base[len(whiteoutPrefix):]
		if target == "" || target == "." || target == ".." {
			return rolePlain, "", fmt.Errorf("%w: a deletion mark for %q", ErrName, target)
		}
		return roleWhiteout, dir + target, nil
	}
	return rolePlain, name, nil
}
