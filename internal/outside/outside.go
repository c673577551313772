// SPDX-License-Identifier: Apache-2.0

// Package outside knows who an ordinary user is on the machine, where the user
// is root: in the user namespace that holds the user's networks (package
// network/usernet). What belongs to the user, such as folders and the right to
// cgroups, goes by that.
package outside

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Variable is the environment variable that tells: UID:GID.
const Variable = "VITRO_OUTSIDE"

// Value is the variable's.
func Value(uid, gid int) string { return fmt.Sprintf("%d:%d", uid, gid) }

// IDs are the user's IDs on the machine. Inside says that they are others here.
// Where we are root of the machine the variable means nothing.
func IDs() (uid, gid int, inside bool) {
	uid, gid = os.Geteuid(), os.Getegid()
	text := os.Getenv(Variable)
	if text == "" || uid != 0 {
		return uid, gid, false
	}
	m, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(m)), " ") == "0 0 4294967295" {
		return uid, gid, false
	}
	var u, g int
	if n, err := fmt.Sscanf(text, "%d:%d", &u, &g); n != 2 || err != nil {
		return uid, gid, false
	}
	return u, g, true
}

// UID is the user's ID on the machine.
func UID() int { uid, _, _ := IDs(); return uid }

// Inside reports whether we are in the namespace of the user's networks.
func Inside() bool { _, _, inside := IDs(); return inside }

// Folder is where vitro keeps the user's images and containers: /var/lib/vitro,
// $XDG_DATA_HOME/vitro or ~/.local/share/vitro.
func Folder() (string, error) {
	if UID() == 0 {
		return "/var/lib/vitro", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "vitro"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for images and containers: %w (set HOME, or give --root DIR)", err)
	}
	return filepath.Join(home, ".local/share/vitro"), nil
}
