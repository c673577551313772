// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"vitro/internal/ocijson"
	"vitro/plan/run"
)

// report prints an error, and writes it into the log that the engine reads: a
// line of JSON or of text, in the form that all runtimes share.
func (inv *invocation) report(err error) {
	run.Report(os.Stderr, "vitro-oci", err)
	if inv.get("log") == "" {
		return
	}
	var text strings.Builder
	run.Report(&text, "vitro-oci", err)
	inv.log("error", strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(text.String()), "vitro-oci: error: "), "\nvitro-oci: ", "; "))
}

// warn is for what doesn't keep a command from doing its work.
func (inv *invocation) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, "vitro-oci: warning: "+text)
	inv.log("warning", text)
}

// debug says more, where that is asked for.
func (inv *invocation) debug(format string, args ...any) {
	if inv.has("debug") {
		text := fmt.Sprintf(format, args...)
		fmt.Fprintln(os.Stderr, "vitro-oci: debug: "+text)
		inv.log("debug", text)
	}
}

func (inv *invocation) log(level, text string) {
	file := inv.get("log")
	if file == "" {
		return
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintf(os.Stderr, "vitro-oci: warning: write log: %v\n", err)
		return
	}
	defer f.Close()
	now := time.Now().Format(time.RFC3339)
	if inv.get("log-format") == "json" {
		fmt.Fprintf(f, "{\"level\":%q,\"msg\":%s,\"time\":%q}\n", level, ocijson.AppendString(nil, text), now)
		return
	}
	fmt.Fprintf(f, "time=%q level=%s msg=%s\n", now, level, strconv.Quote(text))
}
