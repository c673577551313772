// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestValuesOfAKeyAreAlternativesAndKeysMustAllHold(t *testing.T) {
	s, err := Parse([]string{"name=web", "name=^db$", "status=running", "label=a", "label=b=2"}, Containers)
	if err != nil {
		t.Fatal(err)
	}
	match := func(name, status string, labels map[string]string) bool {
		return s.Match("name", name) && s.Exact("status", status) && s.Label(labels)
	}
	both := map[string]string{"a": "", "b": "2"}
	for _, tt := range []struct {
		name, status string
		labels       map[string]string
		want         bool
	}{
		{"web1", "running", both, true},
		{"db", "running", both, true},
		{"db1", "running", both, false},
		{"web", "exited", both, false},
		{"web", "running", map[string]string{"a": ""}, false},
		{"web", "running", map[string]string{"a": "", "b": "22"}, false},
		{"web", "running", nil, false},
	} {
		if got := match(tt.name, tt.status, tt.labels); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	if empty, _ := Parse(nil, Containers); !empty.Match("name", "x") || !empty.Label(nil) {
		t.Error("no filter holds something back")
	}
}

func TestWhatMeansNothingIsRefused(t *testing.T) {
	for _, f := range []string{"color=red", "name", "", "=x", "label!=a", "Name x=1"} {
		_, err := Parse([]string{f}, Containers)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint(), "ancestor, before,") || !strings.Contains(err.Error(), f) {
			t.Errorf("%q: %v", f, err)
		}
	}
	if s, err := Parse([]string{" NAME = x "}, Containers); err != nil || !s.Exact("name", "x") {
		t.Errorf("blanks and capitals: %v", err)
	}
	if s, err := Parse([]string{"label!=a"}, Prune); err != nil || s.Label(map[string]string{"a": ""}) || !s.Label(nil) {
		t.Errorf("label!: %v", err)
	}
	for _, tt := range []struct {
		values []string
		want   bool
		ok     bool
	}{{nil, false, true}, {[]string{"1"}, true, true}, {[]string{"true", "1"}, true, true}, {[]string{"false"}, false, true}, {[]string{"x"}, false, false}, {[]string{"1", "0"}, false, false}} {
		var flags []string
		for _, v := range tt.values {
			flags = append(flags, "dangling="+v)
		}
		s, _ := Parse(flags, Images)
		if got, err := s.Bool("dangling", false); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%v: %v, %v", tt.values, got, err)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	local := func(y int, m time.Month, d, h, min, s, ns int) time.Time {
		return time.Date(y, m, d, h, min, s, ns, time.Local)
	}
	for s, want := range map[string]time.Time{
		"10m":                           now.Add(-10 * time.Minute),
		"1h30m":                         now.Add(-90 * time.Minute),
		"2006-01-02T15:04:05Z":          time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC),
		"2006-01-02T15:04:05.5+02:00":   time.Date(2006, 1, 2, 13, 4, 5, 5e8, time.UTC),
		"2006-01-02T15:04:05.000000001": local(2006, 1, 2, 15, 4, 5, 1),
		"2006-01-02T15:04:05":           local(2006, 1, 2, 15, 4, 5, 0),
		"2006-01-02T15:04":              local(2006, 1, 2, 15, 4, 0, 0),
		"2006-01-02":                    local(2006, 1, 2, 0, 0, 0, 0),
		"2006-01-02Z":                   time.Date(2006, 1, 2, 0, 0, 0, 0, time.UTC),
		"1136073600":                    time.Unix(1136073600, 0),
		"1136073600.000000001":          time.Unix(1136073600, 1),
		"0":                             time.Unix(0, 0),
	} {
		if got, err := Time(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "yesterday", "1.2.3", "2006-13-01", "12:00", "1.0000000001", "1.x"} {
		if got, err := Time(s, now); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("name=a", "10m")
	f.Add("label!=x=y", "2006-01-02T15")
	f.Fuzz(func(t *testing.T, flag, when string) {
		if s, err := Parse([]string{flag}, Prune); err == nil {
			s.Label(map[string]string{"a": "b"})
			s.Match("until", "x")
		}
		_, _ = Time(when, time.Unix(0, 0))
	})
}
