// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"strings"
)

// A Reference names an image: a repository on a registry, and a tag, a digest or both. Its grammar is that of
// github.com/distribution/reference, which Docker, Podman and the registries share.
type Reference struct {
	Domain string // "docker.io", "localhost:5000"
	Path   string // "library/busybox"
	Tag    string // "latest"; "" only if there is a Digest
	Digest Digest // "" if the name has none
}

const (
	defaultDomain = "docker.io"
	defaultPath   = "library/"
	defaultTag    = "latest"

	maxNameLen = 255
	maxTagLen  = 128
)

// ParseReference reads what a person types, and fills in what Docker would: "busybox" is
// "docker.io/library/busybox:latest".
func ParseReference(s string) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("image name %q: %w", clip(s), err)
	}
	return r, nil
}

func parseReference(s string) (r Reference, err error) {
	if s == "" {
		return r, fmt.Errorf("is empty")
	}
	rest, digest, ok := strings.Cut(s, "@")
	if ok {
		if r.Digest, err = ParseDigest(digest); err != nil {
			return r, err
		}
	}
	// A colon after the last slash is the tag's; before it, that of a port.
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		rest, r.Tag = rest[:i], rest[i+1:]
		if !validTag(r.Tag) {
			return r, fmt.Errorf("tag %q: want letters, digits, '_', '.' and '-', at most %d, not '.' or '-' at first", clip(r.Tag), maxTagLen)
		}
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	if len(rest) == 64 && isHex(rest) {
		return r, fmt.Errorf("64 hexadecimal digits are an ID, not a name")
	}
	r.Domain, r.Path = splitDomain(rest)
	if !validDomain(r.Domain) {
		return r, fmt.Errorf("%q is not a registry's address", r.Domain)
	}
	for part := range strings.SplitSeq(r.Path, "/") {
		if !validComponent(part) {
			return r, fmt.Errorf("%q: want lower-case letters and digits, with '.', '_', '__' or dashes only between them", clip(part))
		}
	}
	if len(r.Domain)+1+len(r.Path) > maxNameLen {
		return r, fmt.Errorf("is longer than %d bytes", maxNameLen)
	}
	return r, nil
}

// splitDomain takes the first part for a registry if it looks like a host: Docker's rule.
func splitDomain(name string) (domain, path string) {
	first, rest, ok := strings.Cut(name, "/")
	switch {
	case !ok || !strings.ContainsAny(first, ".:") && first != "localhost" && first == strings.ToLower(first):
		domain, path = defaultDomain, name
	case first == "index.docker.io": // its name of old
		domain, path = defaultDomain, rest
	default:
		domain, path = first, rest
	}
	if domain == defaultDomain && !strings.Contains(path, "/") {
		path = defaultPath + path
	}
	return domain, path
}

// Name gives the repository in full: "docker.io/library/busybox".
func (r Reference) Name() string { return r.Domain + "/" + r.Path }

// String gives the whole reference in full.
func (r Reference) String() string { return r.Name() + r.suffix() }

// Familiar gives the shortest form that means the same, but for the tag, which is always there: "busybox:latest".
func (r Reference) Familiar() string { return r.FamiliarName() + r.suffix() }

// FamiliarName gives the repository's shortest form: "busybox".
func (r Reference) FamiliarName() string {
	if r.Domain != defaultDomain {
		return r.Name()
	}
	if short, ok := strings.CutPrefix(r.Path, defaultPath); ok && !strings.Contains(short, "/") {
		return short
	}
	return r.Path
}

func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlnum(c byte) bool { return isLower(c|0x20) || isDigit(c) }

func validTag(s string) bool {
	if s == "" || len(s) > maxTagLen || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// validComponent: [a-z0-9]+ ( ( "." | "_" | "__" | "-"+ ) [a-z0-9]+ )*
func validComponent(s string) bool {
	inner := func(c byte) bool { return isLower(c) || isDigit(c) }
	if s == "" || !inner(s[0]) || !inner(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if inner(s[i]) {
			i++
			continue
		}
		from := i
		for !inner(s[i]) { // ends: the last byte is inner
			i++
		}
		sep := s[from:i]
		if sep != "." && sep != "_" && sep != "__" && strings.Trim(sep, "-") != "" {
			return false
		}
	}
	return true
}

// validDomain: a host name or an IPv6 address in brackets, and a port.
func validDomain(s string) bool {
	host, port := s, "0"
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
	}
	if port == "" || strings.Trim(port, "0123456789") != "" {
		return false
	}
	if strings.HasPrefix(host, "[") {
		v6, ok := strings.CutSuffix(host[1:], "]")
		return ok && v6 != "" && strings.Trim(strings.ToLower(v6), "0123456789abcdef:") == ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}
