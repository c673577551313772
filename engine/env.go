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

// readEnvFiles reads --env-file: a variable a line, comments behind "#".
func readEnvFiles(files []string) ([]string, error) {
	var out []string
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read --env-file: %w", err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			line := strings.TrimLeft(lines.Text(), " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			key, _, given := strings.Cut(line, "=")
			if key == "" || strings.ContainsAny(key, " \t") {
				f.Close()
				return nil, fmt.Errorf("read --env-file %s, line %d: %q is no name of a variable", name, n, key)
			}
			if !given {
				v, ok := os.LookupEnv(key)
				if !ok {
					continue
				}
				line = key + "=" + v
			}
			out = append(out, line)
		}
		err = lines.Err()
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read --env-file %s: %w", name, err)
		}
	}
	return out, nil
}
