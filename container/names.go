// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A name is a symbolic link in the folder Store.Names whose target is the
// container's ID. It is made by one call that fails if the name is taken, so
// two who want the same need no lock; and a container is found by its name
// without a look at the others.

// A NotFoundError is the answer to a word that no container is called by.
type NotFoundError struct {
	Word  string
	Names []string // of the containers that there are
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("no container %q", e.Word) }

// Is has it be an ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// Name gives a container a name. It fails with ErrExists if another has it.
func (s *Store) Name(name, id string) error {
	if err := CheckID(name); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Names, 0o711); err != nil {
		return fmt.Errorf("name container %q: %w", name, err)
	}
	link := filepath.Join(s.Names, name)
	for range 10 {
		err := os.Symlink(id, link)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		owner, err := os.Readlink(link)
		if err != nil {
			continue // it has just gone
		}
		if owner == id {
			return nil
		}
		if _, err := os.Lstat(filepath.Join(s.Root, owner)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("name container %q: %w: %s", name, ErrExists, owner[:min(12, len(owner))])
		}
		if err := s.Unname(name, owner); err != nil { // left by a container that was removed
			return err
		}
	}
	return fmt.Errorf("name container %q: %w", name, ErrExists)
}

// Unname takes a name away from a container. It is no error if it hasn't got it.
//
// The link is moved out of the way before it is looked at: between a look and
// a removal somebody else may have made one of the same name.
func (s *Store) Unname(name, id string) error {
	link := filepath.Join(s.Names, name)
	if owner, err := os.Readlink(link); err != nil || owner != id {
		return nil
	}
	aside := filepath.Join(s.Names, newPrefix+name+"."+NewID()[:12])
	if err := os.Rename(link, aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("take name %q away: %w", name, err)
	}
	if owner, err := os.Readlink(aside); err == nil && owner != id {
		_ = os.Link(aside, link) // another's; who has taken the name meanwhile has a right to it
	}
	return os.Remove(aside)
}

// sweepNames takes away the names of containers that have gone: whoever removed
// one was killed before the name's turn came.
func (s *Store) sweepNames() error {
	entries, err := os.ReadDir(s.Names)
	if s.Names == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		link := filepath.Join(s.Names, e.Name())
		id, e1 := os.Readlink(link)
		if e1 != nil {
			continue
		}
		if _, e2 := os.Lstat(filepath.Join(s.Root, id)); !errors.Is(e2, fs.ErrNotExist) {
			continue
		}
		if strings.HasPrefix(e.Name(), newPrefix) { // moved aside by Unname
			err = errors.Join(err, os.Remove(link))
		} else {
			err = errors.Join(err, s.Unname(e.Name(), id))
		}
	}
	return err
}

// Resolve finds a container's ID by its ID, its name, or a beginning of the ID
// that no other has.
func (s *Store) Resolve(word string) (string, error) {
	if CheckID(word) != nil {
		return "", &NotFoundError{Word: word}
	}
	if len(word) == 64 {
		if _, err := os.Lstat(filepath.Join(s.Root, word)); err == nil {
			return word, nil
		}
	}
	if id, err := os.Readlink(filepath.Join(s.Names, word)); err == nil {
		if _, err := os.Lstat(filepath.Join(s.Root, id)); err == nil {
			return id, nil
		}
	}
	ids, err := s.IDs()
	if err != nil {
		return "", err
	}
	var found []string
	for _, id := range ids {
		if strings.HasPrefix(id, word) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", &NotFoundError{Word: word, Names: s.AllNames()}
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("find container %q: %d containers' IDs begin so", word, len(found))
}

// IDs are those of all containers, whole or in the making, in order.
func (s *Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(s.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.Name()[0] != '.' {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// AllNames are the names that containers have, in order.
func (s *Store) AllNames() []string {
	entries, _ := os.ReadDir(s.Names)
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}
