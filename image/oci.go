// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Media types of OCI and, where Docker's differ only in name, of Docker.
const (
	MediaIndex           = "application/vnd.oci.image.index.v1+json"
	MediaManifest        = "application/vnd.oci.image.manifest.v1+json"
	MediaConfig          = "application/vnd.oci.image.config.v1+json"
	MediaLayer           = "application/vnd.oci.image.layer.v1.tar"
	MediaLayerGzip       = MediaLayer + "+gzip"
	MediaLayerZstd       = MediaLayer + "+zstd"
	MediaDockerIndex     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaDockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	MediaDockerManifest1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Annotations of a descriptor in index.json.
const (
	// annotationRef holds the name by which other tools find an image in a layout: the short form.
	annotationRef = "org.opencontainers.image.ref.name"
	// annotationName holds the name in full, as containerd and Docker write it.
	annotationName = "io.containerd.image.name"
	// annotationID saves Get from reading manifests: the digest of the config.
	annotationID = "io.vitro.image.id"
)

// A Descriptor points at a blob.
type Descriptor struct {
	MediaType    string            `json:"mediaType,omitempty"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

// A Platform is what an image runs on.
type Platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
}

func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// A Manifest lists an image's config and layers, lowest first.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// An Index lists manifests: of an image for several platforms, or of a whole layout.
type Index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// A ConfigFile is an image's config blob.
type ConfigFile struct {
	Created *time.Time `json:"created,omitempty"`
	Author  string     `json:"author,omitempty"`
	Platform
	Config  Config    `json:"config"`
	RootFS  RootFS    `json:"rootfs"`
	History []History `json:"history,omitempty"`
}

// A RootFS names the layers by diff ID, lowest first.
type RootFS struct {
	Type    string   `json:"type"`
	DiffIDs []Digest `json:"diff_ids"`
}

// A History entry says how a layer, or nothing, came to be.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}

// A Config is how a container of the image is meant to run.
type Config struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`
}

// A Healthcheck is Docker's addition to a Config. Durations are in nanoseconds, as Docker writes them.
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

const (
	// maxJSON is the largest document that is read into memory: what registries take for a manifest.
	maxJSON = 4 << 20
	// maxIndexJSON is for the store's own index.json, which grows with the number of images.
	maxIndexJSON = 64 << 20
	// maxLayers is how many directories overlayfs stacks (OVL_MAX_STACK in fs/overlayfs).
	maxLayers = 500
)

func isIndex(mediaType string) bool { return mediaType == MediaIndex || mediaType == MediaDockerIndex }

// readJSON reads one document of at most max bytes.
func readJSON(r io.Reader, max int64, v any) error {
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return err
	}
	if int64(len(b)) > max {
		return fmt.Errorf("document is larger than %d bytes", max)
	}
	return json.Unmarshal(b, v)
}

// check refuses a manifest that can't be an image's.
func (m *Manifest) check() error {
	switch {
	case m.MediaType == MediaDockerManifest1 || m.SchemaVersion == 1:
		return fmt.Errorf("manifest is of schema version 1, which is too old")
	case m.Config.Digest == "":
		return fmt.Errorf("manifest has no config: it is not an image's")
	case len(m.Layers) > maxLayers:
		return fmt.Errorf("image has %d layers, overlayfs stacks at most %d", len(m.Layers), maxLayers)
	}
	for _, d := range slices.Concat(m.Layers, []Descriptor{m.Config}) {
		if d.Digest == "" || d.Size < 0 {
			return fmt.Errorf("manifest points at %q with %d bytes", d.Digest, d.Size)
		}
	}
	return nil
}

// check refuses a config that doesn't go with its manifest.
func (c *ConfigFile) check(m *Manifest) error {
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("config has %d diff IDs, manifest has %d layers", len(c.RootFS.DiffIDs), len(m.Layers))
	}
	for i, d := range c.RootFS.DiffIDs {
		if d == "" {
			return fmt.Errorf("config's diff ID %d is empty", i)
		}
	}
	return nil
}
