// SPDX-License-Identifier: Apache-2.0

package container

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ParseSignal reads a signal's name, with or without SIG, or its number.
func ParseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(strings.TrimPrefix(s, "-")); err == nil && n >= 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if rt, ok := strings.CutPrefix(name, "SIGRTMIN"); ok { // numbers of the C library's
		if n, err := strconv.Atoi("0" + strings.TrimPrefix(rt, "+")); err == nil && n <= 30 {
			return unix.Signal(34 + n), nil
		}
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}
