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
// root of it, to unpack a layer or to remove what containers have left.

// HelperVerb is the argument that makes this program the helper in a user namespace.
const HelperVerb = "--in-user-namespace"

// Helper is what the program does when HelperVerb is its first argument. Its
// answer, or its error, goes to standard output.
func Helper(args []string) error {
	if len(args) == 2 && args[0] == "remove" {
		return layer.RemoveAll(args[1])
	}
	if len(args) == 1 && args[0] == "unpack" {
		var req layer.Request
		if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		res, err := layer.Unpack(context.Background(), req)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(res)
	}
	return errors.New("unknown request")
}

func (e *Engine) unpack(_ context.Context, req layer.Request) (res layer.Result, err error) {
	in, err := json.Marshal(req)
	if err != nil {
		return res, err
	}
	out, err := e.asRoot(in, "unpack")
	if err != nil {
		return res, err
	}
	return res, json.Unmarshal(out, &res)
}

// removeAll removes a folder: directly if that goes, else as root of the namespace.
func (e *Engine) removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	_, err := e.asRoot(nil, "remove", path)
	return err
}

// asRoot runs this program as root of a new user namespace with the user's
// maps. What that takes is a plan like any other.
func (e *Engine) asRoot(in []byte, args ...string) ([]byte, error) {
	request, err := memfile(in)
	if err != nil {
		return nil, err
	}
	defer request.Close()
	answer, err := memfile(nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer self.Close()
	p := &plan.Plan{Title: "helper"}
	p.Add("files of many users are one user's, in a user namespace", &plan.Clone{Flags: unix.CLONE_NEWUSER})
	p.Append(spec.MapIDs(e.maps.uid, e.maps.gid)...)
	p.Add("root there", &plan.EnterIDs{})
	p.Add("request and answer", &plan.Stdio{Handles: [3]string{"request", "answer"}})
	p.Add("it ends with us", &plan.DieWith{})
	p.Add("no other descriptor", &plan.CloseOthers{From: 3})
	p.Add("this program again", &plan.Exec{File: "self", Args: append([]string{"vitro", HelperVerb}, args...), Env: os.Environ()})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := run.Start(p, run.Options{
		Folder:  e.Dir,
		Handles: map[string]int{"request": int(request.Fd()), "answer": int(answer.Fd()), "self": int(self.Fd())},
	})
	if err != nil {
		return nil, err
	}
	ws, _, err := child.Wait()
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.NewSectionReader(answer, 0, 1<<20))
	if err == nil && (!ws.Exited() || ws.ExitStatus() != 0) {
		err = errors.New(strings.TrimSpace(string(out)))
	}
	return out, err
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
