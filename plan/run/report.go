// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Report prints an error as a program says it: the error, where in the plan it
// was, its usual cause, and, set apart, what to do.
func Report(w io.Writer, program string, err error) {
	fmt.Fprintf(w, "%s: error: %v\n", program, err)
	var f *Fault
	if errors.As(err, &f) {
		fmt.Fprintf(w, "%s: %s\n", program, f.Detail())
		if f.Cause != "" {
			fmt.Fprintf(w, "%s: cause: %s\n", program, f.Cause)
		}
	}
	var h interface{ Hint() string }
	switch {
	case errors.As(err, &h) && h.Hint() != "":
		fmt.Fprintf(w, "%s: hint: %s\n", program, h.Hint())
	case errors.Is(err, unix.ENOSPC): // whatever it was that was written
		fmt.Fprintf(w, "%s: hint: the file system is full, or has no more inodes: see df -h and df -i\n", program)
	}
}
