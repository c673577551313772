// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/format"
	"vitro/monitor"
	"vitro/network/usernet"
)

// orders are what the monitor of a container is told.
func (e *Engine) orders(r *Record, s *specs.Spec) (*monitor.Orders, error) {
	f := &r.Flags
	o := &monitor.Orders{ID: r.ID, Terminal: s.Process.Terminal, Input: f.Interactive, Once: f.Interactive && !f.OpenInput, Timeout: f.Timeout, Tag: r.ID[:12],
		Servers: f.DNS, Options: f.DNSOption}
	if e.inside && len(o.Servers) == 0 { // the host's can't all be reached from the user's networks
		o.Servers = []string{usernet.Resolver.String()}
	}
	sig, err := r.stopSignal()
	if err != nil {
		return nil, err
	}
	o.Signal = int(sig)
	for key, value := range r.attributes() {
		o.Attributes = append(o.Attributes, key+"="+value)
	}
	slices.Sort(o.Attributes)
	if err := readLog(r, o); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o.Next = []string{self, BesideVerb, "end", e.Dir}
	if o.Health, err = readHealth(r); err != nil || len(o.Health.Command) == 0 {
		return o, err
	}
	program, err := companion("vitro-oci")
	if err != nil {
		return nil, err
	}
	o.Health.Program = []string{program, "--root", e.Containers.Root, "exec", "--pid-file", e.Containers.Root + "/" + r.ID + "/check.pid", r.ID}
	return o, nil
}

// check refuses what the monitor could not be told at the start.
func (r *Record) check() error {
	_, err := r.stopSignal()
	if err == nil {
		err = readLog(r, &monitor.Orders{})
	}
	if err == nil {
		_, err = readHealth(r)
	}
	return err
}

// stopSignal is what asks the container to end: the flag's, else the image's, else SIGTERM.
func (r *Record) stopSignal() (unix.Signal, error) {
	for _, text := range [...]string{r.Flags.StopSignal, r.Config.StopSignal} {
		if text == "" {
			continue
		}
		sig, err := container.ParseSignal(text)
		if err != nil {
			return 0, fmt.Errorf("read --stop-signal: %w", err)
		}
		return sig, nil
	}
	return unix.SIGTERM, nil
}

// stopTimeout is how long the container has to end by itself; negative is for ever.
func (r *Record) stopTimeout() time.Duration {
	if r.Flags.StopTimeout == nil {
		return 10 * time.Second
	}
	return time.Duration(*r.Flags.StopTimeout) * time.Second
}

var logDrivers = [...]string{"json-file", "k8s-file", "journald", "none"}

// readLog reads --log-driver and --log-opt.
func readLog(r *Record, o *monitor.Orders) (err error) {
	f := &r.Flags
	if o.Driver = f.LogDriver; o.Driver == "" {
		o.Driver = logDrivers[0]
	}
	if !slices.Contains(logDrivers[:], o.Driver) {
		return hint(fmt.Errorf("read --log-driver=%s: no such driver", o.Driver), "the drivers are %s", strings.Join(logDrivers[:], ", "))
	}
	if o.Driver == "journald" && !monitor.HasJournal() {
		return hint(errors.New("read --log-driver=journald: journald doesn't run on this machine"), "json-file needs nothing")
	}
	o.MaxFile = 1
	for key, value := range f.LogOpts {
		switch {
		case key == "max-size" && value == "-1":
		case key == "max-size":
			o.MaxSize, err = units.RAMInBytes(value)
		case key == "max-file":
			if o.MaxFile, err = strconv.Atoi(value); err == nil && o.MaxFile < 1 {
				err = errors.New("want 1 or more")
			}
		case key == "tag":
			o.Tag, err = logTag(value, r)
		case key == "labels" || key == "env" || key == "mode" || key == "max-buffer-size" || key == "compress":
		default:
			return hint(fmt.Errorf("read --log-opt %s=%s: no such option", key, value), "the options are max-size, max-file, tag")
		}
		if err != nil {
			return fmt.Errorf("read --log-opt %s=%s: %w", key, value, err)
		}
	}
	return nil
}

// logTag is --log-opt tag, which may be a template with Docker's fields.
func logTag(text string, r *Record) (string, error) {
	t, err := format.ParseTemplate(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	hex := strings.TrimPrefix(string(r.ImageID), "sha256:")
	err = t.Print(&b, struct{ ID, FullID, Name, ImageID, ImageFullID, ImageName, DaemonName string }{
		r.ID[:12], r.ID, r.Name, hex[:min(12, len(hex))], string(r.ImageID), r.Flags.Image, "vitro",
	})
	return strings.TrimSuffix(b.String(), "\n"), err
}

// readHealth reads --health-*, over what the image says.
func readHealth(r *Record) (h monitor.Health, err error) {
	f, img := &r.Flags, r.Config.Healthcheck
	h = monitor.Health{Interval: 30 * time.Second, Timeout: 30 * time.Second, StartInterval: 5 * time.Second, Retries: 3, OnFailure: f.HealthOnFailure}
	var test []string
	set := func(to *time.Duration, values ...time.Duration) {
		for _, v := range values {
			if v > 0 {
				*to = v
			}
		}
	}
	if img != nil {
		test = img.Test
		set(&h.Interval, img.Interval)
		set(&h.Timeout, img.Timeout)
		set(&h.StartPeriod, img.StartPeriod)
		set(&h.StartInterval, img.StartInterval)
		if img.Retries > 0 {
			h.Retries = img.Retries
		}
	}
	set(&h.Interval, f.HealthInterval)
	set(&h.Timeout, f.HealthTimeout)
	set(&h.StartPeriod, f.HealthStartPeriod)
	set(&h.StartInterval, f.HealthStartInterval)
	if f.HealthRetries > 0 {
		h.Retries = f.HealthRetries
	}
	if f.HealthCmd != nil {
		if test = []string{"CMD-SHELL", *f.HealthCmd}; *f.HealthCmd == "none" {
			test = nil
		}
	}
	if !slices.Contains([]string{"", "none", "kill", "restart", "stop"}, f.HealthOnFailure) {
		return h, hint(fmt.Errorf("read --health-on-failure=%s: no such action", f.HealthOnFailure), "the actions are none, kill, restart, stop")
	}
	switch {
	case f.NoHealthcheck || len(test) == 0 || test[0] == "NONE":
	case test[0] == "CMD":
		h.Command = test[1:]
	case test[0] == "CMD-SHELL":
		shell := r.Config.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		h.Command = append(slices.Clone(shell), test[1:]...)
	default: // Podman's images
		h.Command = test
	}
	return h, nil
}
