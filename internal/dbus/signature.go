// SPDX-License-Identifier: Apache-2.0

package dbus

import (
	"errors"
	"fmt"
	"strings"
)

// maxDepth is how deep containers may be nested, variants among them: the
// specification allows 64 levels in a message.
const maxDepth = 64

var errDepth = errors.New("nested too deep")

// basic are the types that are no containers, by their codes, which a
// dictionary's key may have.
const basic = "ybnqiuxtdsog"

// Next splits a signature behind its first complete type.
func Next(sig string) (one, rest string, err error) { return split(sig, 0) }

func split(sig string, depth int) (one, rest string, err error) {
	if depth > maxDepth {
		return "", "", errDepth
	}
	if sig == "" {
		return "", "", errors.New("a type is missing in the signature")
	}
	switch c := sig[0]; {
	case c == 'v' || strings.IndexByte(basic, c) >= 0:
		return sig[:1], sig[1:], nil
	case c == 'a' && strings.HasPrefix(sig[1:], "{"):
		return dict(sig, depth)
	case c == 'a':
		_, rest, err = split(sig[1:], depth+1)
		return sig[:len(sig)-len(rest)], rest, err
	case c == '(':
		rest = sig[1:]
		for n := 0; ; n++ {
			if strings.HasPrefix(rest, ")") && n > 0 {
				return sig[:len(sig)-len(rest)+1], rest[1:], nil
			}
			if _, rest, err = split(rest, depth+1); err != nil {
				return "", "", err
			}
		}
	}
	return "", "", fmt.Errorf("no type begins with %q", sig[0])
}

// dict splits behind "a{kv}".
func dict(sig string, depth int) (one, rest string, err error) {
	if len(sig) < 3 || strings.IndexByte(basic, sig[2]) < 0 {
		return "", "", fmt.Errorf("no key of a dictionary in %q", sig)
	}
	if _, rest, err = split(sig[3:], depth+2); err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(rest, "}") {
		return "", "", fmt.Errorf("a dictionary without an end in %q", sig)
	}
	return sig[:len(sig)-len(rest)+1], rest[1:], nil
}

// single checks that a signature is one complete type.
func single(sig string) error {
	_, rest, err := Next(sig)
	if err == nil && rest != "" {
		err = fmt.Errorf("the signature %q has more than one type", sig)
	}
	return err
}

// alignment is where values of a type may begin: at multiples of it.
func alignment(code byte) int {
	switch code {
	case 'y', 'g', 'v':
		return 1
	case 'n', 'q':
		return 2
	case 'x', 't', 'd', '(', '{':
		return 8
	}
	return 4
}
