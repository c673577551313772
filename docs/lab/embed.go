// SPDX-License-Identifier: Apache-2.0

// Package lab is the text of the lessons, one file each, that package
// vitro/lab shows and checks. How a file is built stands in README.md here.
package lab

import "embed"

// Files are the lessons: NN-NAME.md.
//
//go:embed [0-9]*.md
var Files embed.FS
