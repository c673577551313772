// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{unix.EOPNOTSUPP, "this kernel has no bridges (bridge): operation not supported"},
		{fmt.Errorf("receive: %w", unix.EPROTONOSUPPORT), "this kernel has no bridges (bridge): receive: protocol not supported"},
		{unix.EPERM, "operation not permitted"},
		{unix.EEXIST, "file exists"},
	} {
		err := missing(c.err, "bridges", "bridge")
		if err.Error() != c.want || !errors.Is(err, c.err) {
			t.Errorf("missing(%v) = %v; want %q", c.err, err, c.want)
		}
	}
	var m *MissingError
	if !errors.As(missing(unix.EOPNOTSUPP, "bridges", "bridge llc"), &m) {
		t.Fatal("no MissingError")
	}
	if want := "load them: modprobe -a bridge llc (in a container: on the machine that it runs on)"; m.Hint() != want {
		t.Errorf("Hint() = %q; want %q", m.Hint(), want)
	}
}
