// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"strings"

	"vitro/plan"
)

// The lines of an undo list are JSON objects. Those that nearly every container
// has are of a few texts, all of plain letters, and are written and read here:
// encoding/json looks through a type by reflection first, which took more time than
// the writing. What is not so simple is left to it; the lines are the same.

// appendValues appends an action's values as JSON.
func appendValues(line []byte, a plan.Host) ([]byte, error) {
	if t, ok := a.(plan.Texts); ok {
		if longer, ok := appendTexts(line, t.Texts()); ok {
			return longer, nil
		}
	}
	values, err := json.Marshal(a)
	return append(line, values...), err
}

func appendTexts(line []byte, texts []plan.Text) ([]byte, bool) {
	sep := byte('{')
	for _, t := range texts {
		if !isPlain(*t.Value) {
			return nil, false
		}
		line = append(append(append(line, sep, '"'), t.Name...), '"', ':', '"')
		line = append(append(line, *t.Value...), '"')
		sep = ','
	}
	return append(line, '}'), true
}

// parseValues sets an action's values.
func parseValues(values []byte, a plan.Host) error {
	if t, ok := a.(plan.Texts); ok && parseTexts(string(values), t.Texts()) {
		return nil
	}
	return json.Unmarshal(values, a)
}

// parseTexts reads what appendTexts has written, and says whether it is that.
func parseTexts(line string, texts []plan.Text) bool {
	sep := "{"
	for _, t := range texts {
		rest, ok := strings.CutPrefix(line, sep+`"`+t.Name+`":"`)
		value, rest, ended := strings.Cut(rest, `"`)
		if !ok || !ended || !isPlain(value) {
			return false
		}
		*t.Value, line, sep = value, rest, ","
	}
	return line == "}"
}

// isPlain reports whether a text stands in JSON, as encoding/json writes it, as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return true
}
