package diag

import (
	"errors"
	"strings"
	"testing"
)

func TestPosition(t *testing.T) {
	s := NewSource("f", []byte("ab\r\n\ncd"))
	for _, c := range []struct{ offset, line, column int }{
		{0, 1, 1}, {2, 1, 3}, {3, 1, 4}, {4, 2, 1}, {5, 3, 1}, {7, 3, 3},
	} {
		if line, column := s.Position(c.offset); line != c.line || column != c.column {
			t.Errorf("Position(%d) = %d, %d, want %d, %d", c.offset, line, column, c.line, c.column)
		}
	}
	for n, want := range map[int]string{0: "", 1: "ab", 2: "", 3: "cd", 4: ""} {
		if got := string(s.Line(n)); got != want {
			t.Errorf("Line(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRange(t *testing.T) {
	s := NewSource("f", []byte("ab\ncd"))
	r := Range{Source: s, Start: 3, End: 5}
	if r.IsZero() || r.Line() != 2 || r.Text() != "cd" || r.String() != "f:2:1" || r.FileLine() != "f:2" {
		t.Errorf("range is %v, line %d, text %q, %q", r, r.Line(), r.Text(), r.FileLine())
	}
	var zero Range
	if !zero.IsZero() || zero.Line() != 0 || zero.Text() != "" || zero.String() != "" || zero.FileLine() != "" {
		t.Errorf("zero range is %v, line %d, text %q, %q", zero, zero.Line(), zero.Text(), zero.FileLine())
	}
}

func TestWrite(t *testing.T) {
	long := strings.Repeat("x", 200)
	cases := []struct {
		name, text string
		start, end int32
		want       string
	}{
		{"a word", "one two three\n", 4, 7, "    1 | one two three\n      |     ^^^\n"},
		{"tabs", "\tone\ttwo", 5, 8, "    1 |  one two\n      |      ^^^\n"},
		{"no width", "one", 3, 3, "    1 | one\n      |    ^\n"},
		{"several lines", "one\ntwo\nthree", 2, 9, "    1 | one\n      |   ^\n"},
		{"control bytes", "a\x1b[31mb\x00 c", 8, 9, `    1 | a\x1b[31mb\x00 c` + "\n      |               ^\n"},
		{"not UTF-8", "a\xffb\u202ec", 2, 3, `    1 | a\xffb\u202ec` + "\n      |      ^\n"},
		{"wide", "grün grün", 6, 8, "    1 | grün grün\n      |      ^^\n"},
		{"long line, start", "ab" + long, 0, 2, "    1 | ab" + long[:118] + "…\n      | ^^\n"},
		{"long line, middle", long + "ab" + long, 200, 202, "    1 | …" + long[:60] + "ab" + long[:58] + "…\n      | " + strings.Repeat(" ", 61) + "^^\n"},
		{"long subject", long, 10, 200, "    1 | " + long[:120] + "…\n      | " + strings.Repeat(" ", 10) + strings.Repeat("^", 110) + "\n"},
		{"long line of umlauts", strings.Repeat("ü", 200), 120, 122, "    1 | …" + strings.Repeat("ü", 60) + "…\n"},
	}
	for _, c := range cases {
		d := Diagnostic{Severity: Error, Code: "some-code", Summary: "a summary", Detail: "Some\nreason.",
			Subject: Range{Source: NewSource("f", []byte(c.text)), Start: c.start, End: c.end}}
		var b strings.Builder
		if err := Write(&b, List{d}); err != nil {
			t.Fatal(err)
		}
		first := d.String() + "\n"
		if !strings.HasPrefix(b.String(), first+c.want) {
			t.Errorf("%s: Write prints\n%swant\n%s", c.name, b.String(), first+c.want)
		}
		if !strings.HasSuffix(b.String(), "\n  Some\n  reason.\n") {
			t.Errorf("%s: Write leaves out the detail:\n%s", c.name, b.String())
		}
	}
}

// TestWriteEscapes makes sure that no name of an input reaches a terminal as
// it is.
func TestWriteEscapes(t *testing.T) {
	d := Diagnostic{Severity: Warning, Code: "c", Summary: "bad \x1b[2J", Detail: "\a\x9b1m\u202e"}
	var b strings.Builder
	if err := Write(&b, List{d}); err != nil {
		t.Fatal(err)
	}
	want := `warning: bad \x1b[2J [c]` + "\n" + `  \a\x9b1m\u202e` + "\n"
	if b.String() != want {
		t.Errorf("Write prints %q, want %q", b.String(), want)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestWriteFails(t *testing.T) {
	want := errors.New("no space")
	if err := Write(brokenWriter{want}, List{{Severity: Note}}); !errors.Is(err, want) {
		t.Errorf("Write returns %v, want %v", err, want)
	}
}

func TestList(t *testing.T) {
	var l List
	l.Add(Diagnostic{Severity: Warning})
	if l.HasErrors() || l.HasInvalid() {
		t.Error("a warning is not an error")
	}
	l.Add(Diagnostic{Severity: Error, Class: Unsupported})
	if !l.HasErrors() || l.HasInvalid() {
		t.Error("an unsupported input is an error, and not invalid")
	}
	l.Add(Diagnostic{Severity: Error})
	if !l.HasInvalid() {
		t.Error("the list has an invalid input")
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"dport", "sport", "destination-port", "tcp-flags", "", "ACCEPT"}
	for name, want := range map[string]string{
		"dprt": "dport", "dprot": "dport", "xport": "dport", "tcpflags": "tcp-flags", "ACEPT": "ACCEPT",
		"destination-prot": "destination-port", "quota": "", "": "", "d": "", "dport": "dport",
		strings.Repeat("x", 1000): "",
	} {
		if got := Nearest(name, candidates); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
