// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Get is on the way of every container, and to decode three JSON documents by reflection takes a new process longer
// than to start the container. So the answers are kept beside the documents, in a form that is read in microseconds:
//
//	names            what index.json says about names, and which index.json that was
//	cards/<digest>   an Image, by its manifest
//
// Neither is ever believed against the documents: if names was made from another index.json than the one that is there,
// or something is missing or odd, the documents are read.

// quick is Get for a plain name. False: ask the documents.
func (s *Store) quick(name string) (Image, bool) {
	ref, err := ParseReference(name)
	if err != nil || ref.Digest != "" {
		return Image{}, false
	}
	stamp, err := fileStamp(s.indexPath())
	if err != nil {
		return Image{}, false
	}
	b, err := os.ReadFile(s.path("names"))
	if err != nil {
		return Image{}, false
	}
	names, ok := strings.CutPrefix(string(b), stamp)
	if !ok || !strings.HasSuffix(names, namesEnd) {
		return Image{}, false
	}
	_, line, ok := strings.Cut(names, "\n"+ref.String()+"\t")
	if !ok {
		return Image{}, false
	}
	line, _, _ = strings.Cut(line, "\n")
	_, digests, _ := strings.Cut(line, "\t")
	manifest, id, _ := strings.Cut(digests, "\t")
	img, ok := s.readCard(Digest(manifest))
	if !ok || string(img.ID) != id {
		return Image{}, false
	}
	img.Refs = namesOf(names, "\t"+id)
	return img, true
}

// namesEnd says that the file wasn't cut off.
const namesEnd = "\nend\n"

// namesOf gives the short names in the lines that end so.
func namesOf(names, suffix string) []string {
	var refs []string
	for line := range strings.SplitSeq(names, "\n") {
		if rest, ok := strings.CutSuffix(line, suffix); ok {
			if fields := strings.Split(rest, "\t"); len(fields) == 3 {
				refs = append(refs, fields[1])
			}
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

// fileStamp tells one version of a file that is replaced by rename from every other.
func fileStamp(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("index %d %d %d.%d %d.%d\n", st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec), nil
}

// writeNames follows writeIndex, under the same lock. If another program wrote a descriptor, which has no ID noted, all
// questions go to the documents.
func (s *Store) writeNames(list []Descriptor) error {
	stamp, err := fileStamp(s.indexPath())
	if err != nil {
		return fmt.Errorf("write names: %w", err)
	}
	var b strings.Builder
	b.WriteString(stamp)
	for _, d := range list {
		id := d.Annotations[annotationID]
		if id == "" {
			return os.RemoveAll(s.path("names"))
		}
		if ref, err := ParseReference(nameOf(d)); err == nil {
			fmt.Fprintf(&b, "\n%s\t%s\t%s\t%s", ref, ref.Familiar(), d.Digest, id)
		}
	}
	b.WriteString(namesEnd)
	return s.replace(s.path("names"), []byte(b.String()), false)
}

func (s *Store) cardPath(manifest Digest) string { return s.path("cards", manifest.Hex()) }

// cardMagic changes with the fields of a card.
const cardMagic = "vitro image card 1"

func (s *Store) readCard(manifest Digest) (Image, bool) {
	b, err := os.ReadFile(s.cardPath(manifest))
	if err != nil {
		return Image{}, false
	}
	var img Image
	c := codec{data: b, decode: true}
	c.image(&img)
	if c.bad || len(c.data) != 0 || img.Manifest != manifest {
		return Image{}, false
	}
	s.locate(&img)
	return img, true
}

func (s *Store) writeCard(img Image) error {
	var c codec
	c.image(&img)
	return s.replace(s.cardPath(img.Manifest), c.data, false)
}

// A codec goes through a value's fields, and writes or reads them: one list of fields for both.
type codec struct {
	data   []byte
	decode bool
	bad    bool // what was read isn't what was written
}

// image handles what of an Image depends on nothing but its blobs.
func (c *codec) image(img *Image) {
	magic := cardMagic
	c.text(&magic)
	c.bad = c.bad || magic != cardMagic
	text(c, &img.ID)
	text(c, &img.Manifest)
	number(c, &img.Size)
	c.time(&img.Created)
	text(c, &img.Platform.OS)
	text(c, &img.Platform.Architecture)
	text(c, &img.Platform.Variant)
	text(c, &img.Platform.OSVersion)
	list(c, &img.Platform.OSFeatures)
	list(c, &img.DiffIDs)
	c.config(&img.Config)
}

func (c *codec) config(v *Config) {
	text(c, &v.User)
	text(c, &v.WorkingDir)
	text(c, &v.StopSignal)
	list(c, &v.Env)
	list(c, &v.Entrypoint)
	list(c, &v.Cmd)
	list(c, &v.OnBuild)
	list(c, &v.Shell)
	table(c, &v.ExposedPorts, func(c *codec, _ *struct{}) {})
	table(c, &v.Volumes, func(c *codec, _ *struct{}) {})
	table(c, &v.Labels, (*codec).text)
	has := v.Healthcheck != nil
	if c.present(&has); !has {
		return
	}
	if v.Healthcheck == nil {
		v.Healthcheck = &Healthcheck{}
	}
	h := v.Healthcheck
	list(c, &h.Test)
	number(c, &h.Interval)
	number(c, &h.Timeout)
	number(c, &h.StartPeriod)
	number(c, &h.StartInterval)
	number(c, &h.Retries)
}

func (c *codec) present(v *bool) {
	n := 0
	if *v {
		n = 1
	}
	number(c, &n)
	*v = n == 1
}

func (c *codec) time(t *time.Time) {
	b, err := t.MarshalBinary()
	if err != nil {
		b = nil
	}
	s := string(b)
	c.text(&s)
	if c.decode {
		c.bad = c.bad || t.UnmarshalBinary([]byte(s)) != nil
	}
}

func (c *codec) text(v *string) {
	n := len(*v)
	number(c, &n)
	switch {
	case !c.decode:
		c.data = append(c.data, *v...)
	case n < 0 || n > len(c.data):
		c.bad = true
	default:
		*v, c.data = string(c.data[:n]), c.data[n:]
	}
}

func number[T ~int | ~int64](c *codec, v *T) {
	if !c.decode {
		c.data = binary.AppendVarint(c.data, int64(*v))
		return
	}
	n, size := binary.Varint(c.data)
	if size <= 0 {
		c.bad, n, size = true, 0, len(c.data)
	}
	*v, c.data = T(n), c.data[size:]
}

func text[T ~string](c *codec, v *T) {
	s := string(*v)
	c.text(&s)
	*v = T(s)
}

// length handles the number of elements; -1 is nil, which isn't the same as empty: an empty ENTRYPOINT is an answer.
func (c *codec) length(n int) int {
	number(c, &n)
	if n > len(c.data) { // every element has a byte at least
		c.bad = true
		return -1
	}
	return n
}

func list[T ~string](c *codec, v *[]T) {
	n := len(*v)
	if *v == nil {
		n = -1
	}
	if !c.decode {
		number(c, &n)
	} else if n = c.length(0); n >= 0 {
		*v = make([]T, n)
	}
	for i := range *v {
		text(c, &(*v)[i])
	}
}

// table handles a map in the order of its keys.
func table[V any](c *codec, v *map[string]V, value func(*codec, *V)) {
	var keys []string
	if *v != nil {
		keys = []string{}
	}
	for k := range *v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	list(c, &keys)
	if c.decode && keys != nil {
		*v = make(map[string]V, len(keys))
	}
	for _, k := range keys {
		e := (*v)[k]
		value(c, &e)
		if c.decode {
			(*v)[k] = e
		}
	}
}
