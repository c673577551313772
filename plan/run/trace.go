// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"vitro/plan"
)

// width is how many columns the bars of a waterfall take.
const width = 40

// byStart are the spans in the order in which they began, and the time from the
// first beginning to the last end.
func byStart(spans []Span) ([]Span, time.Duration) {
	s := slices.Clone(spans)
	slices.SortStableFunc(s, func(a, b Span) int { return int(a.Start - b.Start) })
	if len(s) == 0 {
		return nil, 0
	}
	end := s[0].End
	for _, x := range s {
		end = max(end, x.End)
	}
	return s, time.Duration(end - s[0].Start)
}

// Waterfall prints how long each step took, in microseconds, in the order in
// which they began: host and child work side by side.
func Waterfall(w io.Writer, p *plan.Plan, spans []Span) error {
	s, total := byStart(spans)
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%8s %8s  %-*s  %s\n", "start µs", "µs", width, "", "step")
	for _, x := range s {
		begin := x.Start - s[0].Start
		from := int(begin * width / max(int64(total), 1))
		n := max(1, int(int64(x.Duration())*width/max(int64(total), 1)))
		bar := strings.Repeat(" ", min(from, width-1)) + strings.Repeat("▇", min(n, width-min(from, width-1)))
		step := p.Steps[x.Step]
		fmt.Fprintf(out, "%8d %8d  %-*s  %-5s %s\n", begin/1000, x.Duration().Microseconds(), width, bar, step.Where(), clip(step.Action.Line()))
	}
	fmt.Fprintf(out, "%8d µs from the first step to the exec\n", total.Microseconds())
	return out.Flush()
}

// clip shortens a line so that a row of the waterfall stays one.
func clip(s string) string {
	r := []rune(strings.ReplaceAll(s, "\n", " "))
	if len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return string(r)
}

// event is an event of the Trace Event Format, which chrome://tracing and Perfetto read.
type event struct {
	Name  string            `json:"name"`
	Phase string            `json:"ph"`
	Time  float64           `json:"ts"`  // microseconds
	Dur   float64           `json:"dur"` // microseconds
	PID   int               `json:"pid"`
	TID   int               `json:"tid"`
	Args  map[string]string `json:"args,omitempty"`
}

// ChromeTrace writes the spans as a trace file: the host's steps on one row, the child's on another.
func ChromeTrace(w io.Writer, p *plan.Plan, spans []Span) error {
	s, _ := byStart(spans)
	events := []event{
		{Name: "thread_name", Phase: "M", PID: 1, TID: 1, Args: map[string]string{"name": "host"}},
		{Name: "thread_name", Phase: "M", PID: 1, TID: 2, Args: map[string]string{"name": "child"}},
	}
	for _, x := range s {
		step := p.Steps[x.Step]
		tid := 2
		if step.IsHost() {
			tid = 1
		}
		events = append(events, event{
			Name: step.Action.Verb(), Phase: "X", PID: 1, TID: tid,
			Time: float64(x.Start-s[0].Start) / 1e3, Dur: float64(x.End-x.Start) / 1e3,
			Args: map[string]string{"line": step.Action.Line(), "why": step.Why},
		})
	}
	return json.NewEncoder(w).Encode(struct {
		Events []event `json:"traceEvents"`
		Unit   string  `json:"displayTimeUnit"`
	}{events, "ns"})
}
