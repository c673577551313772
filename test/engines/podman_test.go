// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"path/filepath"
	"testing"
)

// What a machine without CAP_SYS_RESOURCE can set: Podman's own defaults raise
// the limits.
const containersConf = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
events_logger = "file"
cgroup_manager = "cgroupfs"
[network]
network_config_dir = %q
`

const podmanPrelude = `
export CONTAINERS_CONF=$dir/%[1]s/containers.conf
podman=(podman --root "$dir/%[1]s/root" --runroot "$dir/%[1]s/run" --runtime "$runtime")
e() { "${podman[@]}" "$@"; }
run() { e run --network none --name "$c" "$@"; }
once() { e run --network none --rm "$@"; }
E="${podman[*]}"
`

func TestPodman(t *testing.T) {
	need(t, "podman", "conmon")
	podmanTest(t, "podman", "", bothCases, podmanCases)
}

// podmanTest gives a Podman the folder of its name, and words of its own.
func podmanTest(t *testing.T, name, words string, tables ...[]testCase) {
	dir := sub(t, name)
	conf := []byte(sprintf(containersConf, sub(t, name, "net")))
	if err := os.WriteFile(filepath.Join(dir, "containers.conf"), conf, 0o644); err != nil {
		t.Fatal(err)
	}
	engine{
		name:    name,
		prelude: sprintf(podmanPrelude, name) + words + common,
		load:    `e load -q -i "$images" && once $img true`,
		clear:   `left=$(e ps -aq --filter "name=^$c([^0-9]|\$)"); [ -z "$left" ] || e rm -f -t 0 -i $left >/dev/null`,
	}.run(t, tables...)
}
