// SPDX-License-Identifier: Apache-2.0

// Package volume keeps volumes: folders that outlive the containers which have
// them mounted.
//
//	NAME/data         the volume's files, as containers see them
//	NAME/volume.json  driver, options, labels, when it was made; never changed
//	NAME/lock         flock(2): held while a volume is filled or removed
//	NAME/stage        a copy of the image's files on its way in: see Fill
//	NAME/ready        the same, whole: it only needs to be moved to data
//
// A volume is made under another name and renamed, so it is whole or not there;
// it is renamed again before it is removed. What a process that was killed has
// left is removed by whoever makes or removes a volume next. There is no lock
// but that of the single volume.
//
// Which containers use a volume is not written down here: who removes one asks
// the containers (see Store.Remove).
package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Store is the volumes below one folder. The folder is made with the first of them.
type Store struct {
	Root string
	// RemoveAll removes a folder with files of other users in it, as an ordinary
	// user's volumes have them; nil is os.RemoveAll.
	RemoveAll func(path string) error
	// Fill gives an empty volume what the image has at its place: it has Fill,
	// the function, called by a process that may read the image and write the
	// volume. The caller holds the volume's lock.
	Fill func(dir string, from Source) error
}

// A Volume is what is known of one.
type Volume struct {
	Name      string            `json:"name"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"` // nobody has given it a name
	Dir       string            `json:"-"`                   // the volume's own folder
}

// Driver is the only one that there is.
const Driver = "local"

// Data is the folder that containers have mounted.
func (v Volume) Data() string { return filepath.Join(v.Dir, "data") }

var (
	// ErrNotFound is the answer to a name that no volume has.
	ErrNotFound = errors.New("no such volume")
	// ErrConflict is the answer to who wants a volume that is there already, with other options.
	ErrConflict = errors.New("a volume of this name exists, with other options")
)

// An InUseError is the answer to who wants to remove what containers need.
type InUseError struct {
	Name string
	IDs  []string // of the containers
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("remove volume %q: volume is in use - [%s]", e.Name, strings.Join(e.IDs, ", "))
}

// Hint says what to do about it.
func (e *InUseError) Hint() string { return "remove the container first: vitro rm -f " + e.IDs[0] }

// What the names of folders begin with that are on their way in or out.
const (
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// CheckName refuses what Docker refuses: a name is at least two of letters,
// digits and "_.-", with a letter or a digit in front. So it is safe as a
// folder's.
func CheckName(name string) error {
	ok := len(name) >= 2 && len(name) <= 255
	for i, r := range []byte(name) {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		ok = ok && (alnum || i > 0 && strings.IndexByte("_.-", r) >= 0)
	}
	if !ok {
		return fmt.Errorf("use %q as a volume's name: want at least two letters, digits and any of _.- but none of these in front", name)
	}
	return nil
}

// Create makes a volume. One that is there already is as good, unless its
// options differ.
func (s *Store) Create(v Volume) (Volume, error) {
	if err := CheckName(v.Name); err != nil {
		return v, err
	}
	if _, err := ReadOptions(v.Options); err != nil {
		return v, fmt.Errorf("make volume %q: %w", v.Name, err)
	}
	old, err := s.Get(v.Name)
	if errors.Is(err, ErrNotFound) {
		if err = s.create(&v); !errors.Is(err, fs.ErrExist) {
			return v, err
		}
		old, err = s.Get(v.Name) // somebody else was faster
	}
	if err != nil {
		return v, err
	}
	if len(v.Options) > 0 && !equal(v.Options, old.Options) {
		return old, fmt.Errorf("make volume %q: %w", v.Name, ErrConflict)
	}
	return old, nil
}

func equal(a, b map[string]string) bool {
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return len(a) == len(b)
}

// create makes the folder under another name, and renames it.
func (s *Store) create(v *Volume) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make volume %q: %w", v.Name, err)
		}
	}()
	if err := os.MkdirAll(s.Root, 0o711); err != nil {
		return err
	}
	s.sweep()
	tmp, err := os.MkdirTemp(s.Root, newPrefix)
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(tmp+"/lock", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	defer lock.Close()
	if v.Created.IsZero() {
		v.Created = time.Now().UTC().Truncate(time.Second)
	}
	record, err := json.Marshal(v)
	if err == nil {
		err = flock(lock, unix.LOCK_EX)
	}
	if err == nil {
		err = os.WriteFile(tmp+"/volume.json", append(record, '\n'), 0o600)
	}
	if err == nil {
		err = os.Mkdir(tmp+"/data", 0o755)
	}
	if err == nil {
		err = os.Chmod(tmp+"/data", 0o755) // whatever the umask is
	}
	if err == nil {
		err = os.Chmod(tmp, 0o711) // a user's containers are other users
	}
	v.Dir = filepath.Join(s.Root, v.Name)
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, v.Dir, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return nil
}

// Get finds a volume by its name.
func (s *Store) Get(name string) (v Volume, err error) {
	if CheckName(name) != nil {
		return v, fmt.Errorf("find volume %q: %w", name, ErrNotFound)
	}
	dir := filepath.Join(s.Root, name)
	record, err := os.ReadFile(filepath.Join(dir, "volume.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return v, fmt.Errorf("find volume %q: %w", name, ErrNotFound)
	}
	if err == nil {
		err = json.Unmarshal(record, &v)
	}
	if err != nil {
		return v, fmt.Errorf("read volume %q: %w", name, err)
	}
	v.Name, v.Dir = name, dir
	return v, nil
}

// List gives all volumes, by their names.
func (s *Store) List() ([]Volume, error) {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var all []Volume
	for _, e := range entries {
		v, err := s.Get(e.Name())
		if errors.Is(err, ErrNotFound) {
			continue // on its way in or out, or not ours
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Remove takes a volume away, if no container uses it: users says which do. It
// is asked under the volume's lock, which whoever mounts the volume takes after
// a note that it will, so nobody is missed.
func (s *Store) Remove(name string, users func(name string) []string) error {
	if _, err := s.Get(name); err != nil {
		return err
	}
	s.sweep()
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer lock.Close()
	if ids := users(name); len(ids) > 0 {
		return &InUseError{name, ids}
	}
	gone, err := os.MkdirTemp(s.Root, gonePrefix)
	if err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	// Onto the empty folder: one step. (os.Rename would refuse a folder.)
	if err := unix.Rename(filepath.Join(s.Root, name), gone); err != nil {
		return fmt.Errorf("remove volume %q: %w", name, errors.Join(err, os.Remove(gone)))
	}
	if err := s.removeAll(gone); err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	return nil
}

func (s *Store) removeAll(dir string) error {
	if s.RemoveAll != nil {
		return s.RemoveAll(dir)
	}
	return os.RemoveAll(dir)
}
