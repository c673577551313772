// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"strings"
	"time"

	"vitro/image"
)

// An InspectedImage is what is known of an image, with Docker's names.
type InspectedImage struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Parent       string
	Comment      string
	Created      time.Time
	Author       string
	Config       InspectedImageConfig
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64
	GraphDriver  InspectedDriver
	RootFS       InspectedRootFS
	Metadata     struct{ LastTagTime time.Time }
	Descriptor   image.Descriptor
}

// InspectedRootFS are an image's layers, the lowest first.
type InspectedRootFS struct {
	Type   string
	Layers []image.Digest
}

// InspectedImageConfig is how a container of the image is meant to run.
type InspectedImageConfig struct {
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string
	Cmd          []string
	Healthcheck  *image.Healthcheck `json:",omitempty"`
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string   `json:",omitempty"`
	Shell        []string `json:",omitempty"`
}

// InspectImage looks at an image.
func (e *Engine) InspectImage(name string) (*InspectedImage, error) {
	img, err := e.Images.Get(name)
	if err != nil {
		return nil, imageHint(err)
	}
	return e.inspectImage(img)
}

func (e *Engine) inspectImage(img image.Image) (*InspectedImage, error) {
	m, c, err := e.Images.Documents(img)
	if err != nil {
		return nil, err
	}
	i := &InspectedImage{
		ID: string(img.ID), RepoTags: slices.Clone(img.Refs), RepoDigests: []string{}, Created: img.Created, Author: c.Author,
		Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, Size: img.Size, RootFS: InspectedRootFS{Type: "layers", Layers: c.RootFS.DiffIDs},
		Descriptor: image.Descriptor{MediaType: m.MediaType, Digest: img.Manifest},
	}
	if i.RepoTags == nil {
		i.RepoTags = []string{}
	}
	for _, ref := range img.Refs {
		r, err := image.ParseReference(ref)
		if digest := r.FamiliarName() + "@" + string(img.Manifest); err == nil && !slices.Contains(i.RepoDigests, digest) {
			i.RepoDigests = append(i.RepoDigests, digest)
		}
	}
	if n := len(c.History); n > 0 {
		i.Comment = c.History[n-1].Comment
	}
	k := &img.Config
	i.Config = InspectedImageConfig{User: k.User, ExposedPorts: k.ExposedPorts, Env: k.Env, Cmd: k.Cmd, Healthcheck: k.Healthcheck, Volumes: k.Volumes,
		WorkingDir: k.WorkingDir, Entrypoint: k.Entrypoint, OnBuild: k.OnBuild, Labels: k.Labels, StopSignal: k.StopSignal, Shell: k.Shell}
	i.GraphDriver = InspectedDriver{Name: "overlay2", Data: map[string]string{}}
	if n := len(img.Layers); n > 0 {
		i.GraphDriver.Data["UpperDir"] = img.Layers[n-1]
		lower := slices.Clone(img.Layers[:n-1])
		slices.Reverse(lower)
		if n > 1 {
			i.GraphDriver.Data["LowerDir"] = strings.Join(lower, ":")
		}
	}
	return i, nil
}

// A Step of an image's history.
type Step struct {
	ID        image.Digest // of the image, of its last step; others have none
	Created   time.Time
	CreatedBy string
	Comment   string
	Size      int64
}

// History says how an image came to be, the last step first.
func (e *Engine) History(name string) ([]Step, error) {
	img, err := e.Images.Get(name)
	if err != nil {
		return nil, imageHint(err)
	}
	m, c, err := e.Images.Documents(img)
	if err != nil {
		return nil, err
	}
	var steps []Step
	layers := m.Layers
	for _, h := range c.History {
		s := Step{CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			s.Created = *h.Created
		}
		if !h.EmptyLayer && len(layers) > 0 {
			s.Size, layers = layers[0].Size, layers[1:]
		}
		steps = append(steps, s)
	}
	for _, l := range layers { // whoever made it did not say how
		steps = append(steps, Step{Size: l.Size, Created: img.Created})
	}
	slices.Reverse(steps)
	if len(steps) > 0 {
		steps[0].ID = img.ID
	}
	return steps, nil
}

// TagImage gives an image a further name.
func (e *Engine) TagImage(name, as string) error {
	ref, err := image.ParseReference(as)
	if err != nil {
		return err
	}
	img, err := e.Images.Get(name)
	if err != nil {
		return imageHint(err)
	}
	if err := e.Images.Tag(name, ref); err != nil {
		return err
	}
	e.TellImage("tag", ref.Familiar(), img)
	return nil
}

// Saving finds images to save. One that is named by its name is saved with it,
// one that is named by its ID without any.
func (e *Engine) Saving(names []string) (list []image.Saving, err error) {
	for _, name := range names {
		img, err := e.Images.Get(name)
		if err != nil {
			return nil, imageHint(err)
		}
		i := slices.IndexFunc(list, func(s image.Saving) bool { return s.Image.ID == img.ID })
		if i < 0 {
			i, list = len(list), append(list, image.Saving{Image: img})
		}
		ref, err := image.ParseReference(name)
		if err == nil && slices.Contains(img.Refs, ref.Familiar()) && !slices.Contains(list[i].Names, ref) {
			list[i].Names = append(list[i].Names, ref)
		}
	}
	return list, nil
}

// PruneImages removes images without a name, or with all those that no container
// uses, for which also holds.
func (e *Engine) PruneImages(all bool, also func(*InspectedImage) bool) (sum image.Removed, err error) {
	list, err := e.Images.List()
	if err != nil {
		return sum, err
	}
	for _, img := range list {
		if len(img.Refs) > 0 && !all {
			continue
		}
		if id, err := e.standsOn(img); err != nil || id != "" {
			if err != nil {
				return sum, err
			}
			continue
		}
		i, err := e.inspectImage(img)
		if err != nil {
			return sum, err
		}
		if !also(i) {
			continue
		}
		used := e.used()
		res, err := e.Images.Remove(string(img.ID), image.RemoveOptions{Force: true, InUse: func(d image.Digest) bool { return used[d] != "" }})
		e.tellRemoved(img, res)
		sum.Untagged, sum.Deleted, sum.Bytes = append(sum.Untagged, res.Untagged...), append(sum.Deleted, res.Deleted...), sum.Bytes+res.Bytes
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}
