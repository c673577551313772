// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// shipped are the images that critest pulls, by the last part of their names: a
// file of makeImages, and what its configuration has beside that. Those that
// differ in nothing but their names are told apart by their environment.
var shipped = [...]struct {
	name, layer string
	config      map[string]any
}{
	{"busybox", "cri", nil},
	// Not sleep: a test looks for a process of that name in a pod.
	{"pause", "cri", map[string]any{"Cmd": []string{"tail", "-f", "/dev/null"}}},
	{"nginx", "cri", map[string]any{"Cmd": []string{"nginx", "-c", "/etc/nginx/80.conf", "-g", "daemon off;"}}},
	{"hostnet-nginx-" + runtime.GOARCH, "cri", map[string]any{"Cmd": []string{"nginx", "-c", "/etc/nginx/12003.conf", "-g", "daemon off;"}}},
	{"httpd", "cri", map[string]any{"Cmd": []string{"sh", "-c", "echo httpd; exec busybox httpd -f -p 80 -h /srv"}}},
	{"nonewprivs", "nonewprivs", map[string]any{"Entrypoint": []string{"/nnp"}}},
	{"test-image-latest", "cri", nil},
	{"test-image-tag", "cri", nil},
	{"test-image-tags", "cri", nil},
	{"test-image-1", "cri", nil},
	{"test-image-2", "cri", nil},
	{"test-image-3", "cri", nil},
	{"test-image-user-uid", "cri", map[string]any{"User": "1002"}},
	{"test-image-user-username", "cri", map[string]any{"User": "www-data"}},
	{"test-image-user-uid-group", "cri", map[string]any{"User": "1003:users"}},
	{"test-image-user-username-group", "cri", map[string]any{"User": "www-data:100"}},
	{"test-image-predefined-group", "cri", map[string]any{"User": "1000"}},
}

// A registry is one that images can be pulled from, whatever comes before the
// last part of a name and whatever the tag.
type registry struct {
	blobs  map[string][]byte // by digest
	images map[string]string // digests of manifests, by name
}

// newRegistry reads the layers in dir.
func newRegistry(dir string) (*registry, error) {
	r := &registry{blobs: map[string][]byte{}, images: map[string]string{}}
	for _, image := range shipped {
		layer, err := os.ReadFile(filepath.Join(dir, image.layer+".tar"))
		if err != nil {
			return nil, err
		}
		config := map[string]any{"Env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "IMAGE=" + image.name}}
		for k, v := range image.config {
			config[k] = v
		}
		l := r.add("application/vnd.oci.image.layer.v1.tar", layer)
		c, err := r.addJSON("application/vnd.oci.image.config.v1+json", map[string]any{
			"architecture": runtime.GOARCH, "os": "linux", "config": config,
			"rootfs": map[string]any{"type": "layers", "diff_ids": []any{l["digest"]}},
		})
		if err != nil {
			return nil, err
		}
		m, err := r.addJSON(manifestType, map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": c, "layers": []any{l}})
		if err != nil {
			return nil, err
		}
		r.images[image.name] = m["digest"].(string)
	}
	return r, nil
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// add keeps a blob, and returns what refers to it.
func (r *registry) add(mediaType string, blob []byte) map[string]any {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(blob))
	r.blobs[digest] = blob
	return map[string]any{"mediaType": mediaType, "digest": digest, "size": len(blob)}
}

func (r *registry) addJSON(mediaType string, v any) (map[string]any, error) {
	text, err := json.Marshal(v)
	return r.add(mediaType, text), err
}

// ServeHTTP answers /v2/NAME/manifests/REFERENCE and /v2/NAME/blobs/DIGEST.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	dir, digest := path.Split(req.URL.Path)
	name, kind := path.Split(path.Clean(dir))
	if kind == "manifests" {
		w.Header().Set("Content-Type", manifestType)
		if !strings.HasPrefix(digest, "sha256:") {
			digest = r.images[path.Base(name)]
		}
	}
	blob, ok := r.blobs[digest]
	if !ok {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
	if req.Method != http.MethodHead {
		w.Write(blob)
	}
}
