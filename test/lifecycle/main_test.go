// SPDX-License-Identifier: Apache-2.0

// Package lifecycle drives vitro-oci as engines do: by its verbs, in the right
// order and in every wrong one, by many at a time, and killed in the middle.
//
// With VITRO_LIFECYCLE_RUNTIME=PATH another runtime is driven in its place: what
// is runc's to define was found so. Where runc 1.1.5 does something else, a
// test says so; it fails these, which are about more than words:
//
//	TestHooksInOrder   poststart hooks are called at the end of create
//	TestHookFails      a startContainer hook that fails is not spoken of
//	TestTwoStarts      of two starts at once, one waits for ever
//	TestKilledCreate   cgroups are left
package lifecycle

import (
	"os"
	"strings"
	"testing"

	"vitro/test/bundle"
)

var target string

func TestMain(m *testing.M) {
	os.Exit(bundle.Main(m, nil, func(dir string) (err error) {
		if target = os.Getenv("VITRO_LIFECYCLE_RUNTIME"); target == "" {
			target, err = bundle.Build(dir)
		}
		return err
	}))
}

// box is a container whose process does nothing, for as long as the test.
func box(t *testing.T) *bundle.Box {
	t.Helper()
	b := bundle.New(t, target)
	b.Spec.Process.Args = []string{"sleep", "1000"}
	return b
}

// isRunc reports whether the runtime is runc, for what is known to differ.
func isRunc() bool { return strings.HasSuffix(target, "runc") }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ended(b *bundle.Box) func() bool { return func() bool { return b.Status() == "stopped" } }
