package report

import (
	"strings"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// Diff returns the line-by-line difference of two texts: lines of a only with
// "-", lines of b only with "+", and up to three common lines around them with
// a space. Equal texts give "".
func Diff(a, b string) string {
	d := diffmatchpatch.New()
	d.DiffTimeout = 0 // the same result on any machine
	x, y, lines := d.DiffLinesToRunes(a, b)
	diffs := d.DiffCharsToLines(d.DiffMainRunes(x, y, false), lines)
	const around = 3
	var out strings.Builder
	changed := false
	for i, part := range diffs {
		text := strings.SplitAfter(strings.TrimSuffix(part.Text, "\n"), "\n")
		switch part.Type {
		case diffmatchpatch.DiffDelete:
			prefix(&out, "-", text)
			changed = true
		case diffmatchpatch.DiffInsert:
			prefix(&out, "+", text)
			changed = true
		case diffmatchpatch.DiffEqual:
			head, tail := 0, len(text)
			if i > 0 {
				head = min(around, len(text))
			}
			if i < len(diffs)-1 {
				tail = max(head, len(text)-around)
			}
			prefix(&out, " ", text[:head])
			if tail > head {
				out.WriteString("…\n")
			}
			prefix(&out, " ", text[tail:])
		}
	}
	if !changed {
		return ""
	}
	return out.String()
}

func prefix(b *strings.Builder, mark string, lines []string) {
	for _, l := range lines {
		b.WriteString(mark + " " + strings.TrimSuffix(l, "\n") + "\n")
	}
}
