// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"vitro/image/layer"
)

// Files of an image belong to many users. An ordinary user owns only one, and
// borrows the others in a user namespace: there this program runs again, as
// root of it, to unpack a layer or to remove what containers have left.

// HelperVerb is the argument that makes this program the helper in a user namespace.
const HelperVerb = "--in-user-namespace"

// Helper is what the program does when HelperVerb is its first argument.
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

func (e *Engine) unpack(ctx context.Context, req layer.Request) (res layer.Result, err error) {
	in, err := json.Marshal(req)
	if err != nil {
		return res, err
	}
	out, err := e.asRoot(ctx, in, "unpack")
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
	_, err := e.asRoot(context.Background(), nil, "remove", path)
	return err
}

// asRoot runs this program as root of a new user namespace with the user's maps.
func (e *Engine) asRoot(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	// The helper waits on a pipe until its IDs are mapped.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{HelperVerb}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	r.Close()
	if err != nil {
		return nil, fmt.Errorf("start helper in a user namespace: %w", err)
	}
	err = mapIDs(cmd.Process.Pid, e.maps)
	if err == nil {
		_, err = w.Write([]byte{0})
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(msg.String()))
	}
	return out.Bytes(), nil
}

// AwaitMaps is the helper's first act: it waits for its IDs, and becomes root.
func AwaitMaps() error {
	f := os.NewFile(3, "maps")
	var b [1]byte
	if n, _ := f.Read(b[:]); n != 1 {
		return errors.New("the IDs were not mapped")
	}
	f.Close()
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(0); err != nil {
		return err
	}
	return syscall.Setuid(0)
}

func mapIDs(pid int, m *idMaps) error {
	for _, t := range []struct {
		tool   string
		ranges []specs.LinuxIDMapping
	}{{"newuidmap", m.uid}, {"newgidmap", m.gid}} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range t.ranges {
			args = append(args, fmt.Sprint(r.ContainerID), fmt.Sprint(r.HostID), fmt.Sprint(r.Size))
		}
		if out, err := exec.Command(t.tool, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", t.tool, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
