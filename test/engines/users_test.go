// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// accounts are the machine's files, with what is added to them in this world
// only: an ordinary user, with sub-IDs.
var accounts = []struct{ name, add string }{
	{"/etc/passwd", "vitro-engines:x:4321:4321::%s:/bin/sh\n"},
	{"/etc/group", "vitro-engines:x:4321:\n"},
	{"/etc/subuid", "vitro-engines:400000:65536\n"},
	{"/etc/subgid", "vitro-engines:400000:65536\n"},
}

// addUsers mounts copies of the accounts' files over them.
func addUsers(dir string) error {
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	if err := os.Chown(home, 4321, 4321); err != nil {
		return err
	}
	for _, a := range accounts {
		text, err := os.ReadFile(a.name)
		if err != nil && filepath.Base(a.name)[0] != 's' {
			return err
		}
		add := a.add
		if a.name == "/etc/passwd" {
			add = sprintf(add, home)
		}
		own := filepath.Join(dir, filepath.Base(a.name))
		if err := os.WriteFile(own, append(text, add...), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(own, a.name, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "mount", Path: a.name, Err: err}
		}
	}
	return nil
}

// Root of a container is an ordinary user of the host.
func TestDockerUsers(t *testing.T) {
	need(t, "docker", "dockerd", "containerd", "iptables")
	dockerTest(t, "dockerusers", []string{"--userns-remap", "vitro-engines"}, bothCases, userCases)
}

// Podman as an ordinary user: no limits, no network devices but in its own
// user namespace.
func TestPodmanRootless(t *testing.T) {
	need(t, "podman", "conmon", "newuidmap", "setpriv")
	for _, name := range []string{"root", "run", "xdg", "net"} {
		if err := os.Chown(sub(t, "rootless", name), 4321, 4321); err != nil {
			t.Fatal(err)
		}
	}
	podmanTest(t, "rootless", `E="setpriv --reuid 4321 --regid 4321 --init-groups env HOME=$dir/home USER=vitro-engines CONTAINERS_CONF=$CONTAINERS_CONF XDG_RUNTIME_DIR=$dir/rootless/xdg ${podman[*]}"
e() { $E "$@"; }
`, rootlessCases)
}
