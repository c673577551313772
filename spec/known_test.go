// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What is named is understood: no option ends up among the file system's own,
// and no namespace is refused.
func TestKnown(t *testing.T) {
	v := Known()
	for _, w := range v.MountOptions {
		m := &specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{w}}
		if strings.HasSuffix(w, "idmap") {
			m.Type = "bind"
		}
		o, err := readOptions(m)
		if err != nil || len(o.fs) > 0 && !slices.Contains(superWords[:], w) {
			t.Errorf("the mount option %q is named, and not understood: %v, %q", w, err, o.fs)
		}
	}
	for _, n := range v.Namespaces {
		_, err := readNamespaces(&specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: "mount"}, {Type: specs.LinuxNamespaceType(n)}}})
		if err != nil && n != "mount" {
			t.Errorf("the namespace %q is named, and not understood: %v", n, err)
		}
	}
	if !slices.IsSorted(v.MountOptions) || len(slices.Compact(v.MountOptions)) != len(Known().MountOptions) {
		t.Errorf("the mount options are not sorted, or one is there twice: %q", v.MountOptions)
	}
	for _, w := range []string{"ro", "rro", "rbind", "rslave", "nosymfollow"} {
		if !slices.Contains(v.MountOptions, w) {
			t.Errorf("%q is not among the mount options", w)
		}
	}
}
