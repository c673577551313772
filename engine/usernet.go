// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vitro/container"
	"vitro/internal/outside"
	"vitro/network"
	"vitro/network/usernet"
	"vitro/plan"
	"vitro/plan/run"
	"vitro/spec"
)

// A userNet is an ordinary user's namespaces for networks: what package
// usernet calls U and U.net.
type userNet struct{ user, net *os.File }

func (u *userNet) close() {
	u.user.Close()
	u.net.Close()
}

// elsewhere reports whether networks are in a namespace that we are not in.
func (e *Engine) elsewhere() bool { return !e.root && !e.inside }

// userNet finds the user's namespaces; with start they are made, if they aren't there.
func (e *Engine) userNet(start bool) (*userNet, error) {
	u, err := e.enterUserNet()
	if !errors.Is(err, usernet.ErrGone) || !start {
		return u, err
	}
	old := e.livingNet()
	if old != nil {
		defer old.close()
	}
	if err := e.startUserNet(old); err != nil {
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if u, err = e.enterUserNet(); !errors.Is(err, usernet.ErrGone) {
			break // of two that were started at once, one serves
		}
	}
	if err == nil && old != nil {
		e.tellUserNet()
	} else if lost := e.networked(); err == nil && len(lost) > 0 {
		fmt.Fprintln(os.Stderr, "vitro: warning: what held the user's networks was killed, with all that knew of it; cut off are:")
		for _, c := range lost {
			fmt.Fprintln(os.Stderr, "  vitro restart", c.at.Name)
		}
	}
	return u, err
}

func (e *Engine) enterUserNet() (*userNet, error) {
	_, fds, err := usernet.Call(e.Dir, usernet.Request{Verb: usernet.Enter})
	if err != nil {
		return nil, err
	}
	if len(fds) != 2 {
		return nil, errors.New("ask vitro-net for its namespaces: it has sent none")
	}
	return &userNet{os.NewFile(uintptr(fds[0]), "user"), os.NewFile(uintptr(fds[1]), "net")}, nil
}

// livingNet finds the namespaces by the processes beside containers, for a
// vitro-net that was killed; nil if there are none.
func (e *Engine) livingNet() *userNet {
	for _, c := range e.networked() {
		pid := c.Holder()
		if pid <= 1 {
			continue
		}
		user, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
		if err != nil {
			continue
		}
		net, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			user.Close()
			continue
		}
		return &userNet{user, net}
	}
	return nil
}

// A networked container is one that is on networks.
type networked struct {
	*container.Container
	at network.Attachments
}

// networked are the running containers that are on networks.
func (e *Engine) networked() (list []networked) {
	all, err := e.Containers.All()
	if err != nil {
		return nil
	}
	for _, c := range all {
		if !c.State.Alive() {
			continue
		}
		if at, err := network.ReadAttachments(c.Dir); err == nil && at.ID != "" {
			list = append(list, networked{c, at})
		}
	}
	return list
}

// startUserNet starts vitro-net: in a new user namespace, or in that of old.
func (e *Engine) startUserNet(old *userNet) error {
	program, err := companion(usernet.Program)
	if err == nil {
		err = os.MkdirAll(usernet.Dir(e.Dir), 0o700)
	}
	if err != nil {
		return err
	}
	files := make(map[string]*os.File)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	handles := make(map[string]int)
	open := func(name, path string, flags int) {
		if err == nil {
			if files[name], err = os.OpenFile(path, flags, 0o600); err == nil {
				handles[name] = int(files[name].Fd())
			}
		}
	}
	open("null", os.DevNull, os.O_RDWR)
	open("log", filepath.Join(usernet.Dir(e.Dir), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND)
	open("program", program, os.O_RDONLY)
	if err != nil {
		return err
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	files["ready"], handles["ready"] = theirs, int(theirs.Fd())
	args := []string{usernet.Program, "serve", e.Dir}
	p := &plan.Plan{Title: "networks of an ordinary user"}
	if old == nil {
		p.Add("the user is root of a user namespace", &plan.Clone{Flags: unix.CLONE_NEWUSER})
		p.Append(spec.MapIDs(e.maps.uid, e.maps.gid, os.Geteuid(), os.Getegid())...)
		p.Add("root there", &plan.EnterIDs{KeepGroups: e.maps.single()})
	} else {
		handles["user"], handles["net"] = int(old.user.Fd()), int(old.net.Fd())
		args = append(args, "again")
		p.Add("the user is root of the user namespace that is there", &plan.Clone{Join: []plan.Join{{Kind: "user", Handle: "user", Path: "the user's"}}})
		p.Add("root there", &plan.EnterIDs{KeepGroups: e.maps.single(), Joined: true})
	}
	p.Add("nobody's terminal", &plan.Stdio{Handles: [3]string{"null", "log", "log"}})
	p.Add("no other descriptor", &plan.CloseOthers{From: 3})
	p.Add("where it says that it is ready", &plan.Inherit{Handle: "ready", FD: usernet.ReadyFD})
	if old != nil {
		p.Add("the network namespace that is there", &plan.Inherit{Handle: "net", FD: usernet.NetFD})
	}
	p.Add("vitro-net", &plan.Exec{File: "program", Args: args, Env: environment()})
	if err := startAside(p, e.Dir, handles); err != nil {
		return fmt.Errorf("start vitro-net: %w", err)
	}
	theirs.Close()
	text, err := io.ReadAll(ready)
	if err == nil && len(text) > 0 {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return fmt.Errorf("make the user's networks: %w", err)
	}
	return nil
}

// startAside starts a process that outlives us.
func startAside(p *plan.Plan, folder string, handles map[string]int) error {
	defer hearAll()()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := run.Start(p, run.Options{Folder: folder, Handles: handles})
	if err == nil && child.Pidfd >= 0 {
		unix.Close(child.Pidfd)
	}
	return err
}

// launchInside starts the process beside a container in the user's namespaces.
func (e *Engine) launchInside(u *userNet, text string, conn *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p := u.plan()
	p.Add("the command's errors", &plan.Stdio{Handles: [3]string{"null", "null", ""}})
	p.Add("no other descriptor", &plan.CloseOthers{From: 3})
	p.Add("the command", &plan.Inherit{Handle: "conn", FD: besideInside})
	p.Add("this program again", &plan.Exec{File: "self", Args: []string{"vitro", BesideVerb, "start", e.Dir, text}, Env: e.insideEnvironment(environment())})
	return u.start(p, e.Dir, map[string]int{"null": int(null.Fd()), "conn": int(conn.Fd())})
}

// besideInside is where the process beside a container finds the command then: see Launch.Conn.
const besideInside = plan.InheritFrom

// insideEnvironment tells who we are outside.
func (e *Engine) insideEnvironment(env []string) []string {
	return append(env, outside.Variable+"="+outside.Value(e.uid, e.gid))
}

// plan begins one for a process in the namespaces.
func (u *userNet) plan() *plan.Plan {
	p := &plan.Plan{Title: "in the user's networks"}
	p.Add("where the user's networks are", &plan.Clone{Join: []plan.Join{{Kind: "user", Handle: "user", Path: "the user's"}, {Kind: "net", Handle: "net", Path: "the user's networks"}}})
	p.Add("root there", &plan.EnterIDs{Joined: true})
	return p
}

func (u *userNet) start(p *plan.Plan, folder string, handles map[string]int) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	handles["self"], handles["user"], handles["net"] = int(self.Fd()), int(u.user.Fd()), int(u.net.Fd())
	return startAside(p, folder, handles)
}

// Aside reports whether the user's networks are in a namespace that is another than the user's.
func (e *Engine) Aside() bool {
	return e.elsewhere() && exists(filepath.Join(usernet.Dir(e.Dir), "socket"))
}

// Within runs this program's command once more, where the user's networks are,
// and returns its exit status. Its streams are ours, but for its output if out is not nil. It does nothing where we
// are there already, or nobody is and start is not set.
func (e *Engine) Within(args []string, start bool, out *os.File) (code int, done bool, err error) {
	if !e.elsewhere() {
		return 0, false, nil
	}
	u, err := e.userNet(start)
	if errors.Is(err, usernet.ErrGone) && !start {
		return 0, false, nil
	}
	if err != nil {
		return 0, true, err
	}
	defer u.close()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return 0, true, err
	}
	defer self.Close()
	p := u.plan()
	handles := map[string]int{"self": int(self.Fd()), "user": int(u.user.Fd()), "net": int(u.net.Fd())}
	if out != nil {
		handles["out"] = int(out.Fd())
		p.Add("what it has to say is for us", &plan.Stdio{Handles: [3]string{"", "out", ""}})
	}
	p.Add("it ends with us", &plan.DieWith{})
	p.Add("no other descriptor", &plan.CloseOthers{From: 3})
	p.Add("this program again", &plan.Exec{File: "self", Args: args, Env: e.insideEnvironment(os.Environ())})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := run.Start(p, run.Options{Folder: e.Dir, Handles: handles})
	if err != nil {
		return 0, true, err
	}
	ws, _, err := child.Wait()
	if ws.Signaled() {
		return 128 + int(ws.Signal()), true, err
	}
	return ws.ExitStatus(), true, err
}

// holdUserNet tells vitro-net by which processes the container is there.
func (e *Engine) holdUserNet(id string, pids ...int) error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		fds = append(fds, fd)
	}
	_, _, err := usernet.Call(e.Dir, usernet.Request{Verb: usernet.Hold, ID: id}, fds...)
	return err
}

// hold does it for this container.
func (l *life) holdNet(pids ...int) error {
	if !l.e.inside || !l.rec.Flags.bridged() {
		return nil
	}
	return l.e.holdUserNet(l.c.ID, append(pids, os.Getpid())...)
}

// tellUserNet tells a new vitro-net what the one knew that was killed.
func (e *Engine) tellUserNet() {
	for _, c := range e.networked() {
		pids := []int{c.State.Pid}
		if beside := c.Holder(); beside > 1 {
			pids = append(pids, beside)
		}
		err := e.holdUserNet(c.ID, pids...)
		if err == nil {
			err = c.at.TakeAgain(e.Dir)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "vitro: take the ports of container %s again: %v\n", c.ID[:12], err)
		}
	}
}

// mendUserNet starts vitro-net anew, if it was killed and containers need it.
func (e *Engine) mendUserNet() error {
	if e.looked || !e.Aside() {
		return nil
	}
	e.looked = true
	u, err := e.userNet(false)
	if err == nil {
		u.close()
		return nil
	}
	if !errors.Is(err, usernet.ErrGone) || len(e.networked()) == 0 {
		return nil
	}
	if u, err = e.userNet(true); err == nil {
		u.close()
	}
	return err
}

// An away is a host action on a network, for who is not where the networks are.
type away struct {
	e      *Engine
	action plan.Host
	values json.RawMessage
}

// actions makes empty values of the actions on networks, as network.Actions does.
func (e *Engine) actions(verb string) plan.Host {
	a := network.Actions(verb)
	if a == nil || !e.elsewhere() {
		return a
	}
	return &away{e: e, action: a}
}

func (a *away) Verb() string         { return a.action.Verb() }
func (a *away) Line() string         { return a.action.Line() }
func (a *away) Undo() plan.Host      { return nil }
func (a *away) Shell(s *plan.Script) { a.action.Shell(s) }

// UnmarshalJSON keeps the text for who is to do the action.
func (a *away) UnmarshalJSON(text []byte) error {
	a.values = append(json.RawMessage(nil), text...)
	return json.Unmarshal(text, a.action)
}

// Do has the action done where the networks are. If there is no such place any
// more, its links and rules have gone with it: the rest is done in an empty one.
func (a *away) Do(*plan.Env) error {
	u, err := a.e.userNet(false)
	if err != nil && !errors.Is(err, usernet.ErrGone) {
		return err
	}
	if u == nil {
		u = a.e.livingNet()
	}
	if u != nil {
		defer u.close()
	}
	return helper{e: a.e, net: u, empty: u == nil}.run("network", awayTask{a.Verb(), a.values}, nil)
}

type awayTask struct {
	Verb   string
	Values json.RawMessage
}

func (t awayTask) do() (any, error) {
	a := network.Actions(t.Verb)
	if a == nil {
		return nil, fmt.Errorf("unknown verb %q", t.Verb)
	}
	if err := json.Unmarshal(t.Values, a); err != nil {
		return nil, err
	}
	return nil, a.Do(new(plan.Env))
}

// insideResolv is the host's resolv.conf as it is for who is in the user's
// networks: all questions go to vitro-net's address, which asks whom the host asks.
func insideResolv(host []byte) []byte {
	out := []byte("nameserver " + usernet.Resolver.String() + "\n")
	for lines := bufio.NewScanner(strings.NewReader(string(host))); lines.Scan(); {
		if !strings.HasPrefix(strings.TrimSpace(lines.Text()), "nameserver") {
			out = append(append(out, lines.Text()...), '\n')
		}
	}
	return out
}

// companion finds a program of ours: beside this one, or in PATH.
func companion(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		p := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", hint(fmt.Errorf("find %s: neither beside vitro nor in PATH", name), "install the programs of vitro in the same folder")
	}
	return filepath.Abs(p)
}
