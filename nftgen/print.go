package nftgen

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
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
	text, err := Text(rs)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// Text returns what [Print] writes.
func Text(rs *Ruleset) ([]byte, error) {
	tables, err := checkTables(rs)
	if err != nil {
		return nil, fmt.Errorf("print the ruleset: %w", err)
	}
	p := &printer{text: make([]byte, 0, textSize(tables))}
	for _, line := range rs.Head {
		p.comment("", line)
	}
	if len(rs.Head) > 0 {
		p.add("\n")
	}
	variables := len(p.text)
	for _, t := range tables {
		fmt.Fprintf(p, "table %s %s\ndelete table %s %s\n\n", t.Family, t.Name, t.Family, t.Name)
	}
	for i, t := range tables {
		if i > 0 {
			p.add("\n")
		}
		if err := p.table(t); err != nil {
			return nil, err
		}
	}
	return slices.Insert(p.text, variables, p.variables()...), nil
}

// textSize is about how long the text of tables is, so that it is not moved each
// time it grows.
func textSize(tables []*Table) int {
	const rule, statement, element, letters = 64, 24, 4, 3 // letters of each byte of a key
	n := 1024
	for _, t := range tables {
		for _, s := range t.Sets {
			if s.Bulk.Len() > 0 {
				n += element*s.Bulk.Len() + letters*len(s.Bulk.data)
			}
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				n += rule + statement*len(r.Stmts)
			}
		}
	}
	return n + n/8
}

func (p *printer) table(t *Table) error {
	p.family = t.Family
	fmt.Fprintf(p, "table %s %s {", t.Family, t.Name)
	for _, o := range t.Objects {
		p.add("\n")
		p.object(o)
	}
	for _, s := range t.Sets {
		p.add("\n")
		p.set(s)
	}
	if err := p.chains(t.Chains); err != nil {
		return err
	}
	if len(t.Objects)+len(t.Sets)+len(t.Chains) == 0 {
		p.add("\n")
	}
	p.add("}\n")
	return nil
}

// someChains writes chains.
func (p *printer) someChains(list []*Chain) error {
	for _, c := range list {
		p.add("\n")
		if err := p.chain(c); err != nil {
			return fmt.Errorf("print chain %s: %w", c.Name, err)
		}
	}
	return nil
}

// variables returns the lines that define the prefixes of log messages, for the
// head of the text.
func (p *printer) variables() []byte {
	var b []byte
	for i, prefix := range p.prefixes {
		b = fmt.Appendf(b, "define %s = \"%s\"\n", variable(i), prefix)
	}
	if len(b) > 0 {
		b = append(b, '\n')
	}
	return b
}

// A printer writes one ruleset.
type printer struct {
	text     []byte
	family   Family
	prefixes []string // prefixes of log messages that are variables

	compiler compiler // of the rule at hand
	stmts    []Stmt   // its statements
	rules    []byte   // texts of the rules of a chain
	ends     []int    // where each of them ends
	source   *diag.Source
	name     string // of source, as origins have it
}

// Write makes the printer an [io.Writer]; there is no error.
func (p *printer) Write(b []byte) (int, error) {
	p.text = append(p.text, b...)
	return len(b), nil
}

func (p *printer) add(words ...string) {
	for _, w := range words {
		p.text = append(p.text, w...)
	}
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
		p.add(strings.TrimRight(indent+"# "+printable(line), " ") + "\n")
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
	word, data := "set", ""
	if s.Verdicts {
		word, data = "map", " : verdict"
	}
	if s.Data != nil {
		word, data = "map", " : "+s.Data.Name
	}
	fmt.Fprintf(p, "\t%s %s {\n", word, s.Name)
	if s.Note != "" {
		p.comment("\t\t", s.Note)
	}
	names := make([]string, len(s.Key))
	for i, t := range s.Key {
		names[i] = t.Name
	}
	fmt.Fprintf(p, "\t\ttype %s%s\n", strings.Join(names, " . "), data)
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
		p.add("\t\tcounter\n")
	}
	if len(s.Elements) > 0 {
		p.elements(s)
	}
	if s.Bulk.Len() > 0 {
		p.bulk(s)
	}
	p.add("\t}\n")
}

// elements writes the elements of a set, wrapped.
func (p *printer) elements(s *Set) {
	const head, tab = "\t\telements = { ", 8
	column := 2*tab + len(head) - 2
	p.add(head)
	var word []byte
	for i, e := range s.Elements {
		word = appendTuple(word[:0], s.Key, e)
		if i > 0 {
			p.add(",")
			column++
			if column+1+len(word) > maxLine {
				p.add("\n\t\t\t     ")
				column = 3*tab + 5
			} else {
				p.add(" ")
				column++
			}
		}
		p.text = append(p.text, word...)
		column += len(word)
	}
	p.add(" }\n")
}

// xtMarker begins the comment in place of a rule that only a batch can hold.
const xtMarker = "migrate apply only: "

func (p *printer) chain(c *Chain) error {
	p.add("\tchain ", c.Name, " {")
	if !c.Origin.IsZero() {
		p.add(" # ")
		p.text = p.origin(p.text, c.Origin)
	}
	p.add("\n")
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
			p.add("\n")
		}
	}
	width, err := p.prepare(c.Rules)
	if err != nil {
		return err
	}
	start := 0
	for i, r := range c.Rules {
		text := p.rules[start:p.ends[i]]
		start = p.ends[i]
		if r.Note != "" {
			p.comment("\t\t", r.Note)
		}
		if r.HasXt() {
			// A comment, because nft could not read the rule.
			line := append([]byte(xtMarker), text...)
			if !r.Origin.IsZero() || !r.Also.IsZero() {
				line = p.places(append(line, "  # "...), r.Origin, r.Also)
			}
			p.comment("\t\t", string(line))
			continue
		}
		p.add("\t\t")
		p.text = append(p.text, text...)
		if !r.Origin.IsZero() || !r.Also.IsZero() {
			for range max(0, width-len(text)) + nearAlign {
				p.text = append(p.text, ' ')
			}
			p.add("# ")
			p.text = p.places(p.text, r.Origin, r.Also)
		}
		p.add("\n")
	}
	p.add("\t}\n")
	return nil
}

// prepareSome is prepare by one processor.
func (p *printer) prepareSome(rules []*Rule) (width int, err error) {
	p.rules, p.ends = p.rules[:0], p.ends[:0]
	for i, r := range rules {
		start := len(p.rules)
		if err := p.rule(r); err != nil {
			return 0, fmt.Errorf("rule %d: %w", i+1, err)
		}
		p.ends = append(p.ends, len(p.rules))
		if n := len(p.rules) - start; n <= maxAlign && n > width && !r.HasXt() {
			width = n
		}
	}
	return width, nil
}

// rule appends a rule as nft reads it to p.rules.
func (p *printer) rule(r *Rule) error {
	c := &p.compiler
	*c = compiler{table: p.family, dry: true, steps: c.steps[:0]}
	c.begin()
	var err error
	if p.stmts, err = r.compile(c, p.stmts[:0]); err != nil {
		return err
	}
	text := p.rules
	for i, s := range p.stmts {
		if i > 0 {
			text = append(text, ' ')
		}
		switch s := s.(type) {
		case Reject:
			text = append(text, s.text(c.l3)...)
		case Log:
			text = append(text, s.text(p.logPrefix(s.Prefix))...)
		case LogGroup:
			text = append(text, s.text(p.logPrefix(s.Prefix))...)
		default:
			text = appendText(text, s, p.family)
		}
	}
	if r.Comment != "" {
		if len(p.stmts) > 0 {
			text = append(text, ' ')
		}
		text = append(append(append(text, `comment "`...), r.Comment...), '"')
	}
	p.rules = text
	return nil
}

// places appends the lines that a rule came from: one, or one of each family.
func (p *printer) places(text []byte, first, second diag.Range) []byte {
	start := len(text)
	text = p.origin(text, first)
	middle := len(text)
	text = p.origin(text, second)
	switch {
	case bytes.Equal(text[start:middle], text[middle:]):
		return text[:middle]
	case start == middle || middle == len(text):
		return text
	}
	return slices.Insert(text, middle, []byte(", ")...)
}

// origin appends the line that something came from.
func (p *printer) origin(text []byte, r diag.Range) []byte {
	if r.IsZero() {
		return text
	}
	if p.source != r.Source {
		p.source, p.name = r.Source, printable(filepath.Base(r.Source.Name))
	}
	return strconv.AppendInt(append(append(text, p.name...), ':'), int64(r.Line()), 10)
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
