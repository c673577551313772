// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"vitro/plan"
)

// Use is the step that gets a volume ready for a container: it is made if it
// isn't there, and if it is empty it gets what the image has at its place.
type Use struct {
	Volume Volume  `json:"volume"`
	From   *Source `json:"from,omitempty"` // nil: nothing is copied

	store *Store
}

// Use is the step for a volume of this store.
func (s *Store) Use(v Volume, from *Source) *Use { return &Use{Volume: v, From: from, store: s} }

func (a *Use) Verb() string { return "volume" }

// Undo is nothing: a volume outlives its containers.
func (a *Use) Undo() plan.Host { return nil }

func (a *Use) Line() string {
	line := "volume " + a.Volume.Name
	if a.From != nil {
		line += ", with what the image has at " + plan.Quote(a.From.Target) + " if it is empty"
	}
	return line
}

func (a *Use) Shell(s *plan.Script) {
	record, _ := json.Marshal(a.Volume)
	s.Run("mkdir -p %s; : >>%s; [ -e %[3]s ] || echo %[4]s >%[3]s", plan.Quote(a.Volume.Data()), plan.Quote(a.Volume.Dir+"/lock"),
		plan.Quote(a.Volume.Dir+"/volume.json"), plan.Quote(string(record)))
	if a.From == nil {
		return
	}
	data := plan.Quote(a.Volume.Data())
	for i := len(a.From.Layers) - 1; i >= 0; i-- { // the highest that has it is near enough for a script
		from := plan.Quote(a.From.Layers[i] + a.From.Target)
		s.Run("[ -n \"$(ls -A %s)\" ] || [ ! -d %s ] || cp -a %s/. %s", data, from, from, data)
	}
}

// Do is safe against others who do the same at the same time: one of them makes
// the volume, one of them fills it, and the others wait.
func (a *Use) Do(*plan.Env) error {
	for range 100 {
		if _, err := a.store.Create(a.Volume); err != nil {
			return err
		}
		err := a.fill()
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		// Removed at this very moment.
	}
	return fmt.Errorf("use volume %q: somebody else removes it all the time", a.Volume.Name)
}

func (a *Use) fill() error {
	lock, err := a.store.lock(a.Volume.Name)
	if err != nil {
		return err
	}
	defer lock.Close()
	dir := a.Volume.Dir
	if !exists(dir+"/ready") && !exists(dir+"/stage") {
		if a.From == nil {
			return nil
		}
		if names, err := os.ReadDir(a.Volume.Data()); err == nil && len(names) > 0 {
			return nil
		}
	}
	from := Source{}
	if a.From != nil {
		from = *a.From
	}
	return a.store.Fill(dir, from)
}

// Place is a volume that need not be there yet.
func (s *Store) Place(name string) Volume {
	return Volume{Name: name, Dir: filepath.Join(s.Root, name)}
}
