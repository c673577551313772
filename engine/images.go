// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vitro/container"
	"vitro/image"
)

// use writes down which layers a container stands on, so that they are not
// removed under it.
func use(c *container.Container, diffIDs []image.Digest) error {
	var b strings.Builder
	for _, d := range diffIDs {
		b.WriteString(string(d) + "\n")
	}
	return os.WriteFile(c.Path("layers"), []byte(b.String()), 0o600)
}

// used are the layers that containers stand on, with a container for each.
func (e *Engine) used() map[image.Digest]string {
	m := make(map[image.Digest]string)
	files, _ := filepath.Glob(filepath.Join(e.Containers.Root, "*", "layers"))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		for line := range strings.Lines(string(data)) {
			m[image.Digest(strings.TrimSpace(line))] = filepath.Base(filepath.Dir(f))
		}
	}
	return m
}

// RemoveImage removes a name of an image, and the image with its last name. An
// image that a container stands on is not removed.
func (e *Engine) RemoveImage(name string, force bool) (image.Removed, error) {
	if err := e.Sweep(); err != nil {
		return image.Removed{}, err
	}
	img, err := e.Images.Get(name)
	if err != nil {
		return image.Removed{}, imageHint(err)
	}
	if id, err := e.standsOn(img); err != nil {
		return image.Removed{}, err
	} else if id != "" && len(img.Refs) < 2 {
		return image.Removed{}, hint(fmt.Errorf("remove image %q: container %s stands on it", name, id[:min(12, len(id))]), "remove the container first: vitro rm %s", id[:min(12, len(id))])
	}
	used := e.used()
	res, err := e.Images.Remove(name, image.RemoveOptions{Force: force, InUse: func(d image.Digest) bool {
		return used[d] != ""
	}})
	e.tellRemoved(img, res)
	return res, err
}

// standsOn is a container that was made of an image, or has it mounted. To share
// layers with it is nothing: they stay.
func (e *Engine) standsOn(img image.Image) (id string, err error) {
	list, err := e.List()
	if err != nil {
		return "", err
	}
	for _, c := range list {
		if c.ImageID == img.ID {
			return c.ID, nil
		}
		ms, err := Mounts(c.Dir)
		if err != nil {
			return "", err
		}
		for _, m := range ms {
			if m.Type != kindImage {
				continue
			}
			if i, err := e.Images.Get(m.Source); err == nil && i.ID == img.ID {
				return c.ID, nil
			}
		}
	}
	return "", nil
}
