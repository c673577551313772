// SPDX-License-Identifier: Apache-2.0

// Package layer unpacks one image layer, a tar archive, into a directory that overlayfs can stack.
//
// A layer comes from a stranger and is usually unpacked by root, so the package trusts nothing in it:
//
//   - Every path is resolved by the kernel with openat2(2) and RESOLVE_BENEATH from a descriptor of the layer's own
//     directory. A symlink inside the layer is followed as long as it stays there; one that leads out, by ".." or
//     because it is absolute, is refused ([ErrEscape]).
//   - The number of entries, the bytes and the free space have limits that hold before the disk is full ([ErrLimit]).
//   - Overlayfs keeps its own notes in extended attributes; an archive can't smuggle them in.
//   - Unless all of it is right, nothing of it stays.
//
// Deleted files arrive as ".wh.NAME" and replaced directories as ".wh..wh..opq" (OCI image spec, "Layer Filesystem
// Changeset"). On the disk they are overlayfs' own form: a character device 0:0, and an extended attribute.
//
// The unpacking is one function, [Unpack], from a [Request] that survives a trip through JSON to a [Result] that does as
// well, so that an engine can run it in another process, inside a user namespace.
//
// It needs Linux 5.8.
//
// It is no general tar program: don't use it to extract into a directory that already holds something, or that somebody
// else can write to while it works.
package layer
