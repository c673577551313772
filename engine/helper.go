// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"vitro/image/layer"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// Files of an image belong to many users. An ordinary user owns only one, and
// borrows the others in a user namespace: there this program runs again, as
// root of it, to work on files. For what is to be mounted to be read it has a
// mount namespace of its own, and so has root's.

// HelperVerb is the argument that makes this program the helper.
const HelperVerb = "--in-user-namespace"

// A helper is how this program runs again.
type helper struct {
	e      *Engine
	maps   *idMaps  // of its user namespace; nil: the user's own
	mounts bool     // in a mount namespace of its own
	stream *os.File // an archive on its way in or out
	root   *os.File // a running container's root
	net    *userNet // it is where the user's networks are
	empty  bool     // in a network namespace of its own
}

// The descriptors that the helper finds them at.
const (
	streamFD = plan.InheritFrom + iota
	rootFD
)

// tasks are what the helper does, by name: from a request to an answer, both JSON.
var tasks = [...]struct {
	name string
	run  func(request []byte) (answer any, err error)
}{
	{"unpack", task(func(req layer.Request) (any, error) { return layer.Unpack(context.Background(), req) })},
	{"remove", task(func(path string) (any, error) { return nil, layer.RemoveAll(path) })},
	{"fill", task(fillTask.do)},
	{"own", task(ownTask.do)},
	{"pack", task(packTask.do)},
	{"place", task(placeTask.do)},
	{"changes", task(changesTask.do)},
	{"layer", task(layerTask.do)},
	{"network", task(awayTask.do)},
}

func task[T any](do func(T) (any, error)) func([]byte) (any, error) {
	return func(request []byte) (any, error) {
		var req T
		if err := json.Unmarshal(request, &req); err != nil {
			return nil, fmt.Errorf("read request: %w", err)
		}
		return do(req)
	}
}

// Helper is what the program does when HelperVerb is its first argument. Its
// answer, or its error, goes to standard output.
func Helper(args []string) error {
	for _, t := range tasks {
		if len(args) != 1 || t.name != args[0] {
			continue
		}
		request, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		answer, err := t.run(request)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(answer)
	}
	return errors.New("unknown request")
}

func (e *Engine) unpack(_ context.Context, req layer.Request) (res layer.Result, err error) {
	return res, helper{e: e}.run("unpack", req, &res)
}

// removeAll removes a folder: directly if that goes, else as root of the namespace.
func (e *Engine) removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	return helper{e: e}.run("remove", path, nil)
}

// plan is what it takes: a plan like any other.
func (h helper) plan(name string) *plan.Plan {
	p := &plan.Plan{Title: "helper"}
	c := &plan.Clone{}
	if h.mounts {
		c.Flags |= unix.CLONE_NEWNS
	}
	maps := h.maps
	if maps == nil {
		maps = h.e.maps
	}
	if h.empty {
		c.Flags |= unix.CLONE_NEWNET
	}
	switch {
	case h.net != nil:
		p = h.net.plan()
	case maps == nil:
		p.Add("a process of its own", c)
	default:
		c.Flags |= unix.CLONE_NEWUSER
		p.Add("files of many users are one user's, in a user namespace", c)
		p.Append(spec.MapIDs(maps.uid, maps.gid, os.Geteuid(), os.Getegid())...)
		p.Add("root there", &plan.EnterIDs{KeepGroups: maps.single() && !h.e.root})
	}
	p.Add("request and answer", &plan.Stdio{Handles: [3]string{"request", "answer"}})
	p.Add("it ends with us", &plan.DieWith{})
	p.Add("no other descriptor", &plan.CloseOthers{From: 3})
	if h.stream != nil {
		p.Add("the archive", &plan.Inherit{Handle: "stream", FD: streamFD})
	}
	if h.root != nil {
		p.Add("the container's root", &plan.Inherit{Handle: "root", FD: rootFD})
	}
	p.Add("this program again", &plan.Exec{File: "self", Args: []string{"vitro", HelperVerb, name}, Env: h.environment()})
	return p
}

func (h helper) environment() []string {
	if h.net != nil || h.empty {
		return h.e.insideEnvironment(os.Environ())
	}
	return os.Environ()
}

// run runs this program again for a task.
func (h helper) run(name string, ask, answer any) error {
	in, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	request, err := memfile(in)
	if err != nil {
		return err
	}
	defer request.Close()
	reply, err := memfile(nil)
	if err != nil {
		return err
	}
	defer reply.Close()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	handles := map[string]int{"request": int(request.Fd()), "answer": int(reply.Fd()), "self": int(self.Fd())}
	if h.stream != nil {
		handles["stream"] = int(h.stream.Fd())
	}
	if h.root != nil {
		handles["root"] = int(h.root.Fd())
	}
	if h.net != nil {
		handles["user"], handles["net"] = int(h.net.user.Fd()), int(h.net.net.Fd())
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := run.Start(h.plan(name), run.Options{Folder: h.e.Dir, Handles: handles})
	if err != nil {
		return err
	}
	ws, _, err := child.Wait()
	if err != nil {
		return err
	}
	out, err := io.ReadAll(io.NewSectionReader(reply, 0, 1<<40))
	switch {
	case err != nil:
		return err
	case !ws.Exited() || ws.ExitStatus() != 0:
		return errors.New(strings.TrimSpace(string(out)))
	case answer == nil:
		return nil
	}
	return json.Unmarshal(out, answer)
}

// memfile is a file in memory with a content, to be read from its beginning.
func memfile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("vitro", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "request")
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}
