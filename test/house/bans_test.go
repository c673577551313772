// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// Where a ban holds.
const (
	inCode     = 1 << iota // what the programs are made of
	inTests                // _test.go files
	everywhere = inCode | inTests
)

// calls are functions and types that are not used here, why, and the files
// that may all the same: a name, a folder with a slash, or a pattern.
var calls = [...]struct {
	name    string // import path and name; a * at the end stands for any rest
	where   int
	reason  string
	allowed []string
}{
	{"os.Create", inCode, "truncates what a symbolic link leads to: os.OpenFile with O_EXCL, or write beside and rename", []string{"bench/"}},
	{"os.IsNotExist", everywhere, "misses wrapped errors: errors.Is(err, fs.ErrNotExist)", nil},
	{"os.IsExist", everywhere, "misses wrapped errors: errors.Is(err, fs.ErrExist)", nil},
	{"os.IsPermission", everywhere, "misses wrapped errors: errors.Is(err, fs.ErrPermission)", nil},
	{"os.IsTimeout", everywhere, "misses wrapped errors: errors.Is(err, os.ErrDeadlineExceeded)", nil},
	{"os.Exit", inCode, "skips what was deferred, such as an undo: return an error to main", []string{"cmd/", "bench/", "test/", "*gen.go"}},
	{"os.Chdir", inCode, "is the whole process's: other goroutines resolve their paths too", []string{"cmd/", "bench/"}},
	{"golang.org/x/sys/unix.Chdir", inCode, "is the whole process's: other goroutines resolve their paths too", nil},
	{"golang.org/x/sys/unix.Umask", inCode, "is the whole process's: other goroutines make files too", []string{"cmd/"}},
	{"syscall.Umask", inCode, "is the whole process's: other goroutines make files too", nil},
	{"os.Setenv", inCode, "is the whole process's: set it for one child", nil},
	{"os.TempDir", inCode, "is everybody's: os.MkdirTemp makes a name that nobody could foresee", nil},
	{"log.*", everywhere, "has no place beside returned errors, and log.Fatal skips what was deferred", []string{"*gen.go"}},
	{"fmt.Print*", inCode, "a library has no terminal: take an io.Writer", []string{"cmd/", "bench/", "test/", "*gen.go"}},
	{"time.Sleep", inTests, "outside a loop is too short on a busy machine, too long on others: wait for the event, or poll for it with a deadline",
		[]string{"test/e2e/limit_test.go"}}, // there the time is what is measured
	{"time.Tick", everywhere, "cannot be stopped: time.NewTicker", nil},
	{"net/http.Get", everywhere, "has no time limit: an http.Client with one, and a context", nil},
	{"net/http.Post", everywhere, "has no time limit: an http.Client with one, and a context", nil},
	{"net/http.DefaultClient", everywhere, "has no time limit, and is shared with all libraries", nil},
	{"math/rand.*", everywhere, "an ID or a name that can be foreseen can be taken: crypto/rand; or math/rand/v2 with a seed, in tests", nil},
	{"reflect.DeepEqual", inCode, "slow, and nil is not empty for it: compare what matters", nil},
	{"io/ioutil.*", everywhere, "moved to os and io", nil},
	{"path/filepath.EvalSymlinks", inCode, "is right only until somebody changes the tree: openat2 with RESOLVE_IN_ROOT", nil},
	{"path/filepath.Walk", everywhere, "calls stat for each file: filepath.WalkDir", nil},
}

func TestBannedCalls(t *testing.T) {
	for _, s := range load(t) {
		loopEnd := token.NoPos // of the loop that we are in
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.ForStmt, *ast.RangeStmt:
				loopEnd = max(loopEnd, n.End())
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			id, ok := sel.X.(*ast.Ident)
			if !ok || s.path(id.Name) == "" {
				return true
			}
			name := s.path(id.Name) + "." + sel.Sel.Name
			if name == "time.Sleep" && n.Pos() < loopEnd {
				return true // a poll
			}
			for _, b := range calls {
				prefix, any := strings.CutSuffix(b.name, "*")
				hit := name == b.name || any && strings.HasPrefix(name, prefix)
				if hit && s.holds(b.where) && !matches(s.name, b.allowed...) {
					t.Errorf("%s:%d: %s %s", s.name, line(n), name, b.reason)
				}
			}
			return true
		})
	}
}

func (s *source) holds(where int) bool {
	if s.test() {
		return where&inTests != 0
	}
	return where&inCode != 0
}

// imports are packages that are not imported, why, and who may.
var imports = [...]struct {
	path    string
	where   int
	reason  string
	allowed []string
}{
	{"C", everywhere, "the programs are static, and pure Go", nil},
	{"unsafe", inCode, "only where the file's name says so", []string{"*_unsafe.go", "*_unsafe_*.go"}},
	{"unsafe", inTests, "only where the file's name says so", []string{"*_unsafe_test.go", "*_unsafe_*_test.go"}},
	{"plugin", everywhere, "needs cgo", nil},
	{"os/user", inCode, "reads the host's accounts; a container's are in its own tree", []string{"engine/", "cmd/vitro/"}},
}

func TestBannedImports(t *testing.T) {
	for _, s := range load(t) {
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			for _, b := range imports {
				if path == b.path && s.holds(b.where) && !matches(s.name, b.allowed...) {
					t.Errorf("%s:%d: import of %s: %s", s.name, line(spec), path, b.reason)
				}
			}
		}
	}
}

// phrases say nothing at the start of an error: that it is one is known where it is printed.
// Each layer adds what it alone knows, as "verb object: cause".
var phrases = [...]string{"failed to ", "unable to ", "error while ", "an error occurred", "something went wrong"}

// quoted are errors in the words of other runtimes, which suites look for.
var quoted = [...]string{"failed to connect with seccomp agent", "unable to move network devices without a private NET namespace", "unable to apply"}

func TestErrorsSayWhat(t *testing.T) {
	for _, s := range load(t) {
		if s.test() || s.generated() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING || s.dir == "test/house" {
				return true
			}
			text := lit.Value[1:]
			for _, q := range quoted {
				text = strings.ReplaceAll(text, q, "")
			}
			text = strings.ToLower(text)
			for _, p := range phrases {
				if strings.HasPrefix(text, p) || strings.Contains(text, ": "+p) {
					t.Errorf("%s:%d: %s: leave out %q", s.name, line(lit), lit.Value, strings.TrimSpace(p))
				}
			}
			return true
		})
	}
}

// joins may be made with a container's root: none has run in it yet.
var joins = []string{"bench/"}

// A path below a root file system that was joined as a string leads wherever
// the container's symbolic links say: CVE-2021-30465, CVE-2023-27561,
// CVE-2024-45310. Open it by descriptor, with openat2 and RESOLVE_IN_ROOT.
func TestNoPathIsJoinedToARootfs(t *testing.T) {
	for _, s := range load(t) {
		if s.test() || matches(s.name, joins...) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Join" {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); !ok || s.path(id.Name) != "path" && s.path(id.Name) != "path/filepath" {
				return true
			}
			if name := lastName(call.Args[0]); strings.Contains(strings.ToLower(name), "rootfs") {
				t.Errorf("%s:%d: %s is joined with %s: a symbolic link in it leads out", s.name, line(n), "a path", name)
			}
			return true
		})
	}
}

// lastName is the identifier that an expression ends with: Rootfs of c.spec.Rootfs.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return lastName(e.Fun)
	}
	return ""
}

// mapEntries is how many entries a map of a package's may have: it is filled
// at every start, before main. A sorted array costs nothing, sync.OnceValue
// only those who use it.
const mapEntries = 6

func TestNothingHappensBeforeMain(t *testing.T) {
	for _, s := range load(t) {
		if s.test() || s.alone() {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					t.Errorf("%s:%d: func init runs at every start: sync.OnceFunc, where it is needed", s.name, line(d))
				}
			case *ast.GenDecl:
				for _, v := range values(d) {
					if reason := s.atStart(v); reason != "" {
						t.Errorf("%s:%d: %s", s.name, line(v), reason)
					}
				}
			}
		}
	}
}

// values are the expressions that a package's variables start with.
func values(d *ast.GenDecl) []ast.Expr {
	var list []ast.Expr
	for _, spec := range d.Specs {
		if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR {
			list = append(list, v.Values...)
		}
	}
	return list
}

// atStart says what is wrong with the first value of a package's variable.
func (s *source) atStart(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.CompositeLit:
		if _, ok := e.Type.(*ast.MapType); ok && len(e.Elts) > mapEntries {
			return "a map of a package is filled at every start: a sorted array, or sync.OnceValue"
		}
	case *ast.CallExpr:
		sel, ok := e.Fun.(*ast.SelectorExpr)
		if !ok {
			return ""
		}
		if id, ok := sel.X.(*ast.Ident); ok {
			switch s.path(id.Name) {
			case "regexp":
				return "a regular expression is compiled at every start: sync.OnceValue, or package strings"
			case "text/template", "html/template":
				return "a template is parsed at every start: sync.OnceValue"
			}
		}
		return s.atStart(sel.X) // template.New("").Parse("")
	}
	return ""
}
