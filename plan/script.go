// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
)

// A Script collects the shell commands of a plan: what `explain --as sh`
// prints. It needs a POSIX shell, util-linux 2.38, iproute2 and nft(8), and
// makes the container that the plan makes, as far as a shell can.
//
// The commands may use these variables: $ROOT, where the container's root file
// system is put together; $PID, the container's first process as the host
// sees it; $T, a folder of the script's own.
//
// A shell can't pivot and go on: the tools that it needs stay behind. So
// the script's child does everything below $ROOT, drops its privileges, and
// waits; then the host moves it to its new root (Last), and lets it go.
type Script struct {
	before, child, born, after, last, undo []string
	root, clone, env, privs, exec          string
	inUser                                 string // what enters the child's user namespace as its root
	handles                                map[string]string
	stage                                  int
	where                                  *[]string
	back                                   *Script
}

// Run adds a command at the place where the step runs.
func (s *Script) Run(format string, args ...any) {
	*s.where = append(*s.where, fmt.Sprintf(format, args...))
}

// Note adds a comment: what a shell can't do, and what it costs.
func (s *Script) Note(format string, args ...any) { s.Run("# "+format, args...) }

// Last adds a host command for the moment when the child only waits to go on.
func (s *Script) Last(format string, args ...any) {
	s.last = append(s.last, fmt.Sprintf(format, args...))
}

// Born adds a host command for the moment when the child is born.
func (s *Script) Born(format string, args ...any) {
	s.born = append(s.born, fmt.Sprintf(format, args...))
}

// Root says where the container's root file system is put together.
func (s *Script) Root(path string) { s.root = path }

// Handle says which file a handle stands for: a shell names files, and keeps
// no descriptors.
func (s *Script) Handle(name, path string) {
	if s.handles == nil {
		s.handles = make(map[string]string)
	}
	s.handles[name] = path
}

// InUser says that host commands for the child's mounts have to be root of its
// user namespace, whose groups may be forbidden to change.
func (s *Script) InUser(keepGroups bool) {
	s.inUser = `nsenter -t "$PID" -U `
	if keepGroups {
		s.inUser += "--preserve-credentials "
	}
}

// Undoing is where an action's inverse adds its commands: they run after the
// container's end, the last step's first.
func (s *Script) Undoing() *Script {
	if s.back == nil {
		s.back = &Script{where: new([]string)}
	}
	return s.back
}

// Clone sets the command that gives birth to the child: it is followed by the
// shell that the child runs.
func (s *Script) Clone(command string) { s.clone = command }

// Reexec has the child go on as another program's child shell: what changes
// the process itself (unshare, setpriv) can only be put in front of a command.
func (s *Script) Reexec(command string) {
	s.stage++
	s.Run("exec %s sh \"$T/child\" %d ;;\n%d)", command, s.stage, s.stage)
}

// Exec sets the command that the container runs, with its environment.
func (s *Script) Exec(cwd string, argv, env []string) {
	s.env = "env -i " + Quote(env...)
	s.exec = fmt.Sprintf(`"$(command -v sh)" -c 'echo >&4; read -r _ <&3; exec 3<&- 4<&-; cd "$0"; unset PWD OLDPWD; exec "$@"' %s %s`,
		Quote(cwd), Quote(argv...))
}

// Privs adds an option of setpriv(1) that the last exec goes through.
func (s *Script) Privs(format string, args ...any) {
	s.privs += " " + fmt.Sprintf(format, args...)
}

// Shell is the plan as a runnable shell script.
func (p *Plan) Shell() string {
	s := &Script{stage: 1}
	born := p.Born()
	for i, st := range p.Steps {
		switch {
		case !st.IsHost():
			s.where = &s.child
		case i < born:
			s.where = &s.before
		default:
			s.where = &s.after
		}
		at := len(*s.where)
		st.Action.Shell(s)
		if st.Why != "" && len(*s.where) > at {
			*s.where = slices.Insert(*s.where, at, "\n# "+st.Why)
		}
		if s.back != nil { // the last step's come first
			s.undo = append(*s.back.where, s.undo...)
			s.back = nil
		}
	}
	return s.String(p.Title)
}

// String puts the script together.
func (s *Script) String(title string) string {
	var b strings.Builder
	section := func(text string, lines []string) {
		b.WriteString(text)
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
	}
	fmt.Fprintf(&b, scriptHead, strings.ReplaceAll(title, "\n", " "), Quote(s.root))
	section(scriptUndo, s.undo)
	section("rm -rf \"$T\"\n}\ntrap undo EXIT\ntrap 'exit 129' HUP\ntrap 'exit 130' INT\ntrap 'exit 143' TERM\n", nil)
	end := s.delimiter()
	section("\n# --- the child's half ---\ncat >\"$T/child\" <<'"+end+"'\nset -eu\ncase $1 in\n1)\nread -r _ <\"$T/go\"\nexec 4>\"$T/ready\" # its end tells the host if this fails\n", s.child)
	privs := ""
	if s.privs != "" {
		privs = `"$(command -v setpriv)"` + s.privs + " "
	}
	section("\n# the command: last, with nothing left of what set it up\n", []string{
		`exec 3<>"$T/last"`,
		"exec " + s.env + " " + privs + s.exec + " ;;", "esac", end})
	section("\n# --- the host's half, before the child is born ---\n", s.before)
	section(fmt.Sprintf(scriptBirth, s.clone), s.born)
	section(scriptWaiting, s.after)
	section("echo >&6\nexec 6>&-\n\n# --- all is in place: the child moves into its root, and runs ---\nread -r _ <\"$T/ready\"\n", s.last)
	section("echo >\"$T/last\"\nwait \"$MAKER\" && status=0 || status=$?\nPID= MAKER=\nexit \"$status\"\n", nil)
	return b.String()
}

// delimiter is a line that the child's half does not have, which ends it: a
// value with line breaks in it might.
func (s *Script) delimiter() string {
	end := "THE_CHILD"
	for text := strings.Join(slices.Concat(s.child, []string{s.env, s.privs, s.exec}), "\n"); strings.Contains(text, end); {
		end += "_"
	}
	return end
}

const scriptHead = `#!/bin/sh
# %s
# This makes the same container with the system's own tools. Run it as the user
# for whom it was printed.
set -eu
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
umask 022
ROOT=%s
T=$(mktemp -d) PID= MAKER=
export ROOT T
chmod 711 "$T"
mkfifo -m 666 "$T/go" "$T/last" "$T/ready"
`

// scriptUndo begins the function that takes everything back. An ordinary user
// can remove files of the IDs lent to the container only as root of a user
// namespace that has them too.
const scriptUndo = `
# --- taking it all back, whatever happens ---
remove() {
	rm -rf "$1" 2>/dev/null || unshare -r --map-auto rm -rf "$1" 2>/dev/null || unshare -r rm -rf "$1"
}
undo() {
set +e
for p in $PID $MAKER; do kill -KILL "$p" 2>/dev/null; done
wait
`

// scriptWaiting waits until the child's shell runs: one that starts while its
// IDs are mapped takes its user and its effective user for two, and leaves the second.
const scriptWaiting = `
# --- the host's half, with the child waiting ---
exec 6>"$T/go" # opens when the child reads it
`

const scriptBirth = `
# --- birth ---
exec 5<&0
%s sh "$T/child" 1 <&5 5<&- &
MAKER=$!
exec 5<&-
while [ -z "$PID" ]; do
	sleep 0.01
	kill -0 "$MAKER"
	read -r PID _ <"/proc/$MAKER/task/$MAKER/children" || : # no newline at its end
done
`

// Quote returns words as a POSIX shell reads them back.
func Quote(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if w != "" && strings.IndexFunc(w, needsQuote) < 0 {
			b.WriteString(w)
			continue
		}
		b.WriteString("'" + strings.ReplaceAll(w, "'", `'\''`) + "'")
	}
	return b.String()
}

func needsQuote(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_@%+=:,./-", r))
}
