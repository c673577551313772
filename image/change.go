// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// instructions are the Dockerfile's that change nothing but the config, in the order of the alphabet.
var instructions = [...]struct {
	name  string
	apply func(c *Config, rest string) error
}{
	{"CMD", func(c *Config, rest string) (err error) { c.Cmd, err = c.command(rest); return err }},
	{"ENTRYPOINT", func(c *Config, rest string) (err error) { c.Entrypoint, err = c.command(rest); return err }},
	{"ENV", (*Config).env},
	{"EXPOSE", (*Config).expose},
	{"LABEL", (*Config).label},
	{"ONBUILD", func(c *Config, rest string) error { c.OnBuild = append(c.OnBuild, rest); return nil }},
	{"SHELL", (*Config).shell},
	{"STOPSIGNAL", func(c *Config, rest string) error { c.StopSignal = rest; return nil }},
	{"USER", func(c *Config, rest string) error { c.User = rest; return nil }},
	{"VOLUME", (*Config).volume},
	{"WORKDIR", (*Config).workdir},
}

// Change applies one Dockerfile instruction, as "docker import --change" does: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
// ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR. Variables aren't expanded.
func (c *Config) Change(line string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	for _, in := range instructions {
		if !strings.EqualFold(word, in.name) {
			continue
		}
		if rest == "" {
			return fmt.Errorf("change %q: %s needs a value", clip(line), in.name)
		}
		if err := in.apply(c, rest); err != nil {
			return fmt.Errorf("change %q: %w", clip(line), err)
		}
		return nil
	}
	var names []string
	for _, in := range instructions {
		names = append(names, in.name)
	}
	return fmt.Errorf("change %q: want one of %s", clip(line), strings.Join(names, " "))
}

// command reads a JSON list of words, or a line for the shell.
func (c *Config) command(rest string) ([]string, error) {
	if words, ok := jsonWords(rest); ok {
		return words, nil
	}
	shell := c.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), rest), nil
}

func jsonWords(s string) ([]string, bool) {
	var words []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &words) != nil {
		return nil, false
	}
	return words, true
}

func (c *Config) shell(rest string) error {
	words, ok := jsonWords(rest)
	if !ok || len(words) == 0 {
		return fmt.Errorf(`want a JSON list, such as ["/bin/sh", "-c"]`)
	}
	c.Shell = words
	return nil
}

func (c *Config) env(rest string) error {
	return pairs(rest, func(k, v string) {
		i := slices.IndexFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, k+"=") })
		if i < 0 {
			c.Env = append(c.Env, k+"="+v)
		} else {
			c.Env[i] = k + "=" + v
		}
	})
}

func (c *Config) label(rest string) error {
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	return pairs(rest, func(k, v string) { c.Labels[k] = v })
}

func (c *Config) volume(rest string) error {
	dirs, ok := jsonWords(rest)
	if !ok {
		dirs = strings.Fields(rest)
	}
	if c.Volumes == nil {
		c.Volumes = map[string]struct{}{}
	}
	for _, dir := range dirs {
		if strings.TrimSpace(dir) == "" {
			return fmt.Errorf("a volume's path is empty")
		}
		c.Volumes[dir] = struct{}{}
	}
	return nil
}

func (c *Config) workdir(rest string) error {
	if !path.IsAbs(rest) {
		rest = path.Join("/", c.WorkingDir, rest)
	}
	c.WorkingDir = path.Clean(rest)
	return nil
}

// expose reads "80 53/udp 8000-8010".
func (c *Config) expose(rest string) error {
	if c.ExposedPorts == nil {
		c.ExposedPorts = map[string]struct{}{}
	}
	for _, field := range strings.Fields(rest) {
		ports, proto, ok := strings.Cut(strings.ToLower(field), "/")
		if !ok {
			proto = "tcp"
		}
		if proto != "tcp" && proto != "udp" && proto != "sctp" {
			return fmt.Errorf("port %q: want tcp, udp or sctp", field)
		}
		first, last, ok := strings.Cut(ports, "-")
		if !ok {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || from > to || from == 0 {
			return fmt.Errorf("port %q: want a number from 1 to 65535, or a range", field)
		}
		for p := from; p <= to; p++ {
			c.ExposedPorts[fmt.Sprintf("%d/%s", p, proto)] = struct{}{}
		}
	}
	return nil
}

// pairs reads `k=v k2="v 2"`, or the old form `k v with blanks`.
func pairs(rest string, set func(k, v string)) error {
	words, err := splitWords(rest)
	if err != nil {
		return err
	}
	if !strings.Contains(words[0], "=") {
		k, v, ok := strings.Cut(rest, " ")
		if !ok {
			return fmt.Errorf("want KEY=VALUE")
		}
		set(k, strings.TrimSpace(v))
		return nil
	}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return fmt.Errorf("%q: want KEY=VALUE", w)
		}
		set(k, v)
	}
	return nil
}

// splitWords splits at blanks, and takes quotes and backslashes away. There is at least one word.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := byte(0), false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("quote %c isn't closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("want KEY=VALUE")
	}
	return words, nil
}
