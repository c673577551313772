// SPDX-License-Identifier: Apache-2.0

package spec

import "slices"

// Vocabulary is what a config.json may say, each list sorted: parts of a
// runtime's "features".
type Vocabulary struct {
	// MountOptions are the words that are not a file system's own.
	MountOptions []string
	// Namespaces are the types in linux.namespaces.
	Namespaces []string
	// MemoryModes and MemoryFlags are linux.memoryPolicy's.
	MemoryModes, MemoryFlags []string
}

// Known returns what Compile understands, with or without a kernel that can do it.
func Known() Vocabulary {
	var v Vocabulary
	for _, w := range words {
		v.MountOptions = append(v.MountOptions, w.word)
		if w.set|w.clear != 0 {
			v.MountOptions = append(v.MountOptions, "r"+w.word)
		}
	}
	v.MountOptions = append(v.MountOptions, superWords[:]...)
	for _, k := range kinds {
		v.Namespaces = append(v.Namespaces, string(k.typ))
	}
	for _, m := range memoryModes {
		v.MemoryModes = append(v.MemoryModes, string(m.name))
	}
	for _, f := range memoryFlags {
		v.MemoryFlags = append(v.MemoryFlags, string(f.name))
	}
	for _, list := range [][]string{v.MountOptions, v.Namespaces, v.MemoryModes, v.MemoryFlags} {
		slices.Sort(list)
	}
	return v
}
