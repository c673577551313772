// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vitro/host"
)

// A Source is the place in an image whose files an empty volume starts with.
type Source struct {
	Layers []string `json:"layers"` // folders, the lowest first
	Target string   `json:"target"` // in the image
}

// Fill gives an empty volume a copy of a folder of the image: the files with
// all that they are, and the folder's own owner, mode and times. from is -1 if
// the image has no such folder. The caller holds the volume's lock.
//
//	1 copy to stage                 killed: the stage is thrown away, and made again
//	2 rename stage to ready         from here on the copy is whole
//	3 move what is in ready, one by one, to data
//	                                killed: whoever comes next goes on with that
//	4 rename ready back to stage, and remove it
//
// So nobody takes half a copy for a volume. And the folder data is always the
// same one: a container that has it mounted already sees the files come.
func Fill(dir string, from int) error {
	if err := fill(dir, from); err != nil {
		return fmt.Errorf("copy the image's files to volume %q: %w", filepath.Base(dir), err)
	}
	return nil
}

func fill(dir string, from int) error {
	stage, ready, data := dir+"/stage", dir+"/ready", dir+"/data"
	if exists(ready) {
		return settle(ready, data)
	}
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	if names, err := os.ReadDir(data); err != nil || len(names) > 0 || from < 0 {
		return err
	}
	for _, dir := range []string{stage, stage + "/files", stage + "/top"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	to, err := os.Open(stage + "/files")
	if err != nil {
		return err
	}
	defer to.Close()
	if err := host.CopyTree(from, int(to.Fd())); err != nil {
		return err
	}
	// The folder's own times change when the files are moved out of it.
	top, err := os.Open(stage + "/top")
	if err != nil {
		return err
	}
	defer top.Close()
	if err := host.CopyMeta(from, int(top.Fd())); err != nil {
		return err
	}
	if err := unix.Syncfs(int(to.Fd())); err != nil { // or a loss of power could leave less than the name says
		return err
	}
	if err := os.Rename(stage, ready); err != nil {
		return err
	}
	return settle(ready, data)
}

// settle moves what is in ready to data. Where a container has made something
// of the same name meanwhile, that stays.
func settle(ready, data string) error {
	from, err := os.Open(ready + "/files")
	if err != nil {
		return err
	}
	defer from.Close()
	top, err := os.Open(ready + "/top")
	if err != nil {
		return err
	}
	defer top.Close()
	to, err := os.Open(data)
	if err != nil {
		return err
	}
	defer to.Close()
	names, err := from.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Renameat2(int(from.Fd()), name, int(to.Fd()), name, unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("move %q: %w", name, err)
		}
	}
	if err := host.CopyMeta(int(top.Fd()), int(to.Fd())); err != nil {
		return err
	}
	// In one step, too: half of it would not be settled again.
	if err := os.Rename(ready, filepath.Join(filepath.Dir(ready), "stage")); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(filepath.Dir(ready), "stage"))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
