// SPDX-License-Identifier: Apache-2.0

// Package ocijson reads and writes the JSON files of the OCI runtime
// specification (config.json and its kin) with generated code.
//
// It exists for the start of a container. The first use of encoding/json costs
// a program about as much as all of a container's system calls together, since
// it builds its tables by reflection; the functions here have no tables. A
// program that already depends on encoding/json, or reads JSON whose shape is
// not in the table of gen.go, should use encoding/json.
//
// # What is accepted
//
// Input is JSON as RFC 8259 and encoding/json define it, and gives the value
// that [encoding/json.Unmarshal] would give: null leaves a value alone and
// empties a pointer, list or map; unknown properties are skipped, as the
// runtime specification demands of a runtime; of a property given twice the
// last one wins, and objects given twice are merged; invalid UTF-8 and unpaired
// surrogates become U+FFFD; more than 10000 levels of nesting are refused.
//
// It differs from encoding/json in three ways:
//
//   - Property names match exactly. encoding/json also takes "OCIVERSION" for
//     "ociVersion"; here that is an unknown property, as RFC 8259 and the
//     specification have it. Two readers of one file must not disagree about
//     which of two spellings counts.
//   - The sections of a [specs.Spec] for other platforms (solaris, windows, vm,
//     zos, freebsd) must be well-formed but are skipped, and are not written.
//   - The first mistake ends the reading, and no half-filled value is returned.
//
// # What is written
//
// The Append functions write what encoding/json writes with SetEscapeHTML(false)
// and without white space, byte for byte: fields in the order of the struct, maps
// by sorted key. Invalid UTF-8 in a string is written as \ufffd.
//
// # Memory
//
// The strings of a decoded value share one private copy of the input, which
// lives as long as any of them; [strings.Clone] what shall outlive the rest.
// The input itself may be changed after a Decode function has returned.
package ocijson

//go:generate go run gen.go
