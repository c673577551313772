// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"vitro/image"
	"vitro/listing"
)

// imageListing is what a list needs to know of an image. Nothing is counted or measured.
func imageListing(img image.Image) listing.Image {
	it := listing.Image{
		ID: string(img.ID), Digest: string(img.Manifest), Created: img.Created, Labels: img.Config.Labels,
		Size: img.Size, Containers: -1, SharedSize: -1,
	}
	for _, ref := range img.Refs {
		if r, err := image.ParseReference(ref); err == nil {
			it.Names = append(it.Names, listing.Name{Repository: r.FamiliarName(), Tag: r.Tag})
		}
	}
	return it
}

// ImageUsage counts what images take as archives, which is what the list of
// images says: each of them with what it shares with others and how many of
// the containers stand on it, and all layers together, each once.
func (e *Engine) ImageUsage(containers []*Card) (all int64, images []listing.Image, err error) {
	imgs, err := e.Images.List()
	if err != nil {
		return 0, nil, err
	}
	stand := make(map[image.Digest]int64)
	for _, i := range containers {
		stand[i.ImageID]++
	}
	type blob struct {
		size  int64
		users int
	}
	blobs := make(map[image.Digest]*blob)
	layers := make([][]image.Digest, len(imgs))
	for n, img := range imgs {
		m, _, err := e.Images.Documents(img)
		if err != nil {
			return 0, nil, err
		}
		all += img.Size
		for _, l := range m.Layers {
			if blobs[l.Digest] == nil {
				blobs[l.Digest] = &blob{size: l.Size}
			} else {
				all -= l.Size
			}
			blobs[l.Digest].users++
			layers[n] = append(layers[n], l.Digest)
		}
	}
	for n, img := range imgs {
		it := imageListing(img)
		it.Containers, it.SharedSize = stand[img.ID], 0
		for _, d := range layers[n] {
			if blobs[d].users > 1 {
				it.SharedSize += blobs[d].size
			}
		}
		images = append(images, it)
	}
	return all, images, nil
}

// ImageListings are all images, for a list.
func (e *Engine) ImageListings() ([]listing.Image, error) {
	imgs, err := e.Images.List()
	if err != nil {
		return nil, err
	}
	var list []listing.Image
	for _, img := range imgs {
		list = append(list, imageListing(img))
	}
	listing.SortImages(list)
	return list, nil
}
