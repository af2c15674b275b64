package diag

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Severity says how bad a diagnostic is. The zero value is invalid.
type Severity uint8

// The severities.
const (
	Error   Severity = iota + 1 // the input cannot be used as it is
	Warning                     // used, with a declared difference
	Note
)

func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Note:
		return "note"
	}
	return "invalid severity"
}

// A Class says what kind of problem a diagnostic is, and so which exit code it
// leads to.
type Class uint8

// The classes.
const (
	// Invalid is an input that iptables would not accept either.
	Invalid Class = iota
	// Unsupported is valid iptables that nftables, our translator or our
	// model has no counterpart for.
	Unsupported
)

// A Diagnostic is one thing to say about an input.
type Diagnostic struct {
	Severity Severity
	Class    Class
	// Code is a constant in kebab case, documented in docs/diagnostics.md.
	Code string
	// Summary is short and constant for the code, apart from the name it is about.
	Summary string
	// Detail is whole sentences: the reason, and what to do.
	Detail string
	// Subject is the tight range, Context the rule or line around it.
	Subject Range
	Context Range
}

func (d Diagnostic) String() string {
	where := d.Subject.String()
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("%s%s: %s [%s]", where, d.Severity, d.Summary, d.Code)
}

// A List collects diagnostics.
type List []Diagnostic

// Add appends a diagnostic.
func (l *List) Add(d Diagnostic) { *l = append(*l, d) }

// HasErrors reports whether any diagnostic is an error.
func (l List) HasErrors() bool {
	for _, d := range l {
		if d.Severity == Error {
			return true
		}
	}
	return false
}

// HasInvalid reports whether any error is of class Invalid.
func (l List) HasInvalid() bool {
	for _, d := range l {
		if d.Severity == Error && d.Class == Invalid {
			return true
		}
	}
	return false
}

const maxSourceColumns = 120

// Write prints diagnostics for people: place, severity, summary and code, then
// the source line with a caret under the subject, then the detail. Control
// bytes of the source are shown escaped, long lines are cut around the subject.
func Write(w io.Writer, list List) error {
	var b bytes.Buffer
	for _, d := range list {
		b.WriteString(d.String())
		b.WriteByte('\n')
		writeExcerpt(&b, d.Subject)
		if d.Detail != "" {
			for _, line := range strings.Split(d.Detail, "\n") {
				b.WriteString("  " + line + "\n")
			}
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeExcerpt(b *bytes.Buffer, r Range) {
	if r.Source == nil {
		return
	}
	line, column := r.Source.Position(int(r.Start))
	text := r.Source.Line(line)
	start := min(column-1, len(text))
	end := min(start+int(r.End-r.Start), len(text))
	before, after := 0, len(text)
	head, tail := "", ""
	if len(text) > maxSourceColumns {
		before = max(0, start-maxSourceColumns/2)
		after = min(len(text), before+maxSourceColumns)
		end = min(end, after)
		if before > 0 {
			head = "…"
		}
		if after < len(text) {
			tail = "…"
		}
	}
	prefix := fmt.Sprintf("%5d | ", line)
	lead, subject := head+visible(text[before:start]), visible(text[start:end])
	fmt.Fprintf(b, "%s%s%s%s%s\n", prefix, lead, subject, visible(text[end:after]), tail)
	carets := max(1, len([]rune(subject)))
	fmt.Fprintf(b, "%s| %s%s\n", strings.Repeat(" ", len(prefix)-2), strings.Repeat(" ", len([]rune(lead))), strings.Repeat("^", carets))
}

func visible(text []byte) string {
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// Nearest returns the candidate closest to name by edit distance, or "" when
// none is close enough to be a plausible typing error.
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(name, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current := make([]int, len(b)+1)
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
		}
		previous = current
	}
	return previous[len(b)]
}
