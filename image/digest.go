// SPDX-License-Identifier: Apache-2.0

package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// A Digest is "sha256:" and 64 lower-case hexadecimal digits; other algorithms are refused. The zero value is "", no
// digest. A Digest from ParseDigest, or from JSON, is safe as part of a path.
type Digest string

const digestPrefix = "sha256:"

// ParseDigest checks s, which comes from anywhere.
func ParseDigest(s string) (Digest, error) {
	hexa, ok := strings.CutPrefix(s, digestPrefix)
	if !ok {
		return "", fmt.Errorf("digest %q: want \"sha256:\" and 64 hexadecimal digits", clip(s))
	}
	if len(hexa) != 2*sha256.Size || !isHex(hexa) {
		return "", fmt.Errorf("digest %q: want 64 lower-case hexadecimal digits after \"sha256:\"", clip(s))
	}
	return Digest(s), nil
}

// DigestOf gives the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}

func digestOfHash(h hash.Hash) Digest { return Digest(digestPrefix + hex.EncodeToString(h.Sum(nil))) }

// Hex gives the digits.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), digestPrefix) }

// Short gives the 12 digits that people see.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}

func (d Digest) String() string { return string(d) }

// UnmarshalText makes a bad digest in a JSON document an error of the document. An absent one stays "".
func (d *Digest) UnmarshalText(b []byte) error {
	parsed, err := ParseDigest(string(b))
	*d = parsed
	return err
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// clip keeps a stranger's text from filling the terminal.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
