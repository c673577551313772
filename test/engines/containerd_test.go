// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// restrict_oom_score_adj is for machines without CAP_SYS_RESOURCE.
const containerdConf = `version = 2
root = "%[1]s/root"
state = "%[1]s/run"
[grpc]
  address = "%[1]s/sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "tested"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested.options]
        BinaryName = "%[2]s"
[plugins."io.containerd.runtime.v1.linux"]
  no_shim = true
`

const cniConf = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni9", "isGateway": true, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "%s/leases", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "loopback"}]}
`

const ctrPrelude = `
ctr() { command ctr -a "$dir/containerd/sock" -n test "$@"; }
run() { ctr run --runc-binary "$runtime" "$@"; }
task() { ctr task "$@"; }
ex() { ctr task exec --exec-id "e$RANDOM$RANDOM" "$@"; }
E="ctr -a $dir/containerd/sock -n test"
`

// A pod and a container of CRI's are JSON: pod makes one and sets $p; make
// NAME COMMAND [MORE] creates a container in it.
const criPrelude = `
cri() { "$dir/containerd/cri" "$dir/containerd/sock" "$@"; }
host=h-$c
podconf() { echo '{"metadata":{"name":"'$c'","uid":"'$c'","namespace":"default"},"labels":{"of":"'$c'"},"log_directory":"'$dir/containerd/log/$c'","hostname":"'$host'"'${pod:+,$pod}'}'; }
pod() { pod=$1; p=$(cri RunPodSandbox '{"config":'"$(podconf)"'}' pod_sandbox_id); }
own='"linux":{"security_context":{"namespace_options":{"pid":"CONTAINER"}}}' # as the kubelet does
make() { [[ $3 == *'"linux"'* ]] || set -- "$1" "$2" "$own${3:+,$3}"; cri CreateContainer '{"pod_sandbox_id":"'$p'","sandbox_config":'"$(podconf)"',"config":{"metadata":{"name":"'$1'"},"image":{"image":"localhost/bb:1"},"log_path":"'$1'.log","command":'"$2${3:+,$3}"'}}' container_id; }
start() { cri StartContainer '{"container_id":"'$1'"}' >/dev/null; }
ex() { cri ExecSync '{"container_id":"'$1'","timeout":20,"cmd":["sh","-c","'"$(sed 's/[\\"]/\\&/g' <<<"$2")"'"]}' "${field:-stdout}"; }
field_of() { cri ContainerStatus '{"container_id":"'$1'"}' status | grep -o '"'$2'":[^,}]*' | cut -d: -f2- | tr -d '"'; }
ended() { [ "$(field_of $1 state)" = CONTAINER_EXITED ]; }
log() { cut -d' ' -f2,4- "$dir/containerd/log/$c/$1.log"; }
once() { pod "$4"; x=$(make "$1" "$2" "$3") && start $x && until_true ended $x; log "$1"; code=$(field_of $x exit_code); [ $code = 0 ] || echo code $code; }
`

func TestContainerd(t *testing.T) {
	need(t, "containerd", "containerd-shim-runc-v2", "ctr")
	dir := sub(t, "containerd")
	conf, log := filepath.Join(dir, "config.toml"), filepath.Join(dir, "log.txt")
	for name, text := range map[string]string{
		conf: sprintf(containerdConf, dir, st.runtime),
		filepath.Join(sub(t, "containerd", "net.d"), "10-pods.conflist"): sprintf(cniConf, dir),
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ready := func() bool { return exec.Command("ctr", "-a", filepath.Join(dir, "sock"), "version").Run() == nil }
	daemon(t, log, ready, "containerd", "--config", conf)

	t.Run("ctr", func(t *testing.T) {
		engine{
			name:    "ctr",
			prelude: common + ctrPrelude,
			load:    `ctr image import "$images" >/dev/null && run --rm $img first true`,
			clear: `for i in $(ctr c ls -q | grep -E "^$c([^0-9]|\$)"); do
				ctr task kill -s KILL $i 2>/dev/null; ctr task delete -f $i >/dev/null 2>&1; ctr c delete $i || exit; done; true`,
			log: log,
		}.run(t, ctrCases)
	})
	t.Run("cri", func(t *testing.T) {
		buildClient(t, filepath.Join(dir, "cri"))
		engine{
			name:    "cri",
			prelude: common + criPrelude,
			load:    `command ctr -a "$dir/containerd/sock" -n k8s.io image import "$images" >/dev/null; cri Status '{}' >/dev/null`,
			clear: `for i in $(cri ListPodSandbox '{"filter":{"label_selector":{"of":"'$c'"}}}' | grep -o '"id":"[^"]*"' | cut -d'"' -f4); do
				cri StopPodSandbox '{"pod_sandbox_id":"'$i'"}' >/dev/null && cri RemovePodSandbox '{"pod_sandbox_id":"'$i'"}' >/dev/null || exit; done`,
			log: log,
		}.run(t, criCases)
	})
}

// buildClient makes the program cri. Its module is not ours.
func buildClient(t *testing.T, name string) {
	t.Helper()
	goCommand := os.Getenv("GO")
	if goCommand == "" {
		goCommand = "go"
	}
	if _, err := exec.LookPath(goCommand); err != nil {
		t.Skip("needs the go command in PATH, to build the client")
	}
	cmd := exec.Command(goCommand, "build", "-o", name, ".")
	cmd.Dir = "cri"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the client: %v\n%s", err, out)
	}
}
