// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"path"
	"slices"
	"strings"

	"vitro/host"
)

// handleV2 is the handle of the cgroup that the child is born in.
const handleV2 = "cgroup"

// v2 plans the container's cgroup in the hierarchy of version 2.
func (t *tree) v2() error {
	cgroup, err := t.place()
	if err != nil {
		return err
	}
	parent := t.deepest(path.Dir(cgroup))
	if kind, _ := t.FS.Read(parent + "/cgroup.type"); strings.TrimSpace(kind) != "" && strings.TrimSpace(kind) != "domain" {
		return &Threaded{parent, strings.TrimSpace(kind)}
	}
	if err := t.mayMove(cgroup); err != nil {
		return err
	}
	on, grant, err := t.controllers(cgroup)
	if err != nil {
		return err
	}
	for _, g := range grant {
		if g.evacuate {
			t.host("a cgroup with processes in it can't share out controllers, so they move one down", &Evacuate{Path: g.dir, Leaf: leaf})
		}
	}
	if err := t.make(cgroup); err != nil {
		return err
	}
	for _, g := range grant {
		t.host("the cgroups below get controllers only from above", &host.Write{Path: g.dir + "/cgroup.subtree_control", Value: "+" + strings.Join(g.controllers, " +")})
	}
	if err := t.write(t.sampleV2(parent)); err != nil {
		return err
	}
	if t.devices {
		t.host("which devices it may open and make", &AttachDevices{Path: t.dir, Rules: t.builder.devices})
	}
	t.delegate()
	t.open("the child is born in it", t.dir, handleV2, pathFlags)
	t.setup.Into = handleV2
	t.added(on)
	return nil
}

// place is the container's cgroup as a path below the mount. A relative path
// counts from the parent of the own cgroup; if a user has no rights there, from
// the own cgroup, where that is delegated.
func (t *tree) place() (string, error) {
	if path.IsAbs(t.path) {
		return t.path, nil
	}
	if strings.HasPrefix(t.h.Own, "/..") {
		return "", ErrOutside
	}
	base := path.Dir(t.h.Own)
	if t.UID != 0 && !t.delegated(base) && t.delegated(t.h.Own) {
		base = t.h.Own
	}
	return path.Join(base, t.path), nil
}

// delegated reports whether this user rules over a cgroup: its folder, who is
// in it, and which controllers those below have (cgroup-v2.rst, Delegation).
func (t *tree) delegated(cgroup string) bool {
	dir := t.h.dir(cgroup)
	return t.writable(dir) && t.writable(dir+"/cgroup.procs") && t.writable(dir+"/cgroup.subtree_control")
}

// mayMove: a process can be moved (or born elsewhere) only by who may write to
// cgroup.procs of the nearest cgroup above both places.
func (t *tree) mayMove(cgroup string) error {
	if t.UID == 0 {
		return nil
	}
	common := "/"
	own, to := strings.Split(t.h.Own, "/"), strings.Split(cgroup, "/")
	for i := 1; i < len(own) && i < len(to) && own[i] == to[i]; i++ {
		common = path.Join(common, own[i])
	}
	if file := t.h.dir(common) + "/cgroup.procs"; !t.writable(file) {
		return t.denied(file, nil)
	}
	return nil
}

// A grant is what a cgroup has to enable for those below it.
type grant struct {
	dir         string
	controllers []string
	evacuate    bool
}

// controllers finds what each cgroup between the mount and the container's has
// to enable. On is what the container's will have.
func (t *tree) controllers(cgroup string) (on []string, grants []grant, err error) {
	must, may, err := t.wanted()
	if err != nil || len(must)+len(may) == 0 {
		return t.fields(t.h.dir(path.Dir(cgroup)) + "/cgroup.subtree_control"), nil, err
	}
	dirs := t.chain(cgroup)
	have := make([][]string, len(dirs))
	evacuate := make([]bool, len(dirs))
	for i, dir := range dirs {
		have[i] = t.fields(dir + "/cgroup.subtree_control")
		need := minus(must, have[i])
		if len(need) == 0 && len(minus(may, have[i])) == 0 {
			continue
		}
		var blocked error
		blocked, evacuate[i] = t.obstacle(dir, need)
		if blocked != nil && len(need) > 0 {
			return nil, nil, blocked
		}
		if blocked != nil || evacuate[i] { // what nobody has asked for by name moves nobody
			may = intersect(may, have[i])
		}
	}
	on = append(must, may...)
	for i, dir := range dirs {
		if need := minus(on, have[i]); len(need) > 0 {
			grants = append(grants, grant{dir, need, evacuate[i]})
		}
	}
	return append(on, minus(have[len(have)-1], on)...), grants, nil
}

// wanted are the controllers that the limits need, and those that would be
// nice to have.
func (t *tree) wanted() (must, may []string, err error) {
	if len(t.rows) == 0 && !t.opt.All {
		return nil, nil, nil
	}
	have := t.fields(t.h.Mount + "/cgroup.controllers")
	for _, r := range t.rows {
		if r.Controller == core || slices.Contains(must, r.Controller) {
			continue
		}
		if !slices.Contains(have, r.Controller) {
			missing, remedy := without(r.Controller)
			return nil, nil, &Unsupported{r.Property, missing, remedy}
		}
		must = append(must, r.Controller)
	}
	if t.opt.All {
		may = minus(have, must)
	}
	return must, may, nil
}

// chain is every cgroup above the container's, outermost first.
func (t *tree) chain(cgroup string) []string {
	dirs := []string{t.h.Mount}
	for i, c := range cgroup {
		if c == '/' && i > 0 {
			dirs = append(dirs, t.h.dir(cgroup[:i]))
		}
	}
	return dirs
}

// obstacle is why a cgroup can't enable controllers, if so. Evacuate means that
// it can if the processes in it, of which we are one, move one down. (For cpu,
// cpuset and pids alone the kernel would not refuse: it would turn the cgroup
// into the root of a threaded tree, and those below could hold no process.)
func (t *tree) obstacle(dir string, need []string) (err error, evacuate bool) {
	if !t.FS.Exists(dir) {
		return nil, false
	}
	if file := dir + "/cgroup.subtree_control"; !t.writable(file) {
		return t.denied(file, need), false
	}
	if !t.FS.Exists(dir + "/cgroup.type") { // the machine's root is exempt
		return nil, false
	}
	pids := t.fields(dir + "/cgroup.procs")
	switch {
	case len(pids) == 0:
		return nil, false
	case slices.Contains(pids, "0"):
		return &InternalProcesses{Path: dir, Foreign: true}, false
	case dir != t.h.dir(t.h.Own):
		return &InternalProcesses{Path: dir}, false
	}
	return nil, true
}

// sampleV2 finds a cgroup that has a controller's files, to see which these
// are: the parent, or the own one. The machine's root has none of them.
func (t *tree) sampleV2(parent string) func(string) string {
	return func(controller string) string {
		for _, dir := range []string{parent, t.h.dir(t.h.Own)} {
			if t.FS.Exists(dir+"/cgroup.type") &&
				(controller == core || slices.Contains(t.fields(dir+"/cgroup.controllers"), controller)) {
				return dir
			}
		}
		return ""
	}
}

// delegate gives the cgroup to its owner: the folder, and the files that the
// kernel says are to be given along. Never those with the limits.
func (t *tree) delegate() {
	o := t.opt.Owner
	if o == nil || o.UID == t.UID && o.GID == t.GID {
		return
	}
	const why = "the container's root may make cgroups below, but not change its own limits"
	t.host(why, &host.Chown{Path: t.dir, UID: o.UID, GID: o.GID})
	files := t.fields("/sys/kernel/cgroup/delegate")
	if len(files) == 0 { // before Linux 4.15
		files = []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}
	}
	for _, f := range files {
		t.host(why, &host.Chown{Path: t.dir + "/" + f, UID: o.UID, GID: o.GID, Optional: true})
	}
}

func minus(a, b []string) []string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func intersect(a, b []string) []string { return minus(a, minus(a, b)) }
