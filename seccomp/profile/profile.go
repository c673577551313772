// SPDX-License-Identifier: Apache-2.0

// Package profile makes OCI seccomp sections from Docker's profiles: the built
// in default, and files in Docker's format (the one of --security-opt
// seccomp=FILE) or in the plain one of an OCI configuration.
//
// It reads JSON by reflection and imports Docker's whole default profile, so it
// is for the engine. The runtime has a finished section in its config.json and
// needs vitro/seccomp only.
package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"vitro/seccomp"
)

// Default returns Docker's default profile for a process whose bounding set
// holds the given capabilities (names as in "CAP_SYS_ADMIN").
func Default(caps []string) (*specs.LinuxSeccomp, error) {
	p, err := moby.GetDefaultProfile(withCaps(caps))
	if err != nil {
		return nil, fmt.Errorf("make default seccomp profile: %w", err)
	}
	return p, nil
}

// Load returns the section that a profile file asks for. Rules that Docker's
// format makes depend on capabilities, architecture or kernel version are
// decided here, for this machine and the given bounding set. A profile that
// can't be compiled is refused, so that the user hears of it before there is a
// container; so is a file that says nothing, as it would silently mean "no
// filter": that is written seccomp=unconfined.
func Load(data []byte, caps []string) (*specs.LinuxSeccomp, error) {
	if err := checkJSON(data); err != nil {
		return nil, fmt.Errorf("read seccomp profile: %w", err)
	}
	p, err := moby.LoadProfile(string(data), withCaps(caps))
	if err != nil {
		return nil, fmt.Errorf("read seccomp profile: %w", err)
	}
	if p == nil {
		return nil, errors.New("read seccomp profile: neither defaultAction nor syscalls")
	}
	if _, err := seccomp.Compile(p, seccomp.Native()); err != nil {
		return nil, fmt.Errorf("read seccomp profile: %w", err)
	}
	return p, nil
}

// checkJSON refuses what is no JSON object, with the place of the mistake, and
// rules that are null, which Docker's reader would follow.
func checkJSON(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("empty")
	}
	var outer struct {
		Syscalls []json.RawMessage `json:"syscalls"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&outer); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			before := data[:min(int(syntax.Offset), len(data))]
			return fmt.Errorf("line %d: %w", 1+bytes.Count(before, []byte("\n")), err)
		}
		return err
	}
	if dec.More() {
		return errors.New("more than one JSON value")
	}
	for i, rule := range outer.Syscalls {
		if string(rule) == "null" {
			return fmt.Errorf("rule %d is null", i)
		}
	}
	return nil
}

// withCaps is as much of a configuration as Docker's reader looks at.
func withCaps(caps []string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
}
