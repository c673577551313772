// SPDX-License-Identifier: Apache-2.0

// Package filter is --filter key=value: values of one key are alternatives,
// different keys must all hold. What a key means is for the lists that have
// it (package listing) to say.
package filter

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The keys that each list knows: Docker's.
var (
	Containers = Keys{"ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name", "network", "publish", "since", "status", "volume"}
	Images     = Keys{"before", "dangling", "label", "reference", "since", "until"}
	Volumes    = Keys{"dangling", "driver", "label", "name"}
	Networks   = Keys{"dangling", "driver", "id", "label", "name", "scope", "type"}
	Events     = Keys{"container", "daemon", "event", "image", "label", "network", "scope", "type", "volume"}
	Prune      = Keys{"label", "label!", "until"}
)

// Keys are what a list can be filtered by, sorted.
type Keys []string

// Complete offers the keys that begin with a word, for a shell: "name=".
func (k Keys) Complete(word string) []string {
	var list []string
	for _, key := range k {
		if strings.HasPrefix(key+"=", word) {
			list = append(list, key+"=")
		}
	}
	return list
}

// A Set is what the --filter flags of a command line say.
type Set struct {
	keys []string
	m    map[string][]string
}

// Parse reads flags of the form key=value. A key that the list doesn't know is
// refused. The list of containers, for one, is filter.Parse(flags, filter.Containers).
func Parse(flags []string, keys Keys) (Set, error) {
	s := Set{keys: keys, m: make(map[string][]string)}
	for _, f := range flags {
		key, value, ok := strings.Cut(f, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if value = strings.TrimSpace(value); strings.HasSuffix(key, "!") && !slices.Contains(keys, key) {
			return s, &Error{f, "there is no negation for this list", keys}
		}
		switch {
		case !ok:
			return s, &Error{f, "want key=value", keys}
		case !slices.Contains(keys, key):
			return s, &Error{f, fmt.Sprintf("unknown key %q", key), keys}
		}
		if !slices.Contains(s.m[key], value) {
			s.m[key] = append(s.m[key], value)
		}
	}
	return s, nil
}

// An Error is a filter that means nothing here.
type Error struct {
	Filter string
	Reason string
	Keys   Keys
}

func (e *Error) Error() string { return fmt.Sprintf("filter %q: %s", e.Filter, e.Reason) }

// Hint names what could be said.
func (e *Error) Hint() string { return "the keys are " + strings.Join(e.Keys, ", ") }

// ExitCode is that of Docker's client.
func (e *Error) ExitCode() int { return 1 }

// Bad is the error about a value of a key.
func (s Set) Bad(key, value, reason string) error { return &Error{key + "=" + value, reason, s.keys} }

// Has says whether a key was given.
func (s Set) Has(key string) bool { return len(s.m[key]) > 0 }

// Values are a key's values, in the order they were given.
func (s Set) Values(key string) []string { return s.m[key] }

// Any says whether one of a key's values holds. A key that wasn't given always does.
func (s Set) Any(key string, holds func(value string) bool) bool {
	return !s.Has(key) || slices.ContainsFunc(s.m[key], holds)
}

// Exact says whether one of the texts is one of a key's values.
func (s Set) Exact(key string, texts ...string) bool {
	return s.Any(key, func(v string) bool { return slices.Contains(texts, v) })
}

// Match says whether one of the texts matches one of a key's values, each a
// regular expression that may match anywhere in it.
func (s Set) Match(key string, texts ...string) bool {
	return s.Any(key, func(v string) bool {
		if slices.Contains(texts, v) {
			return true
		}
		re, err := regexp.Compile(v)
		return err == nil && slices.ContainsFunc(texts, re.MatchString)
	})
}

// Label says whether an object has all labels that were asked for, as key or
// as key=value. Only here values of one key must all hold, as in Docker.
func (s Set) Label(labels map[string]string) bool {
	for _, want := range s.m["label"] {
		if !hasLabel(labels, want) {
			return false
		}
	}
	for _, not := range s.m["label!"] {
		if hasLabel(labels, not) {
			return false
		}
	}
	return true
}

func hasLabel(labels map[string]string, want string) bool {
	key, value, exact := strings.Cut(want, "=")
	v, ok := labels[key]
	return ok && (!exact || v == value)
}

// Bool is a key's truth; absent is what it is if it wasn't given.
func (s Set) Bool(key string, absent bool) (bool, error) {
	if !s.Has(key) {
		return absent, nil
	}
	value := s.m[key][0]
	for _, v := range s.m[key][1:] {
		if isTrue(v) != isTrue(value) {
			return false, s.Bad(key, v, "the opposite was asked for too")
		}
	}
	if b, err := strconv.ParseBool(value); err == nil {
		return b, nil
	}
	return false, s.Bad(key, value, "want true or false")
}

func isTrue(s string) bool { b, _ := strconv.ParseBool(s); return b }

// Check refuses a value of a key that is none of those that there are.
func (s Set) Check(key string, known ...string) error {
	for _, v := range s.m[key] {
		if !slices.Contains(known, v) {
			return s.Bad(key, v, "want "+strings.Join(known, ", "))
		}
	}
	return nil
}

// Time reads a point in time as Docker takes them: a date and time of RFC 3339
// with less and less of its end, seconds since 1970 with a fraction, or how
// long before now, as "10m" or "1h30m". Without a zone a date is local.
func Time(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && s != "0" { // which is 1970
		return now.Add(-d), nil
	}
	for _, layout := range [...]string{
		time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15Z07:00", "2006-01-02Z07:00",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	for _, layout := range [...]string{
		"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02",
	} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	sec, frac, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err == nil && len(frac) <= 9 && strings.Trim(frac, "0123456789") == "" {
		ns, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		return time.Unix(n, ns), nil
	}
	return time.Time{}, fmt.Errorf("time %q: want a date such as 2006-01-02T15:04:05, seconds since 1970, or a duration such as 10m", s)
}
