// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vitro/container"
)

// namespaceOf is the path of a running container's namespace, by the
// container's name, its ID, or the beginning of it.
func (e *Engine) namespaceOf(name, kind string) (string, error) {
	pid, err := e.Containers.Pid(name)
	if err != nil {
		return "", err
	}
	p := fmt.Sprintf("/proc/%d/ns/%s", pid, kind)
	if _, err := os.Stat(p); err != nil {
		return "", err
	}
	return p, nil
}

// claim gives the container its name, which no other may have.
func (e *Engine) claim(c *container.Container, name string) error {
	if name == "" {
		return nil
	}
	if err := container.CheckID(name); err != nil {
		return err
	}
	others, err := filepath.Glob(filepath.Join(e.Containers.Root, "*", "name"))
	if err != nil {
		return err
	}
	for _, file := range others {
		if data, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(data)) == name {
			id := filepath.Base(filepath.Dir(file))
			return hint(fmt.Errorf("name container %q: %w: %s", name, container.ErrExists, id[:12]), "give another name, or end that container")
		}
	}
	return os.WriteFile(c.Path("name"), []byte(name+"\n"), 0o600)
}
