// SPDX-License-Identifier: Apache-2.0

package seccomp

import "slices"

// Vocabulary is what a section may say, each list sorted: the seccomp part of a
// runtime's "features".
type Vocabulary struct {
	Actions, Operators, Archs, Flags []string
}

// Known returns what Compile understands. Among the architectures are those
// that it passes over because no kernel that it compiles for serves them.
func Known() Vocabulary {
	var v Vocabulary
	for _, a := range actions {
		v.Actions = append(v.Actions, string(a.name))
	}
	for _, o := range operators {
		v.Operators = append(v.Operators, string(o.name))
	}
	for _, a := range archs {
		v.Archs = append(v.Archs, string(a.scmp))
	}
	for _, a := range foreign {
		v.Archs = append(v.Archs, string(a))
	}
	for _, f := range flags {
		v.Flags = append(v.Flags, string(f.name))
	}
	for _, list := range [][]string{v.Actions, v.Operators, v.Archs, v.Flags} {
		slices.Sort(list)
	}
	return v
}
