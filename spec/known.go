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
	for _, k := range kinds {
		v.Namespaces = append(v.Namespaces, string(k.typ))
	}
	slices.Sort(v.MountOptions)
	slices.Sort(v.Namespaces)
	return v
}

// Supports reports whether Compile takes a property that not every runtime has,
// by its name in config.json: "linux.intelRdt". It is for those that have a row
// in the table unsupported as long as they are refused; "mounts.idmap" stands for
// the options idmap and ridmap.
func Supports(property string) bool {
	if property == "mounts.idmap" {
		return !slices.Contains(refusedWords[:], "idmap")
	}
	for _, u := range unsupported {
		if u.name == property {
			return false
		}
	}
	return true
}
