// SPDX-License-Identifier: Apache-2.0

package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A script that somebody wrote for docker has to do the same with vitro. Each
// case is played by both, and what it prints is compared: there is no text
// that is wanted, other than Docker's own. Its runtime is runc.
//
//	try COMMAND...   prints the command, its stdout, its stderr with a ! in
//	                 front of each line, and its status if that isn't 0
//	refused COMMAND  prints the command, and whether it went wrong: a create
//	                 has another status if the client refuses than the daemon's
//	e                the engine
//
// What differs each time (IDs, times, addresses) is made alike by alikeWords,
// and of stderr only counts whether anything was said, since vitro has its own
// words.
const alikePrelude = `
try() { echo "$ $*"; "$@" 2>$work/stderr; local code=$?; sed 's/^/! /' $work/stderr; [ $code = 0 ] || echo "= $code"; }
refused() { "$@" >/dev/null 2>&1 && echo "$* went" || echo "$* was refused"; }
once() { e run --network none --rm "$@"; }
run() { # NAME, flags of run or the image's command
  local name=$1; shift
  case $1 in -*) ;; *) set -- $img "$@" ;; esac
  e run -d --network none --name $name "$@" >/dev/null
}
make() { local name=$1; shift; e create --network none --name $name "$@" >/dev/null; }
cd $work
`

const alikeDocker = `
export DOCKER_HOST=unix://$dir/alike/sock DOCKER_CONFIG=$dir/alike/config work=$dir/alike/with-docker
e() { docker "$@"; }
E=docker
`

const alikeVitro = `
export work=$dir/alike/with-vitro
e() { %[1]s --root $dir/alike/vitro "$@"; }
E="%[1]s --root $dir/alike/vitro"
`

// alikeClear takes away whatever a case has made.
const alikeClear = `
for i in $(e ps -aq); do e rm -f -v $i; done >/dev/null
for v in $(e volume ls -q); do e volume rm $v; done >/dev/null
for n in $(e network ls -q --filter type=custom); do e network rm $n; done >/dev/null
e rmi -f $(e images -q | awk '!n[$1]++') >/dev/null; e load -q -i "$images" >/dev/null
rm -rf $work; mkdir $work
`

var alikeWords = []struct {
	what *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`with-(docker|vitro)`), "work"},
	{regexp.MustCompile(`[0-9a-f]{64}`), "ID64"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "ID12"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[-+]\d\d:?\d\d| UTC|Z)*`), "TIME"},
	{regexp.MustCompile(`(Less than a second|About a minute|\d+ (seconds?|minutes?))( ago)?`), "AGO$3"},
	{regexp.MustCompile(`space: .*`), "space: SIZE"},
	{regexp.MustCompile(`172\.\d+\.0\.(\d+)`), "172.N.0.$1"},
	{regexp.MustCompile(`(?m)(^! .*\n)+`), "! …\n"},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func TestAlike(t *testing.T) {
	need(t, "docker", "dockerd", "containerd", "iptables", "runc")
	dir := sub(t, "alike")
	must(t, "ip", "link", "set", "lo", "mtu", "65535") // the way out, of which bridges take the MTU: they have no more
	dockerd(t, dir, "--iptables=false", "--ip6tables=false")
	vitro, err := filepath.Abs(filepath.Join("..", "..", "bin", "vitro"))
	if err != nil {
		t.Fatal(err)
	}
	both := []engine{
		{name: "docker", prelude: alikeDocker + common + alikePrelude, log: filepath.Join(dir, "log")},
		{name: "vitro", prelude: sprintf(alikeVitro, vitro) + common + alikePrelude},
	}
	for _, e := range both {
		sub(t, "alike", "with-"+e.name)
		e.must(t, `e load -q -i "$images"`)
	}
	for _, c := range alikeCases {
		if testing.Short() && !strings.HasPrefix(c.name, "script:") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			var out [2]string
			var group sync.WaitGroup
			for i, e := range both {
				group.Go(func() { out[i] = transcript(t, e, c.script) })
			}
			group.Wait()
			if alike(out[0]) != alike(out[1]) {
				t.Errorf("docker and vitro differ:\n%s", difference(t, out[0], out[1]))
			}
		})
	}
}

// transcript plays a script, and clears up.
func transcript(t *testing.T, e engine, script string) string {
	out, err := e.shell("c", script)
	if err != nil {
		t.Errorf("%s: %v", e.name, err)
	}
	if out.stderr != "" {
		t.Errorf("%s: the script itself says %s", e.name, out.stderr)
	}
	if out, err := e.shell("c", alikeClear); err != nil || out.code != 0 || out.stderr != "" {
		t.Errorf("%s: clear up: %v, %d, %s", e.name, err, out.code, out.stderr)
	}
	return out.stdout
}

// alike is a transcript without what differs each time.
func alike(text string) string {
	for _, w := range alikeWords {
		text = w.what.ReplaceAllString(text, w.word)
	}
	return text
}

// difference shows two transcripts side by side where they differ, and what both have said of it.
func difference(t *testing.T, docker, vitro string) string {
	dir := t.TempDir()
	for name, text := range map[string]string{"docker": alike(docker), "vitro": alike(vitro)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("diff", "-U", "100", "docker", "vitro")
	cmd.Dir = dir
	text, _ := cmd.Output() // its status says that they differ
	said := func(text string) (list string) {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "! ") {
				list += line
			}
		}
		return list
	}
	return string(text) + "docker said:\n" + said(docker) + "vitro said:\n" + said(vitro)
}

func must(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}
