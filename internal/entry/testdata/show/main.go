// SPDX-License-Identifier: Apache-2.0

// Command show prints its environment and its arguments.
package main

import (
	"fmt"
	"os"

	"vitro/internal/entry"
)

func main() {
	entry.Unset()
	entry.Widen()
	fmt.Printf("%q\n%q\n", os.Environ(), os.Args[1:])
}
