// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	tests := []struct{ in, full, short string }{
		{"busybox", "docker.io/library/busybox:latest", "busybox:latest"},
		{"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
		{"docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"},
		{"index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"},
		{"a/b", "docker.io/a/b:latest", "a/b:latest"},
		{"library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
		{"localhost/a", "localhost/a:latest", "localhost/a:latest"},
		{"localhost:5000/a:t", "localhost:5000/a:t", "localhost:5000/a:t"},
		{"[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"},
		{"Quay.io/a__b/c.d-e--f_g:V1", "Quay.io/a__b/c.d-e--f_g:V1", "Quay.io/a__b/c.d-e--f_g:V1"},
		{"HOST/a", "HOST/a:latest", "HOST/a:latest"},
		{"a@" + someDigest, "docker.io/library/a@" + someDigest, "a@" + someDigest},
		{"a:t@" + someDigest, "docker.io/library/a:t@" + someDigest, "a:t@" + someDigest},
	}
	for _, tt := range tests {
		r, err := ParseReference(tt.in)
		if err != nil || r.String() != tt.full || r.Familiar() != tt.short {
			t.Errorf("ParseReference(%q) = %s, %s, %v; want %s, %s", tt.in, r, r.Familiar(), err, tt.full, tt.short)
		}
	}
	bad := []string{
		"", ":", "a:", "a:-b", "a:" + strings.Repeat("t", 129), "A", "a/B", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a_", ".a",
		"a b", "a@sha256:12", "a@md5:1234", "a@", "a@b@c", "localhost:x/a", "a.b:/c", "-h.com/a", "[zz]/a", "../a", "a/../b", "http://a/b", "ä",
		strings.Repeat("0", 64), strings.Repeat("a", 256), "a\x00", "a\n",
	}
	for _, s := range bad {
		if r, err := ParseReference(s); err == nil {
			t.Errorf("ParseReference(%q) = %s; want an error", s, r)
		}
	}
}

func TestParseDigest(t *testing.T) {
	d, err := ParseDigest(someDigest)
	if err != nil || d.Short() != "0123456789ab" || len(d.Hex()) != 64 {
		t.Errorf("ParseDigest = %s, %v", d, err)
	}
	for _, s := range []string{"", "sha256:", someDigest[7:], strings.ToUpper(someDigest), "sha512:" + someDigest[7:], someDigest + "0", "sha256:" + strings.Repeat("../", 21) + "x"} {
		if d, err := ParseDigest(s); err == nil {
			t.Errorf("ParseDigest(%q) = %s; want an error", s, d)
		}
	}
}

func TestConfigChange(t *testing.T) {
	var c Config
	for _, line := range []string{
		`CMD ["sh", "-c", "x"]`, `entrypoint exec top -b`, `ENV A=1 B="two words" C=a\ b`, `ENV A=3`, `ENV OLD form of it`,
		`WORKDIR /a`, `WORKDIR b/../c`, `USER 1:2`, `EXPOSE 80 53/udp 8000-8001`, `VOLUME ["/v"]`, `VOLUME /w /x`,
		`LABEL k=v "l m"='n o'`, `STOPSIGNAL SIGINT`, `SHELL ["/bin/ash", "-c"]`, `ONBUILD RUN x`,
	} {
		if err := c.Change(line); err != nil {
			t.Errorf("Change(%q): %v", line, err)
		}
	}
	set := func(s ...string) map[string]struct{} {
		m := map[string]struct{}{}
		for _, k := range s {
			m[k] = struct{}{}
		}
		return m
	}
	want := Config{
		Cmd: []string{"sh", "-c", "x"}, Entrypoint: []string{"/bin/sh", "-c", "exec top -b"},
		Env: []string{"A=3", "B=two words", "C=a b", "OLD=form of it"}, WorkingDir: "/a/c", User: "1:2",
		ExposedPorts: set("80/tcp", "53/udp", "8000/tcp", "8001/tcp"), Volumes: set("/v", "/w", "/x"),
		Labels: map[string]string{"k": "v", "l m": "n o"}, StopSignal: "SIGINT", Shell: []string{"/bin/ash", "-c"}, OnBuild: []string{"RUN x"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	for _, line := range []string{"", "FROM x", "CMD", "ENV", "ENV A", `ENV A="x`, "EXPOSE x", "EXPOSE 0", "EXPOSE 9-8", "EXPOSE 1/icmp", "EXPOSE 70000", "SHELL sh", "LABEL =x"} {
		if err := c.Change(line); err == nil {
			t.Errorf("Change(%q): no error", line)
		}
	}
}

func TestGroup(t *testing.T) {
	named := func(d, name string) Descriptor {
		return Descriptor{Digest: Digest(d), Annotations: map[string]string{annotationRef: name}}
	}
	plat := func(d, arch string) Descriptor {
		return Descriptor{Digest: Digest(d), Platform: &Platform{OS: "linux", Architecture: arch}}
	}
	tests := []struct {
		name string
		list []Descriptor
		want []int
	}{
		{"two names", []Descriptor{named("1", "a:1"), named("2", "b:1")}, []int{1, 1}},
		{"one name twice", []Descriptor{named("1", "a:1"), named("2", "a:1")}, []int{2}},
		{"platforms without names", []Descriptor{plat("1", "amd64"), plat("2", "arm64")}, []int{2}},
		{"one platform, two images", []Descriptor{plat("1", "amd64"), plat("2", "amd64")}, []int{1, 1}},
		{"no platform", []Descriptor{{Digest: "1"}, {Digest: "2"}}, []int{1, 1}},
		{"tag of no repository", []Descriptor{named("1", "latest")}, []int{1}},
	}
	for _, tt := range tests {
		var got []int
		for _, g := range group(tt.list) {
			got = append(got, len(g))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: groups of %v; want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"busybox", "localhost:5000/a/b:t", "[::1]:1/a", "a@" + someDigest, "a:t@" + someDigest, "HOST/a__b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		for _, form := range []string{r.String(), r.Familiar()} {
			if again, err := ParseReference(form); err != nil || again != r {
				t.Errorf("ParseReference(%q) = %+v, but of its own form %q %+v, %v", s, r, form, again, err)
			}
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add(someDigest)
	f.Add("sha256:../..")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDigest(s); err == nil && (string(d) != s || strings.ContainsAny(d.Hex(), "./")) {
			t.Errorf("ParseDigest(%q) = %q", s, d)
		}
	})
}

// Any table of contents over any config ends in an error or a whole image.
func FuzzManifests(f *testing.F) {
	base := tarOf(f, file{name: "a", content: "b"})
	f.Add(`[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`, "", configOf(f, base))
	f.Add("", `{"manifests":[{"digest":"`+someDigest+`","size":3}]}`, "{}")
	f.Add("null", "[]", "{")
	f.Fuzz(func(t *testing.T, docker, oci, config string) {
		files := []file{{name: "c", content: config}, {name: "l", content: string(base)}}
		if docker != "" {
			files = append(files, file{name: "manifest.json", content: docker})
		}
		if oci != "" {
			files = append(files, file{name: "index.json", content: oci})
		}
		s := testStore(t)
		images, err := s.Load(context.Background(), bytes.NewReader(tarOf(t, files...)))
		if err == nil && len(images) == 0 {
			t.Error("no error and no image")
		}
		checkStore(t, s)
	})
}
