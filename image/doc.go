// SPDX-License-Identifier: Apache-2.0

// Package image keeps the images of this machine: a folder of files, no daemon.
//
// It doesn't download, and it mounts nothing: it hands out directories in the order in which they are to be stacked. It
// is not for the program that every container starts with, since decompressors and the like come with it.
//
// # Words
//
// A blob is a file that is named by its digest: a manifest, a config, or a layer's archive. A layer's diff ID is the
// digest of its archive without compression. An image's ID is the digest of its config, as Docker has it. A reference
// is a name that people use for an image, "busybox:latest"; an image can have several or none.
//
// # On the disk
//
//	images/            an OCI image layout, which other tools can read: skopeo inspect oci:images:busybox:latest
//	  index.json       one descriptor for each reference, and one for each image without
//	  blobs/sha256/    the blobs
//	layers/sha256/<diff ID>/fs   each layer unpacked once, for all images, in overlayfs' form
//	  opaque           beside fs, if the layer replaces everything below it
//	l/<short>          symlinks to the above, for mount options that have to fit in a page
//	names, cards/      what the documents above say, for a quick look; never needed
//	tmp/               what is on its way in or out
//	lock               flock(2)
//
// # Order and locks
//
// What comes in, by [Store.Begin], is made in a folder of its own under tmp, and the lock isn't held: downloads and
// loads go on side by side. [Txn.Commit] takes the lock, renames everything to its place, blobs and layers first, and
// index.json last, by which the image exists. What goes out, goes by [Store.Remove] the other way: index.json first,
// then, by renames to tmp, the rest. So a kill at any moment leaves an image whole or not there.
//
// The owner of a folder in tmp holds a lock on it. One without a lock belongs to a process that is gone; whoever takes
// the store's lock next removes it.
//
// Reading takes no lock. Who makes a container from an image calls [Store.Hold], so that no layer goes away between
// the look at the image and the note that a container uses it.
package image
