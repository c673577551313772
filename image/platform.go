// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"runtime"
	"strings"
)

// maxIndexDepth is how often an index may point at an index.
const maxIndexDepth = 4

// selectManifest follows indexes to the manifest for this machine. A manifest that stands alone is taken as it is.
func selectManifest(d Descriptor, read func(Descriptor, any) error) (Descriptor, error) {
	for range maxIndexDepth {
		var probe Index // a manifest's "manifests" is empty
		if d.MediaType == "" || isIndex(d.MediaType) {
			if err := read(d, &probe); err != nil {
				return d, err
			}
		}
		if len(probe.Manifests) == 0 && !isIndex(d.MediaType) {
			return d, nil
		}
		var err error
		if d, err = selectPlatform(probe.Manifests); err != nil {
			return d, err
		}
	}
	return d, fmt.Errorf("index points at an index more than %d times", maxIndexDepth)
}

// selectPlatform picks what runs on this machine: of several variants the plainest.
func selectPlatform(list []Descriptor) (Descriptor, error) {
	best, bestScore := Descriptor{}, 0
	var others []string
	for _, d := range list {
		if isAttestation(d) {
			continue
		}
		score := 1 // says nothing: perhaps
		if p := d.Platform; p != nil {
			score = scorePlatform(p)
			others = append(others, p.String())
		}
		if score > bestScore {
			best, bestScore = d, score
		}
	}
	if bestScore == 0 {
		return best, fmt.Errorf("image has nothing for linux/%s, it has: %s", runtime.GOARCH, clip(strings.Join(others, ", ")))
	}
	return best, nil
}

// scorePlatform is 0 for what doesn't run here.
func scorePlatform(p *Platform) int {
	if p.OS != "linux" || p.Architecture != runtime.GOARCH {
		return 0
	}
	switch p.Variant {
	case "", "v1", "v8": // the base line of amd64 and arm64
		return 3
	}
	return 2
}

// isAttestation knows BuildKit's notes on an image, which sit in its index as if they were images.
func isAttestation(d Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || d.ArtifactType != "" ||
		d.Platform != nil && d.Platform.OS == "unknown"
}
