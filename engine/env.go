// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
)

// merge puts the variables of over above those of base, each in its old place.
func merge(base, over []string) []string {
	out := slices.Clone(base)
	for _, e := range over {
		key, _, _ := strings.Cut(e, "=")
		i := slices.IndexFunc(out, func(o string) bool { return strings.HasPrefix(o, key+"=") })
		switch {
		case i >= 0 && strings.Contains(e, "="):
			out[i] = e
		case i >= 0: // a name alone that the host doesn't have takes the variable away
			out = slices.Delete(out, i, i+1)
		case strings.Contains(e, "="):
			out = append(out, e)
		}
	}
	return out
}

// readEnv reads -e: NAME=VALUE, or NAME for the host's value.
func readEnv(flags []string) ([]string, error) {
	var out []string
	for _, e := range flags {
		key, _, given := strings.Cut(e, "=")
		if key == "" || strings.ContainsAny(key, "\x00") {
			return nil, fmt.Errorf("read --env %q: no name", e)
		}
		if !given {
			if v, ok := os.LookupEnv(key); ok {
				e = key + "=" + v
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// unset takes those of the image's variables away that -e names without a value, and that we don't have either.
func unset(image, flags []string) []string {
	for _, name := range flags {
		if _, ours := os.LookupEnv(name); !ours && !strings.Contains(name, "=") {
			image = merge(image, []string{name})
		}
	}
	return image
}

// readEnvFiles reads --env-file: a variable a line; a name alone takes the host's value.
func readEnvFiles(files []string) ([]string, error) {
	lines, err := readPairs("env-file", files)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, line := range lines {
		if key, _, given := strings.Cut(line, "="); !given {
			v, ok := os.LookupEnv(key)
			if !ok {
				continue
			}
			line = key + "=" + v
		}
		out = append(out, line)
	}
	return merge(nil, out), nil // of several files the last one's
}

// readPairs reads the files of a flag: NAME=VALUE or NAME a line, comments
// behind "#".
func readPairs(flag string, files []string) ([]string, error) {
	var out []string
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read --%s: %w", flag, err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			line := lines.Text()
			if n == 1 {
				line = strings.TrimPrefix(line, "\ufeff") // Windows' editors begin a file so
			}
			line = strings.TrimLeft(line, " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			if key, _, _ := strings.Cut(line, "="); key == "" || strings.ContainsAny(key, " \t") {
				f.Close()
				return nil, fmt.Errorf("read --%s %s, line %d: %q is no name", flag, name, n, key)
			}
			out = append(out, line)
		}
		err = lines.Err()
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read --%s %s: %w", flag, name, err)
		}
	}
	return out, nil
}

// ReadLabels reads --label-file under the labels that were given one by one.
func (f *Flags) ReadLabels() error {
	lines, err := readPairs("label-file", f.LabelFiles)
	if err != nil {
		return err
	}
	f.LabelFiles = nil
	for _, l := range lines {
		key, value, _ := strings.Cut(l, "=")
		if _, given := f.Labels[key]; given {
			continue
		}
		if f.Labels == nil {
			f.Labels = make(map[string]string)
		}
		f.Labels[key] = value
	}
	return nil
}
