// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vitro/test/world"
)

// foreign has Podman load and run an image that vitro has committed and saved,
// and vitro one that Podman has.
const foreign = `set -euo pipefail
say() { echo "--- $*" >&2; }
printf '[containers]\ndefault_ulimits=["nofile=20000:20000","nproc=4096:4096"]\n[engine]\nevents_logger="file"\ncgroup_manager="cgroupfs"\n' >containers.conf
export CONTAINERS_CONF=$PWD/containers.conf
p() { podman --root "$PWD/root" --runroot "$PWD/runroot" --runtime runc "$@"; }
v() { "$VITRO" --root "$PWD/vitro" "$@"; }

say commit
v run -d --network none --name made -e A=1 busybox sh -c 'mkdir -p /d/e; echo new >/d/e/f; chown 5:6 /d/e/f; chmod 4751 /d/e/f; ln /d/e/f /d/hard; ln -s f /d/e/link
  rm /etc/group; rm -r /home; mkdir /home; echo over >/home/x; echo more >>/etc/passwd; touch /done; sleep 1000' >/dev/null
until v cp made:/done - >/dev/null 2>&1; do sleep 0.1; done
v commit -m ours -c 'CMD ["sh", "-c", "cat /look | sh"]' made made:1 >/dev/null
look='cat /d/e/f; stat -c "%a %u:%g %h" /d/hard; readlink /d/e/link; ls /etc/group 2>/dev/null || echo deleted; ls /home; tail -n 1 /etc/passwd; echo $A'
want=$(printf 'new\n4751 5:6 2\nf\ndeleted\nx\nmore\n1')
[ "$(v run --rm --network none made:1 sh -c "$look")" = "$want" ]

say save and load
v save -o saved.tar made:1 busybox
for from in docker-archive:saved.tar:docker.io/library/made:1 oci-archive:saved.tar:made:1; do
  skopeo copy -q "$from" oci:layout:made
  skopeo inspect --config "$from" | grep -q '"ours"'
done
p load -q -i saved.tar
got=$(p run --rm --network none made:1 sh -c "$look")
[ "$got" = "$want" ] || { say "Podman sees: $got"; exit 1; }
p run --rm --network none busybox true

say the other way
p run --network none --name theirs made:1 sh -c 'rm /d/hard; rm -r /home; mkdir /home; echo theirs >/d/t'
p commit -q theirs localhost/theirs:1 >/dev/null
for format in docker-archive oci-archive; do
  p save -q --format $format -o theirs.tar localhost/theirs:1
  v load -q -i theirs.tar
  [ "$(v run --rm --network none localhost/theirs:1 sh -c 'cat /d/t /d/e/f; ls /d /home')" = "$(p run --rm --network none localhost/theirs:1 sh -c 'cat /d/t /d/e/f; ls /d /home')" ]
  v rmi localhost/theirs:1 >/dev/null
  rm theirs.tar
done

say export and import
v export made | p import -q - localhost/flat:1
[ "$(p run --rm --network none -e A=1 localhost/flat:1 sh -c "$look")" = "$want" ]

say diff
change='mkdir -p /n/e; echo x >/n/e/f; rm -r /home; echo y >>/bin/own; chmod 700 /tmp; rm /bin/awk; ln -s a /tmp/l'
v run --network none --name same busybox sh -c "$change"
p run --network none --name same busybox sh -c "$change"
v diff same | LC_ALL=C sort >ours
p diff same | grep -v -e ' /etc' -e ' /run' -e ' /proc$' -e ' /sys$' -e ' /dev$' | LC_ALL=C sort >podmans
cmp ours podmans || { diff ours podmans; exit 1; }
p rm -f same >/dev/null
v rm same >/dev/null
p rm -f theirs >/dev/null
v rm -f made >/dev/null
`

// TestForeignEngines needs Podman and skopeo, and a world for them.
func TestForeignEngines(t *testing.T) {
	for _, program := range []string{"podman", "skopeo", "runc", "conmon"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: a world of its own for Podman")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.Command("bash", "-c", foreign)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "VITRO="+st.vitro, "PATH="+filepath.Dir(st.vitro)+":"+os.Getenv("PATH"))
	hide := []string{"/run", "/dev/shm", "/var/lib/cni", "/var/lib/containers", "/var/tmp", "/etc/cni/net.d"}
	w := world.World{Net: true, Hide: hide, Label: "-foreign"}
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := w.Run(ctx, cmd); err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
}
