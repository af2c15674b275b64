package diag

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// excerptWidth is how many bytes of a source line Write shows.
const excerptWidth = 120

// Write prints diagnostics for people: place, severity, summary and code, then
// the source line with carets under the subject, then the detail. A subject of
// several lines is shown by its first. Control bytes, also those in names, are
// shown escaped; long lines are cut around the subject.
func Write(w io.Writer, list List) error {
	var b bytes.Buffer
	for _, d := range list {
		b.WriteString(visible([]byte(d.String())))
		b.WriteByte('\n')
		writeExcerpt(&b, d.Subject)
		if d.Detail == "" {
			continue
		}
		for line := range strings.SplitSeq(d.Detail, "\n") {
			b.WriteString("  " + visible([]byte(line)) + "\n")
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write diagnostics: %w", err)
	}
	return nil
}

func writeExcerpt(b *bytes.Buffer, r Range) {
	if r.Source == nil {
		return
	}
	line, column := r.Source.Position(int(r.Start))
	text := r.Source.Line(line)
	start := min(column-1, len(text))
	end := min(start+int(r.End-r.Start), len(text))
	first, last := 0, len(text)
	head, tail := "", ""
	if len(text) > excerptWidth {
		first = runeStart(text, max(0, start-excerptWidth/2))
		last = runeStart(text, min(len(text), first+excerptWidth))
		end = min(end, last)
		if first > 0 {
			head = "…"
		}
		if last < len(text) {
			tail = "…"
		}
	}
	lead, subject := head+visible(text[first:start]), visible(text[start:end])
	number := fmt.Sprintf("%5d", line)
	fmt.Fprintf(b, "%s | %s%s%s%s\n", number, lead, subject, visible(text[end:last]), tail)
	fmt.Fprintf(b, "%s | %s%s\n", strings.Repeat(" ", len(number)),
		strings.Repeat(" ", utf8.RuneCountInString(lead)), strings.Repeat("^", max(1, utf8.RuneCountInString(subject))))
}

// runeStart moves an index back to where a character starts.
func runeStart(text []byte, i int) int {
	for n := 0; n < utf8.UTFMax && i > 0 && i < len(text) && !utf8.RuneStart(text[i]); n++ {
		i--
	}
	return i
}

// visible returns text without anything that a terminal acts upon: a tab is a
// blank, and bytes that are no printable character are escaped.
func visible(text []byte) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		text = text[size:]
	}
	return b.String()
}
