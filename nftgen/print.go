package nftgen

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"nftmigrate/diag"
)

// Widths of the text, in columns.
const (
	maxLine   = 100 // where lists of elements are wrapped
	maxAlign  = 96  // rules longer than this do not move the origins of others
	nearAlign = 2   // columns between the longest rule and its origin
)

// Print writes the ruleset as text for nft -f. Loading it replaces our table
// and no other; loading it twice is the same as once. An error names what the
// language of nft 1.0.6 cannot express; then nothing is written.
func Print(w io.Writer, rs *Ruleset) error {
	tables, err := checkTables(rs)
	if err != nil {
		return fmt.Errorf("print the ruleset: %w", err)
	}
	p := &printer{}
	for i, t := range tables {
		if i > 0 {
			p.WriteByte('\n')
		}
		if err := p.table(t); err != nil {
			return err
		}
	}
	body := p.Bytes()
	p.Buffer = bytes.Buffer{}
	p.head(rs)
	_, err = w.Write(append(p.Bytes(), body...))
	return err
}

func (p *printer) table(t *Table) error {
	p.family = t.Family
	fmt.Fprintf(p, "table %s %s {", t.Family, t.Name)
	for _, o := range t.Objects {
		p.WriteByte('\n')
		p.object(o)
	}
	for _, s := range t.Sets {
		p.WriteByte('\n')
		p.set(s)
	}
	for _, c := range t.Chains {
		p.WriteByte('\n')
		if err := p.chain(c); err != nil {
			return fmt.Errorf("print chain %s: %w", c.Name, err)
		}
	}
	if len(t.Objects)+len(t.Sets)+len(t.Chains) == 0 {
		p.WriteByte('\n')
	}
	p.WriteString("}\n")
	return nil
}

// head writes what stands before the table.
func (p *printer) head(rs *Ruleset) {
	for _, line := range rs.Head {
		p.comment("", line)
	}
	if len(rs.Head) > 0 {
		p.WriteByte('\n')
	}
	for i, prefix := range p.prefixes {
		fmt.Fprintf(p, "define %s = \"%s\"\n", variable(i), prefix)
	}
	if len(p.prefixes) > 0 {
		p.WriteByte('\n')
	}
	for _, t := range rs.Tables() {
		fmt.Fprintf(p, "table %s %s\ndelete table %s %s\n\n", t.Family, t.Name, t.Family, t.Name)
	}
}

type printer struct {
	bytes.Buffer
	family   Family
	prefixes []string // prefixes of log messages that are variables
}

// logPrefix returns a prefix as the text of a log statement has it. There nft
// reads a dollar sign as the start of a variable's name, but not in the value
// of a variable.
func (p *printer) logPrefix(s string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	i := slices.Index(p.prefixes, s)
	if i < 0 {
		i = len(p.prefixes)
		p.prefixes = append(p.prefixes, s)
	}
	return "$" + variable(i)
}

func variable(i int) string { return fmt.Sprintf("log_prefix_%d", i+1) }

// comment writes text as comment lines.
func (p *printer) comment(indent, text string) {
	for _, line := range strings.Split(text, "\n") {
		p.WriteString(strings.TrimRight(indent+"# "+printable(line), " ") + "\n")
	}
}

// printable replaces control bytes, which would end a comment or confuse a
// terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func (p *printer) set(s *Set) {
	fmt.Fprintf(p, "\tset %s {\n", s.Name)
	if s.Note != "" {
		p.comment("\t\t", s.Note)
	}
	names := make([]string, len(s.Key))
	for i, t := range s.Key {
		names[i] = t.Name
	}
	fmt.Fprintf(p, "\t\ttype %s\n", strings.Join(names, " . "))
	if s.Size != 0 {
		fmt.Fprintf(p, "\t\tsize %d\n", s.Size)
	}
	var flags []string
	for _, f := range []struct {
		on   bool
		word string
	}{{s.Dynamic, "dynamic"}, {s.Interval, "interval"}, {s.expires(), "timeout"}} {
		if f.on {
			flags = append(flags, f.word)
		}
	}
	if len(flags) > 0 {
		fmt.Fprintf(p, "\t\tflags %s\n", strings.Join(flags, ","))
	}
	if s.Timeout != 0 {
		fmt.Fprintf(p, "\t\ttimeout %s\n", durationText(s.Timeout))
	}
	if s.Counter {
		p.WriteString("\t\tcounter\n")
	}
	if len(s.Elements) > 0 {
		p.elements(s)
	}
	if s.Bulk.Len() > 0 {
		p.bulk(s)
	}
	p.WriteString("\t}\n")
}

// elements writes the elements of a set, wrapped.
func (p *printer) elements(s *Set) {
	const head, tab = "\t\telements = { ", 8
	column := 2*tab + len(head) - 2
	p.WriteString(head)
	for i, e := range s.Elements {
		word := tupleText(s.Key, e)
		if i > 0 {
			p.WriteByte(',')
			column++
			if column+1+len(word) > maxLine {
				p.WriteString("\n\t\t\t     ")
				column = 3*tab + 5
			} else {
				p.WriteByte(' ')
				column++
			}
		}
		p.WriteString(word)
		column += len(word)
	}
	p.WriteString(" }\n")
}

// xtMarker begins the comment in place of a rule that only a batch can hold.
const xtMarker = "migrate apply only: "

// A line is a rule with the place it came from.
type line struct{ note, text, origin string }

func (p *printer) chain(c *Chain) error {
	fmt.Fprintf(p, "\tchain %s {", c.Name)
	if name := originText(c.Origin); name != "" {
		p.WriteString(" # " + name)
	}
	p.WriteByte('\n')
	if c.Note != "" {
		p.comment("\t\t", c.Note)
	}
	if b := c.Base; b != nil {
		policy := "accept"
		if b.Drop {
			policy = "drop"
		}
		fmt.Fprintf(p, "\t\ttype %s hook %s priority %s; policy %s;\n", b.Type, hookNames[b.Hook], priorityText(b), policy)
		if len(c.Rules) > 0 {
			p.WriteByte('\n')
		}
	}
	lines, width := make([]line, len(c.Rules)), 0
	for i, r := range c.Rules {
		text, err := p.rule(r)
		if err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		lines[i] = line{r.Note, text, places(r.Origin, r.Also)}
		if len(text) <= maxAlign && !r.HasXt() {
			width = max(width, len(text))
		}
	}
	for i, l := range lines {
		if l.note != "" {
			p.comment("\t\t", l.note)
		}
		if c.Rules[i].HasXt() {
			// A comment, because nft could not read the rule.
			p.comment("\t\t", strings.TrimSuffix(xtMarker+l.text+"  # "+l.origin, "  # "))
			continue
		}
		p.WriteString("\t\t" + l.text)
		if l.origin != "" {
			p.WriteString(strings.Repeat(" ", max(0, width-len(l.text))+nearAlign) + "# " + l.origin)
		}
		p.WriteByte('\n')
	}
	p.WriteString("\t}\n")
	return nil
}

// rule returns a rule as nft reads it.
func (p *printer) rule(r *Rule) (string, error) {
	c := newCompiler(p.family)
	stmts, err := r.compile(c)
	if err != nil {
		return "", err
	}
	words := make([]string, 0, len(stmts)+1)
	for _, s := range stmts {
		switch s := s.(type) {
		case Reject:
			words = append(words, s.text(c.l3))
		case Log:
			words = append(words, s.text(p.logPrefix(s.Prefix)))
		case LogGroup:
			words = append(words, s.text(p.logPrefix(s.Prefix)))
		default:
			words = append(words, text(s, p.family))
		}
	}
	if r.Comment != "" {
		words = append(words, `comment "`+r.Comment+`"`)
	}
	return strings.Join(words, " "), nil
}

// places names the lines that a rule came from: one, or one of each family.
func places(first, second diag.Range) string {
	a, b := originText(first), originText(second)
	switch {
	case b == "", a == b:
		return a
	case a == "":
		return b
	}
	return a + ", " + b
}

// originText names the line that something came from.
func originText(r diag.Range) string {
	if r.IsZero() {
		return ""
	}
	return printable(fmt.Sprintf("%s:%d", filepath.Base(r.Source.Name), r.Line()))
}

// priorities are the words for priorities, with the hooks where nft takes
// them; nil is all.
//
// Source: nftables src/rule.c, the table of standard priorities.
var priorities = []struct {
	word  string
	value int32
	hooks []string
}{
	{"raw", -300, nil},
	{"mangle", -150, nil},
	{"dstnat", -100, []string{"prerouting"}},
	{"filter", 0, nil},
	{"security", 50, nil},
	{"srcnat", 100, []string{"postrouting"}},
}

func priorityText(b *Base) string {
	for _, p := range priorities {
		if !b.Numeric && p.value == b.Priority && (p.hooks == nil || strings.Join(p.hooks, " ") == hookNames[b.Hook]) {
			return p.word
		}
	}
	return fmt.Sprint(b.Priority)
}
