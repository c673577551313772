// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestCommandLine(t *testing.T) {
	if got := commandLine([]string{"sh", "-c", "echo a; echo b", ""}); got != "sh -c 'echo a; echo b' " {
		t.Errorf("got %q", got)
	}
}
