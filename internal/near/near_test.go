// SPDX-License-Identifier: Apache-2.0

package near

import (
	"slices"
	"testing"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		word  string
		names []string
		want  []string
		hint  string
	}{
		{"web", []string{"web1", "db", "mail"}, []string{"web1"}, `did you mean "web1"?`},
		{"wbe1", []string{"web2", "web1", "wbe"}, []string{"wbe", "web1"}, `did you mean "wbe" or "web1"?`},
		{"abcd", []string{"abcd4", "abcd3", "abcd2", "abcd1", "abcd1"}, []string{"abcd1", "abcd2", "abcd3"}, `did you mean "abcd1" or "abcd2" or "abcd3"?`},
		{"web", []string{"web-frontend-1", "we", "w"}, []string{"we", "web-frontend-1"}, `did you mean "we" or "web-frontend-1"?`},
		{"database", []string{"web"}, nil, ""},
		{"", nil, nil, ""},
	} {
		if got := Names(tt.word, tt.names); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.word, got, tt.want)
		}
		if got := Hint(tt.word, tt.names); got != tt.hint {
			t.Errorf("%q: %s, want %s", tt.word, got, tt.hint)
		}
	}
}
