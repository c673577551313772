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
export CONTAINERS_CONF=$dir/podman/containers.conf
podman=(podman --root "$dir/podman/root" --runroot "$dir/podman/run" --runtime "$runtime")
e() { "${podman[@]}" "$@"; }
run() { e run --network none --name "$c" "$@"; }
once() { e run --network none --rm "$@"; }
E="${podman[*]}"
`

func TestPodman(t *testing.T) {
	need(t, "podman", "conmon")
	dir := sub(t, "podman")
	conf := []byte(sprintf(containersConf, sub(t, "podman", "net")))
	if err := os.WriteFile(filepath.Join(dir, "containers.conf"), conf, 0o644); err != nil {
		t.Fatal(err)
	}
	engine{
		name:    "podman",
		prelude: podmanPrelude + common,
		load:    `e load -q -i "$images" && once $img true`,
		clear:   `left=$(e ps -aq --filter "name=^$c([^0-9]|\$)"); [ -z "$left" ] || e rm -f -t 0 -i $left >/dev/null`,
	}.run(t, bothCases, podmanCases)
}
