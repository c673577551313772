// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const dockerPrelude = `
export DOCKER_HOST=unix://$dir/%[1]s/sock DOCKER_CONFIG=$dir/%[1]s/config
e() { docker "$@"; }
run() { e run --network none --name "$c" "$@"; }
once() { e run --network none --rm "$@"; }
E=docker
`

func TestDocker(t *testing.T) {
	need(t, "docker", "dockerd", "containerd", "iptables")
	dockerTest(t, "docker", nil, bothCases, dockerCases)
}

// dockerTest starts a dockerd, in the folder of its name.
func dockerTest(t *testing.T, name string, flags []string, tables ...[]testCase) {
	dir := sub(t, name)
	e := engine{
		name:    name,
		prelude: sprintf(dockerPrelude, name) + common,
		load:    `e load -q -i "$images" && once $img true`,
		clear:   `for i in $(e ps -aq --filter "name=^$c([^0-9]|\$)"); do e rm -f $i; done >/dev/null`,
		log:     filepath.Join(dir, "log"),
	}
	dockerd(t, dir, append([]string{"--add-runtime", "tested=" + st.runtime, "--default-runtime", "tested"}, flags...)...)
	e.run(t, tables...)
}

// dockerd starts one, whose files are all in a folder: the socket is called sock there, the log log.
func dockerd(t *testing.T, dir string, flags ...string) {
	t.Helper()
	sock := "unix://" + filepath.Join(dir, "sock")
	config := filepath.Join(dir, "daemon.json") // there is no flag for this file, which would be made in /etc
	if err := os.WriteFile(config, []byte(sprintf(`{"deprecated-key-path": %q}`, filepath.Join(dir, "key.json"))), 0o644); err != nil {
		t.Fatal(err)
	}
	ready := func() bool { return exec.Command("docker", "-H", sock, "version").Run() == nil }
	daemon(t, filepath.Join(dir, "log"), ready, append([]string{
		"dockerd", "--data-root", filepath.Join(dir, "root"), "--exec-root", filepath.Join(dir, "run"),
		"--pidfile", filepath.Join(dir, "pid"), "-H", sock, "--config-file", config, "--exec-opt", "native.cgroupdriver=cgroupfs",
	}, flags...)...)
}
