package growth

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Table writes series as a table of Markdown. Behind time and memory stands the
// power of the number of rules by which they have grown since the row before: 1
// where twice the rules take twice as much.
func Table(w io.Writer, series []Series) error {
	if err := check(series); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString("| shape | rules | time | per rule | growth | memory | per rule | growth |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	escape := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, s := range series {
		points := s.sorted()
		for i, p := range points {
			fmt.Fprintf(&b, "| %s | %s", escape.Replace(s.Shape), formatCount(p.Rules))
			for _, q := range []Quantity{Time, Memory} {
				d := quantities[q]
				growth := ""
				if i > 0 && points[i-1].Rules != p.Rules {
					growth = fmt.Sprintf("%.2f", exponent(points[i-1], p, d.value))
				}
				fmt.Fprintf(&b, " | %s | %s | %s", d.format(d.value(p)), d.format(d.value(p)/float64(p.Rules)), growth)
			}
			b.WriteString(" |\n")
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
