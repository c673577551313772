// SPDX-License-Identifier: Apache-2.0

// Package checkpoint has what it takes to write a running container to files
// and to bring it back, by CRIU (criu.org): its command lines, what of a
// container it has to be told about, and what it says when it can't.
//
// CRIU is a step of a plan as any other: its command line can be read and
// typed. A checkpoint is a plan of one process; a restore is the container's
// plan with criu in the place of its program (spec.CompileRestore), so that
// cgroups, network and hooks come about as they always do, and are taken back
// as they always are.
//
// What is on both sides of a checkpoint is known to both by a name:
//
//	what                                    its name
//	----                                    --------
//	a bind mount of config.json             its destination
//	a file hidden behind /dev/null          /dev/null
//	the network namespace                   extRootNetNS
//	a PID namespace that is joined          extRootPidNS
//	a standard stream that is a pipe        pipe:[INODE]
//	and one that is a file of the host's    file[MOUNT:INODE]
//
// The first four are runc's names, so that checkpoints can move between runtimes.
//
// CRIU writes processes down, no file systems: to move a container to another
// machine its root has to be copied too. To stop a container for a while only,
// freeze its cgroup.
package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"

	"vitro/cgroup"
)

// Options are those that a checkpoint and a restore share, by runc's names.
type Options struct {
	Criu           string // the program, and Path: see Find
	Path           string // PATH for the programs that criu calls: ip, iptables-restore, tar
	Images         string // --image-path, absolute
	Work           string // --work-path, absolute: logs and statistics; empty: Images
	Config         string // a configuration file of criu's (criu(8)), "" for none
	TCPEstablished bool
	ExtUnixSk      bool
	ShellJob       bool
	FileLocks      bool
	AutoDedup      bool
	LazyPages      bool
	Cgroups        string // --manage-cgroups-mode; empty: soft
}

// common are the arguments that the options stand for.
func (o *Options) common(action, log string) []string {
	args := []string{"criu", action, "--images-dir", o.Images, "--log-file", log, "-v4"}
	if o.Work != "" {
		args = append(args, "--work-dir", o.Work)
	}
	if o.Config != "" {
		args = append(args, "--config", o.Config)
	}
	for _, f := range [...]struct {
		on   bool
		flag string
	}{
		{o.TCPEstablished, "--tcp-established"}, {o.ExtUnixSk, "--ext-unix-sk"}, {o.ShellJob, "--shell-job"},
		{o.FileLocks, "--file-locks"}, {o.AutoDedup, "--auto-dedup"}, {o.LazyPages, "--lazy-pages"},
	} {
		if f.on {
			args = append(args, f.flag)
		}
	}
	mode := o.Cgroups
	if mode == "" {
		mode = "soft"
	}
	return append(args, "--manage-cgroups="+mode)
}

// Log is criu's log of an action.
func (o *Options) Log(action string) string {
	if o.Work != "" {
		return path.Join(o.Work, action+".log")
	}
	return path.Join(o.Images, action+".log")
}

// CheckMode refuses a --manage-cgroups-mode that criu doesn't know.
func CheckMode(mode string) error {
	if mode != "" && !slices.Contains([]string{"soft", "full", "strict", "ignore"}, mode) {
		return fmt.Errorf("use --manage-cgroups-mode %q: want soft, full, strict or ignore", mode)
	}
	return nil
}

// oldest is the first version with all that is asked of it here: namespaces
// from outside (3.11, 3.15), the freezer of cgroup v2 (3.14), LSM profiles (3.16).
var oldest = [2]int{3, 16}

// Find looks for criu, and asks it for its version.
func Find() (criu, path string, err error) {
	if path = os.Getenv("PATH"); path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	criu, err = find()
	return criu, path, err
}

func find() (string, error) {
	file, err := exec.LookPath("criu")
	if err != nil {
		return "", &Unusable{Err: errors.New("criu is not installed"), Remedy: "install it: apt-get install criu, dnf install criu; see criu.org"}
	}
	out, err := exec.Command(file, "--version").Output()
	if err != nil {
		return "", &Unusable{Err: fmt.Errorf("%s --version: %w", file, err)}
	}
	v, ok := parseVersion(out)
	if !ok {
		return "", &Unusable{Err: fmt.Errorf("%s --version says %q, which has no version", file, bytes.TrimSpace(out))}
	}
	if slices.Compare(v[:], oldest[:]) < 0 {
		return "", &Unusable{Err: fmt.Errorf("%s is version %d.%d", file, v[0], v[1]), Remedy: fmt.Sprintf("install criu %d.%d or newer", oldest[0], oldest[1])}
	}
	return file, nil
}

// parseVersion reads the line "Version: 3.17.1".
func parseVersion(out []byte) (v [2]int, ok bool) {
	for line := range strings.Lines(string(out)) {
		rest, found := strings.CutPrefix(line, "Version:")
		if !found {
			continue
		}
		parts := strings.Split(strings.TrimSpace(rest), ".")
		if len(parts) < 2 {
			return v, false
		}
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		return [2]int{major, minor}, err1 == nil && err2 == nil && major >= 0 && minor >= 0
	}
	return v, false
}

// freezer is the cgroup by which criu has all of a container's processes stand
// still at once; "" if there is none: they are stopped one by one then.
func freezer(dirs cgroup.Dirs) string {
	for _, d := range dirs {
		if d.V2 || slices.Contains(d.Controllers, "freezer") {
			return d.Path
		}
	}
	return ""
}
