// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/internal/ocijson"
	"vitro/plan/run"
)

// report prints an error, and writes it into the log that the engine reads: a
// line of JSON or of text, in the form that all runtimes share.
func (inv *invocation) report(err error) {
	var text strings.Builder
	run.Report(&text, "vitro-oci", err)
	line := strings.ReplaceAll(strings.TrimSpace(text.String()), "\nvitro-oci: ", "; ")
	if _, e := unix.IoctlGetTermios(2, unix.TCGETS); e == nil {
		fmt.Fprint(os.Stderr, text.String())
	} else { // engines take a line for an error
		fmt.Fprintln(os.Stderr, line)
	}
	if inv.get("log") != "" {
		inv.log("error", strings.TrimPrefix(line, "vitro-oci: error: "))
	}
}

// warn is for what doesn't keep a command from doing its work. With a log it is
// for those who read that: what is said elsewhere looks like the container's.
func (inv *invocation) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if inv.get("log") == "" {
		fmt.Fprintln(os.Stderr, "vitro-oci: warning: "+text)
		return
	}
	inv.log("warning", text)
}

// debug says more, where that is asked for.
func (inv *invocation) debug(format string, args ...any) {
	if inv.has("debug") {
		inv.log("debug", fmt.Sprintf(format, args...))
	}
}

// log writes a line to the log, or to where errors are seen.
func (inv *invocation) log(level, text string) {
	f := os.Stderr
	if file := inv.get("log"); file != "" {
		var err error
		if f, err = os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			fmt.Fprintf(os.Stderr, "vitro-oci: warning: write log: %v\n", err)
			return
		}
		defer f.Close()
	}
	now := time.Now().Format(time.RFC3339)
	if inv.get("log-format") == "json" {
		fmt.Fprintf(f, "{\"level\":%q,\"msg\":%s,\"time\":%q}\n", level, ocijson.AppendString(nil, text), now)
		return
	}
	fmt.Fprintf(f, "time=%q level=%s msg=%s\n", now, level, strconv.Quote(text))
}
