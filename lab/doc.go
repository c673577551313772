// SPDX-License-Identifier: Apache-2.0

// Package lab is the lessons about what a container is made of, on the live
// kernel: it shows them, says whether one was done right, and takes back what
// they have made.
//
// A lesson is a text (docs/lab) and some rows of the table in this package.
// Each row asks the kernel one question; nothing is kept of what was done, so
// what is gone from the kernel is undone. All that lessons make has a name by
// which it is found again:
//
//	files, mounts     below the lab's folder, ~/vitro-lab
//	processes         have VITRO_LAB=FOLDER/LESSON in the environment they began with
//	cgroups           vitro-lab, and what is below
//	links             lab-NAME; network namespaces too, as ip(8) keeps them
//	nftables          the table vitro-lab
//	containers        vitro-lab-NAME, the image vitro-lab:1; they are the engine's to remove
//
// Clean removes what has such a name, and nothing else.
//
// What is read here was written by whoever may: paths are opened without
// following links, files are read up to a limit and never waited for, and names
// are printed with what a terminal would obey made visible.
package lab
