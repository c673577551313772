// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// criVersion is of Kubernetes' conformance tests for CRI.
const criVersion = "v1.34.0"

// criGroups are what a run of critest is about: what the heads of its tests begin
// with. Each has a containerd of its own.
var criGroups = []string{
	"Container", "Idempotence", "Image Manager", "Multiple Containers", "Networking", "PodSandbox", "Runtime info", "Security Context",
	"Streaming", "AppArmor", "SELinux",
}

// criHidden are where containerd, its shims and the network plugins keep things
// that no setting moves.
var criHidden = []string{"/run", "/var/lib/cni", "/var/lib/containerd", "/etc/cni/net.d"}

// getCRI gets critest as a Go module, and makes the images that it asks a
// registry for. Its peer is the runc that containerd would call.
func getCRI(dir string) (*suite, error) {
	for _, p := range []string{"containerd", "containerd-shim-runc-v2", "/usr/lib/cni/bridge", "iptables", "busybox", "nginx", "pgrep", "ipcs", "gcc", "script"} {
		if _, err := exec.LookPath(p); err != nil {
			return nil, err
		}
	}
	peer, err := exec.LookPath("runc")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, done, err := fresh(dir)
	if err != nil {
		return nil, err
	}
	if !done {
		source, err := module("sigs.k8s.io/cri-tools@" + criVersion)
		if err != nil {
			return nil, err
		}
		for _, c := range [][]string{
			{"cp", "-rT", "--no-preserve=mode", source, dir},
			{"go", "test", "-c", "-ldflags=-s", "-o", "critest", "./cmd/critest"},
		} {
			if _, err := do(dir, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod"}, c...); err != nil {
				return nil, err
			}
		}
		if err := makeImages(dir, "cri", "nonewprivs"); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "got"), nil, 0o644); err != nil {
			return nil, err
		}
	}
	s := &suite{dir: dir, peer: peer, hide: criHidden, files: criGroups}
	s.command = func(group, runtime string) *exec.Cmd {
		return exec.Command(self, "critest", dir, group, runtime)
	}
	return s, nil
}

// critest runs a group of tests in a world, and writes TAP.
func critest(w io.Writer, dir, group, runtime string) error {
	tmp := os.Getenv("TMPDIR")
	registry, err := newRegistry(dir)
	if err != nil {
		return fmt.Errorf("make images: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(l, registry) // as long as this process lives
	for name, text := range map[string]string{
		"config.toml":               fmt.Sprintf(containerdConf, tmp, runtime),
		"net.d/10-pods.conflist":    fmt.Sprintf(cniConf, tmp),
		"hosts/_default/hosts.toml": fmt.Sprintf(hostsConf, l.Addr()),
	} {
		name = filepath.Join(tmp, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	sock := filepath.Join(tmp, "sock")
	stop, err := startContainerd(filepath.Join(tmp, "config.toml"), sock)
	if err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	defer stop()
	report := filepath.Join(tmp, "report.json")
	cmd := exec.Command(filepath.Join(dir, "critest"), "--runtime-endpoint=unix://"+sock, "--ginkgo.no-color", "--ginkgo.json-report="+report,
		`--ginkgo.focus=\[k8s\.io\] `+group)
	said, _ := cmd.CombinedOutput() // failed tests are a failure to it
	text, err := os.ReadFile(report)
	if err == nil {
		err = writeTAP(w, text, "[k8s.io] "+group)
	}
	if err != nil {
		return errors.Join(err, fmt.Errorf("critest said: %s", said))
	}
	return nil
}

// startContainerd returns when it answers.
func startContainerd(conf, sock string) (stop func(), err error) {
	daemon := exec.Command("containerd", "--log-level", "error", "--config", conf)
	daemon.Stdout, daemon.Stderr = os.Stdout, os.Stderr // beside the TAP
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		daemon.Process.Kill()
		daemon.Wait()
	}
	for range 100 {
		if err = exec.Command("ctr", "-a", sock, "version").Run(); err == nil {
			return stop, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return nil, err
}

// writeTAP writes what ginkgo reports of the tests whose head begins so.
func writeTAP(w io.Writer, report []byte, head string) error {
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(report, &suites); err != nil {
		return err
	}
	n := 0
	for _, s := range suites {
		for _, r := range s.SpecReports {
			name := strings.Join(append(r.ContainerHierarchyTexts, r.LeafNodeText), " ")
			if r.LeafNodeType != "It" || !strings.HasPrefix(name, head) {
				continue
			}
			n++
			name = strings.TrimPrefix(name, "[k8s.io] ")
			switch r.State {
			case "passed":
				fmt.Fprintf(w, "ok %d %s\n", n, name)
			case "skipped", "pending":
				fmt.Fprintf(w, "ok %d %s # skip %s\n", n, name, r.Failure.Message)
			default:
				fmt.Fprintf(w, "not ok %d %s\n# %s\n", n, name, strings.ReplaceAll(r.Failure.Message, "\n", "\n# "))
			}
		}
	}
	return nil
}

// restrict_oom_score_adj is for machines without CAP_SYS_RESOURCE.
const containerdConf = `version = 2
root = "%[1]s/root"
state = "%[1]s/run"
[grpc]
  address = "%[1]s/sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "%[1]s/hosts"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "tested"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested.options]
        BinaryName = "%[2]s"
`

const cniConf = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni9", "isGateway": true, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "%s/leases", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "loopback"}, {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// hostsConf sends what is asked of any registry to ours.
const hostsConf = `[host."http://%s"]
  capabilities = ["pull", "resolve"]
`
