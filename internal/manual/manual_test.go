// SPDX-License-Identifier: Apache-2.0

package manual

import (
	"os/exec"
	"strings"
	"testing"
)

func TestWhatRoffWouldTakeForItsOwn(t *testing.T) {
	p := Page{
		Name: "x-y", Section: 1, Version: "1", Date: "2026-01-02", Short: "do 'it' \\ -v",
		Synopsis: []string{"x y [FILE]", "x z"}, Text: ".TH no request\n\n" + strings.Repeat("'word ", 40),
		Lists:   []List{{"OPTIONS", []Item{{"-a, --all", ".so /etc/passwd", []Item{{"--deep", "\"quoted\"", nil}}}}}, {"NOTHING", nil}},
		Example: "  x --all '.*' | y\n  .x \\n ~ ^ `", See: []string{"a(1)", "b(8)"},
	}
	text := p.String()
	for line := range strings.Lines(text) {
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case ".so", ".x", ".TH no", "'word":
			t.Errorf("a request: %s", line)
		}
		if len(line) > 81 {
			t.Errorf("a long line: %s", line)
		}
	}
	if strings.Contains(text, "NOTHING") {
		t.Error("a section of nothing")
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("needs mandoc, to read the page")
	}
	cmd := exec.Command("mandoc", "-T", "utf8", "-O", "width=400")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("\b", "\x00").Replace(string(out))
	for i := strings.IndexByte(plain, 0); i > 0; i = strings.IndexByte(plain, 0) { // bold is a letter over itself
		plain = plain[:i-1] + plain[i+1:]
	}
	for _, want := range []string{`do 'it' \ -v`, ".TH no request", "'word 'word", ".so /etc/passwd", `"quoted"`, "x --all '.*' | y", ".x \\n ~ ^ `", "a(1), b(8)"} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %q in\n%s", want, plain)
		}
	}
}
