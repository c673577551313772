// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/plan"
)

// A Restore is a container to bring back: what the command line and the images
// say of it. The rest of criu's command line is decided with the plan.
type Restore struct {
	Options
	PIDFile    string // where criu writes the PID of the container's first process
	Streams    [3]string
	TCPClose   bool
	LSMProfile string
	LSMContext string  // --lsm-mount-context
	Mounts     []Mount // the host's: those below a bind mount come back with it
}

// A Place is where a container is brought back to.
type Place struct {
	Root    string // a mount point of criu's mount namespace
	Outside []Outside
	Cgroups []string // for --cgroup-root: "/c", "cpu:/c"
	Net     string   // path of the network namespace; "" for the host's
	PID     string   // path of the PID namespace to join; "" for a new one, or the host's
	Join    []string // for --join-ns: "ipc:/proc/1/ns/ipc"
}

// Steps are the last steps of the plan: criu, and the wait for it.
func (r *Restore) Steps(at *Place) []plan.Step {
	p := new(plan.Plan)
	p.Add("none of our descriptors", &plan.CloseOthers{From: 3})
	args := r.args(at)
	fd := plan.InheritFrom
	for _, ns := range [...]struct{ path, name, why string }{
		{at.Net, extNet, "the network namespace, which is made already"},
		{at.PID, extPID, "the PID namespace that the container shares"},
	} {
		if ns.path != "" {
			p.Add(ns.why, &plan.Inherit{Path: ns.path, FD: fd})
			args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", fd, ns.name))
			fd++
		}
	}
	p.Add("not without somebody who waits for it", &plan.DieWith{})
	p.Add("it makes the container's processes, as they were", &plan.Exec{Paths: []string{r.Criu}, Args: args, Env: []string{"PATH=" + r.Path}, Cwd: "/"})
	p.Add("until they run; the first of them is our child now", &Finish{Criu: r.Criu, Action: "restore", Log: r.Log("restore"), PIDFile: r.PIDFile})
	return p.Steps
}

// args is criu's command line, but for what its descriptors are numbered in.
func (r *Restore) args(at *Place) []string {
	args := append(r.common("restore", "restore.log"), "--restore-detached", "--restore-sibling", "--evasive-devices",
		"--pidfile", r.PIDFile, "--root", at.Root)
	for _, c := range at.Cgroups {
		args = append(args, "--cgroup-root", c)
	}
	if r.TCPClose {
		args = append(args, "--tcp-close")
	}
	if r.LSMProfile != "" {
		args = append(args, "--lsm-profile", r.LSMProfile)
	}
	if r.LSMContext != "" {
		args = append(args, "--lsm-mount-context", r.LSMContext)
	}
	for _, j := range at.Join {
		args = append(args, "--join-ns", j)
	}
	for _, m := range r.mounts(at.Outside) {
		args = append(args, "--external", m)
	}
	for fd, s := range r.Streams {
		if strings.HasPrefix(s, "pipe:[") || strings.HasPrefix(s, "file[") {
			args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", fd, s))
		}
	}
	return args
}

// mounts are the sources of what comes from the host. Names that the images
// don't have do no harm.
func (r *Restore) mounts(outside []Outside) (list []string) {
	seen := make(map[string]bool)
	add := func(name, source string) {
		if !seen[name] {
			seen[name] = true
			list = append(list, "mnt["+name+"]:"+source)
		}
	}
	for _, o := range outside {
		add(o.Name, o.Source)
	}
	for _, o := range outside {
		for _, m := range r.Mounts {
			if below, ok := strings.CutPrefix(m.Point, o.Source+"/"); ok && o.Tree {
				add(path.Join(o.Name, below), m.Point)
			}
		}
	}
	return list
}

// streamsFile is where the standard streams' names are kept with the images, as
// a JSON array: runc's file.
const streamsFile = "descriptors.json"

// WriteStreams keeps the names of a container's standard streams with its images.
func WriteStreams(images string, streams [3]string) error {
	data, err := json.Marshal(streams)
	if err == nil {
		err = os.WriteFile(path.Join(images, streamsFile), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write streams of checkpoint: %w", err)
	}
	return nil
}

// ReadStreams reads them back.
func ReadStreams(images string) (streams [3]string, err error) {
	var names []string
	data, err := os.ReadFile(path.Join(images, streamsFile))
	if err == nil {
		err = json.Unmarshal(data, &names)
	}
	if err != nil {
		return streams, fmt.Errorf("read streams of checkpoint: %w", err)
	}
	copy(streams[:], names)
	return streams, nil
}

// CheckNetwork refuses images that hold a network namespace: criu would make
// one beside that of the plan, which no hook has set up.
func CheckNetwork(images string) error {
	files, err := filepath.Glob(filepath.Join(images, "netns-*.img"))
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if !bytes.Contains(data, []byte(extNet)) {
			return fmt.Errorf("restore network: %s holds a network namespace of the container's own: another runtime has left it to criu", f)
		}
	}
	return nil
}

// CheckStreams refuses standard streams of ours that can't stand in for those
// of the checkpoint: criu goes to the place in a file where the container was.
func CheckStreams(streams [3]string) error {
	for fd, s := range streams {
		if !strings.HasPrefix(s, "file[") {
			continue
		}
		if _, err := unix.Seek(fd, 0, unix.SEEK_CUR); errors.Is(err, unix.ESPIPE) {
			return &Unusable{
				Err:    fmt.Errorf("restore standard stream %d: it was a file of the host's, and is a pipe or a terminal now", fd),
				Remedy: "give a file: " + strconv.Itoa(fd) + "<>FILE, /dev/null for none",
			}
		}
	}
	return nil
}
