// SPDX-License-Identifier: Apache-2.0

package event

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	l := Log{Dir: filepath.Join(t.TempDir(), "none yet")}
	none := func(Event) error { return errors.New("there is one") }
	if err := l.Read(none); err != nil {
		t.Error("no folder:", err)
	}
	if err := os.Mkdir(l.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Read(none); err != nil {
		t.Error("an empty log:", err)
	}
	want := Event{
		Time: time.Unix(1700000000, 5), Type: Container, Action: "health_status: healthy", ID: "abc",
		Attributes: map[string]string{"name": "web", "a": "\"\\\n\x00<日>", lineStart: lineStart, "": ""},
	}
	if err := l.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(Event{Type: Image, Action: "tag", ID: "\xff"}); err != nil {
		t.Fatal(err)
	}
	var got []Event
	if err := l.Read(func(e Event) error { got = append(got, e); return nil }); err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if e := got[0]; !e.Time.Equal(want.Time) || e.Type != want.Type || e.Action != want.Action || e.ID != want.ID || !maps.Equal(e.Attributes, want.Attributes) {
		t.Errorf("%+v\nwant %+v", e, want)
	}
	if e := got[1]; e.ID != "\ufffd" || time.Since(e.Time) > time.Minute {
		t.Errorf("%+v", e)
	}
	stop := errors.New("stop")
	if err := l.Read(func(Event) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestTheFileIsAsOpenAsTheFolder(t *testing.T) {
	for _, mode := range []os.FileMode{0o711, 0o755, 0o770} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		l := Log{Dir: dir}
		if err := l.Write(Event{}); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(l.path())
		if err != nil || st.Mode()&^mode&0o777 != 0 || st.Mode()&0o600 != 0o600 {
			t.Errorf("folder %v: file %v, %v", mode, st.Mode(), err)
		}
	}
	err := Log{Dir: "/nonexistent/log"}.Write(Event{Type: Volume, Action: "create"})
	if err == nil || !strings.Contains(err.Error(), "write event volume create: no such file") {
		t.Error(err)
	}
}

// A full disk cuts lines off.
func TestALineThatWasCutOffSpoilsNoOther(t *testing.T) {
	l := Log{Dir: t.TempDir()}
	whole := string(line(&Event{Time: time.Unix(1, 0), ID: "x", Attributes: map[string]string{"a": lineStart}}))
	for i := range len(whole) - 1 {
		text := whole[:i] + string(line(&Event{Time: time.Unix(2, 0), ID: "y"})) + "\n\nnot JSON\n" + whole
		if err := os.WriteFile(l.path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var ids string
		if err := l.Read(func(e Event) error { ids += e.ID; return nil }); err != nil || ids != "yx" {
			t.Fatalf("cut at %d: %q, %v", i, ids, err)
		}
	}
}

// TestMain lets the test's own program be a writer: many processes.
func TestMain(m *testing.M) {
	if dir := os.Getenv("EVENT_WRITER"); dir != "" {
		l := Log{Dir: dir, Size: 8 << 10, Keep: 1 << 20}
		for i := range 400 {
			if err := l.Write(Event{Type: Container, Action: strconv.Itoa(i), ID: os.Getenv("EVENT_ID"), Attributes: map[string]string{"pad": strings.Repeat("x", i%97)}}); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Some processes write, files are renamed all the time, readers come and go:
// each sees every event once, and each writer's in order.
func TestNobodyMissesAnEvent(t *testing.T) {
	const writers, events, readers = 6, 400, 4
	dir := t.TempDir()
	l := Log{Dir: dir}
	type check struct {
		next [writers]int
		left int
	}
	visit := func(c *check) func(Event) error {
		c.left = writers * events
		return func(e Event) error {
			w, _ := strconv.Atoi(e.ID)
			if e.Type != Container || e.Action != strconv.Itoa(c.next[w]) {
				return fmt.Errorf("writer %d: %s %s, want %d", w, e.Type, e.Action, c.next[w])
			}
			c.next[w]++
			if c.left--; c.left == 0 {
				return context.Canceled
			}
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	follow := func(name string) {
		wg.Go(func() {
			var c check
			if err := l.Follow(ctx, true, visit(&c)); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v; %d events are missing", name, err, c.left)
			}
		})
	}
	for i := range readers {
		follow("reader " + strconv.Itoa(i))
	}
	for i := range writers {
		wg.Go(func() {
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), "EVENT_WRITER="+dir, "EVENT_ID="+strconv.Itoa(i))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("writer %d: %v: %s", i, err, out)
			}
		})
	}
	follow("late reader")
	wg.Wait()
	var c check
	if err := l.Read(visit(&c)); !errors.Is(err, context.Canceled) {
		t.Errorf("afterwards: %v; %d events are missing", err, c.left)
	}
	if files, _ := filepath.Glob(l.path() + ".*"); len(files) < 2 { // how many depends on how often one writes alone
		t.Errorf("only %d files were renamed", len(files))
	}
}

func TestOldFilesAreRemovedAndMissed(t *testing.T) {
	l := Log{Dir: t.TempDir(), Size: 1, Keep: 2} // an event a file
	write := func(ids ...string) {
		for _, id := range ids {
			if err := l.Write(Event{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("1", "2", "3", "4")
	var ids string
	visit := func(e Event) error { ids += e.Type + e.ID + " "; return nil }
	if err := l.Read(visit); err != nil || ids != "3 4 " {
		t.Errorf("%q, %v", ids, err)
	}
	// A reader that stopped at 4 while 5 and 6 were written and removed.
	r, err := l.reader(false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	ids = ""
	if err := r.drain(visit); err != nil || ids != "3 4 " {
		t.Errorf("%q, %v", ids, err)
	}
	write("5", "6", "7", "8")
	ids = ""
	if err := r.drain(visit); err != nil || ids != "lost 7 8 " {
		t.Errorf("%q, %v", ids, err)
	}
	// All files removed by hand.
	for _, n := range []int{7, 8} {
		if err := os.Remove(l.old(n)); err != nil {
			t.Fatal(err)
		}
	}
	ids = ""
	if err := r.drain(visit); err != nil || ids != "" {
		t.Errorf("%q, %v", ids, err)
	}
	write("9")
	if err := r.drain(visit); err != nil || ids != "9 " {
		t.Errorf("%q, %v", ids, err)
	}
}

func TestFollowBeginsAtTheEnd(t *testing.T) {
	l := Log{Dir: filepath.Join(t.TempDir(), "made by the reader"), Size: 1}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, round := range []string{"none", "renamed"} { // the newest file is not there
		ids := make(chan string)
		go func() {
			defer close(ids)
			stop := errors.New("stop")
			if err := l.Follow(ctx, false, func(e Event) error { ids <- e.ID; return stop }); !errors.Is(err, stop) {
				t.Error(err)
			}
		}()
		// Follow has begun once it sees one of these.
		n := 0
		for got := false; !got; n++ {
			select {
			case id, ok := <-ids:
				if !strings.HasPrefix(id, round) || !ok {
					t.Errorf("%s: %q", round, id)
				}
				got = true
			case <-time.After(20 * time.Millisecond):
				if _, err := os.Stat(l.Dir); err != nil {
					continue
				}
				if err := l.Write(Event{ID: round + strconv.Itoa(n)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range ids {
		}
	}
	gone, end := context.WithCancel(ctx)
	end()
	if err := l.Follow(gone, false, func(Event) error { return nil }); err != nil {
		t.Error("a context that has ended:", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(line(&Event{Time: time.Unix(1, 2), Type: "t", Action: "a", ID: "i", Attributes: map[string]string{"k": "v"}}))
	f.Add([]byte(lineStart + lineStart))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, ok := parse(text)
		if !ok {
			return
		}
		again, ok := parse(line(&e))
		if !ok || !again.Time.Equal(e.Time) || again.ID != e.ID || !maps.Equal(again.Attributes, e.Attributes) {
			t.Errorf("%q: %+v, then %+v", text, e, again)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	l := Log{Dir: b.TempDir()}
	e := Event{Type: Container, Action: "start", ID: strings.Repeat("a", 64), Attributes: map[string]string{"image": "busybox", "name": "web"}}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Write(e); err != nil {
			b.Fatal(err)
		}
	}
}
