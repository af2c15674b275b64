package iptables

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"nftmigrate/diag"
)

const (
	// reportMax is how many errors, and how many other diagnostics, are
	// reported one by one.
	reportMax = 200
	// expandMax is how many rules a text may get from lists of addresses, of
	// which each line makes the product.
	expandMax = 200_000
	// searchMax is how many rules and chains are looked at to carry out -D, -E,
	// -F and -X.
	searchMax = 5_000_000
)

// Parse reads the text of iptables-save or ip6tables-save, and whatever else
// iptables-restore takes. With family 0 it tells the family by the
// content, and where that does not show it, by the name of the source.
// Errors never stop it: the list holds what is wrong in the whole text, in the
// order of the text, and the ruleset is complete only when that holds no error.
//
// What is read follows iptables-restore 1.8.9 without --noflush, with these
// extensions: line ends may be CR LF, the last line end may be missing, lines
// of blanks and indented comments are skipped, blanks may stand around table
// lines and COMMIT, and an exclamation mark may stand behind an option as well
// as before it, as old versions printed it.
func Parse(src *diag.Source, f Family, reg Registry) (*Ruleset, diag.List) {
	p := &parser{src: src, family: f, reg: reg, ruleset: &Ruleset{Family: f, Source: src}}
	if int64(len(src.Text)) > math.MaxInt32 {
		p.report(finding{Code: "input-too-large", Summary: "the input is too large",
			Detail: "A text may have up to 2 GiB. Split it into one text per table."})
		return p.ruleset, p.finish()
	}
	p.text = src.Contents()
	if p.family == 0 {
		p.family = detectFamily(src.Name, p.text)
		p.ruleset.Family = p.family
	}
	p.readText()
	return p.ruleset, p.finish()
}

// A parser reads one text.
type parser struct {
	src     *diag.Source
	text    string
	family  Family
	reg     Registry
	ruleset *Ruleset

	diags  diag.List
	counts map[diag.Severity]int
	hidden map[diag.Severity]int // found beyond reportMax
	// hiddenInvalid: an error beyond reportMax is of class Invalid.
	hiddenInvalid bool

	line     diag.Range        // the line that is being read
	table    *Table            // nil between COMMIT and the next table
	lost     bool              // in a table that does not exist
	ghosts   map[string]*Chain // chains that are used, and reported as undefined
	tokens   []token
	rule     lineReader
	owners   map[string]string // of options, by name; made when first needed
	expanded int               // rules made of lists of addresses
	searched int               // rules compared for -D
	// front has the rules that -I put before the first of a chain, the last
	// one first.
	front map[*Chain][]*Rule
	// session: commands are carried out, as a person types them.
	session bool
	muted   bool // nothing is reported
	noflush bool // tables keep what they have

	part     *part // nil but in a reader of a part
	tried    int   // up to here it was tried to read in parts
	moulds   map[mouldKey]*mould
	filled   []*mould // by the line that is being read
	names    map[string]Interface
	rules    []Rule
	uses     []MatchUse
	counters []Counters
	args     [1]string
}

// A finding is a diagnostic about the line that is being read.
type finding = diag.Diagnostic

// report adds a diagnostic. Without a severity it is an error; its context is
// the current line.
func (p *parser) report(d finding) {
	if p.part != nil {
		p.part.failed = true
	}
	if p.muted {
		return
	}
	if d.Severity == 0 {
		d.Severity = diag.Error
	}
	if p.counts == nil {
		p.counts, p.hidden = make(map[diag.Severity]int), make(map[diag.Severity]int)
	}
	if p.counts[d.Severity] >= reportMax {
		p.hidden[d.Severity]++
		p.hiddenInvalid = p.hiddenInvalid || d.Severity == diag.Error && d.Class == diag.Invalid
		return
	}
	p.counts[d.Severity]++
	if d.Context.IsZero() {
		d.Context = p.line
	}
	p.diags.Add(d)
}

// terse reports whether further errors are only counted, so that it is not
// worth while to find out more about them.
func (p *parser) terse() bool { return p.counts[diag.Error] >= reportMax }

// finish sorts the diagnostics by place and says how many there were beyond
// those.
func (p *parser) finish() diag.List {
	sort.SliceStable(p.diags, func(i, j int) bool { return p.diags[i].Subject.Start < p.diags[j].Subject.Start })
	for _, s := range []diag.Severity{diag.Error, diag.Warning, diag.Note} {
		n := p.hidden[s]
		if n == 0 {
			continue
		}
		d := finding{Severity: s, Code: "too-many-diagnostics", Summary: "there is more to report than is listed",
			Detail: fmt.Sprintf("%d more of severity %s are not listed. Correct these first.", n, s)}
		if !p.hiddenInvalid {
			d.Class = diag.Unsupported
		}
		p.diags.Add(d)
	}
	return p.diags
}

func (p *parser) at(start, end int32) diag.Range {
	return diag.Range{Source: p.src, Start: start, End: end}
}

func (p *parser) of(t token) diag.Range { return p.at(t.start, t.end) }

func (p *parser) readText() {
	rest, base := p.text, 0
	for rest != "" {
		if n := p.readParts(rest, base); n > 0 {
			rest, base = rest[n:], base+n
			continue
		}
		line := rest
		next := len(rest)
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			line, next = rest[:i], i+1
		}
		p.readLine(strings.TrimSuffix(line, "\r"), base)
		rest = rest[next:]
		base += next
	}
	p.endText()
}

// endText reports a table that has no end.
func (p *parser) endText() {
	if p.table != nil || p.lost {
		p.report(finding{Code: "missing-commit", Summary: "the table has no COMMIT",
			Detail:  "iptables-restore takes over the rules of a table when it reads the line COMMIT, and the text ends without it. Add it.",
			Subject: p.line})
		p.closeTable()
	}
}

// readLine reads one line without its end, which starts at base.
func (p *parser) readLine(line string, base int) {
	p.line = p.at(int32(base), int32(base+len(line)))
	lead := len(line) - len(strings.TrimLeft(line, " \t"))
	content := strings.TrimRight(line[lead:], " \t")
	base += lead
	switch {
	case content == "" || content[0] == '#':
	case p.part != nil && (content[0] == '*' || content[0] == ':' || content == "COMMIT"):
		p.part.failed = true
	case len(line) > lineMax:
		p.report(finding{Code: "line-too-long", Summary: "the line is too long",
			Detail:  fmt.Sprintf("It has %d bytes; iptables-restore takes what stands behind byte %d as another line. Split it.", len(line), lineMax),
			Subject: p.line})
	case strings.IndexByte(content, 0) >= 0:
		at := int32(base + strings.IndexByte(content, 0))
		p.report(finding{Code: "nul-byte", Summary: "the line holds a zero byte",
			Detail:  "iptables-restore would not see what stands behind it. Remove it, and see whether this is a text of iptables-save at all.",
			Subject: p.at(at, at+1)})
	case content[0] == '*':
		p.openTable(fields(content[1:], base+1))
	case content == "COMMIT" && (p.table != nil || p.lost):
		p.closeTable()
	case p.lost:
	case p.table == nil:
		p.outside(content, base)
	case content[0] == ':':
		p.declare(fields(content[1:], base+1))
	default:
		p.rule.read(p, content, base)
	}
}

// fields splits at blanks; there is no quoting in table and chain lines.
func fields(s string, base int) []token {
	var list []token
	for i := 0; i < len(s); {
		if isBlank(s[i]) {
			i++
			continue
		}
		end := i
		for end < len(s) && !isBlank(s[end]) {
			end++
		}
		list = append(list, token{text: s[i:end], start: int32(base + i), end: int32(base + end)})
		i = end
	}
	return list
}

// outside reports a line that stands in no table.
func (p *parser) outside(content string, base int) {
	words := fields(content, base)
	if p.shellCommand(words) {
		return
	}
	detail := "Rules, chains and COMMIT stand behind a line \"*filter\" (or another table) and up to its COMMIT. "
	if content == "COMMIT" {
		detail += "There is no table open here; remove the line."
	} else {
		detail += "Move the line there, or write # before it if it is a comment."
	}
	p.report(finding{Code: "outside-table", Summary: "the line stands in no table", Detail: detail,
		Subject: p.at(int32(base), int32(base+len(content)))})
}

// shellCommand reports a line that is a command for a shell, and tells whether
// it is one.
func (p *parser) shellCommand(words []token) bool {
	i := 0
	if len(words) > 1 && words[0].text == "sudo" {
		i = 1
	}
	name := words[i].text[strings.LastIndexByte(words[i].text, '/')+1:]
	if name != "iptables" && name != "ip6tables" {
		return false
	}
	p.report(finding{Code: "shell-command", Summary: "this is a command for a shell",
		Detail: "The text is one of iptables-save: the line stands behind \"*filter\" (or the table named by -t) and before COMMIT, and starts with -A. " +
			"Leave out \"" + name + "\" and \"-t TABLE\", or run the script on a test host and take what iptables-save prints there.",
		Subject: p.at(words[0].start, words[i].end)})
	return true
}

func (p *parser) openTable(words []token) {
	if p.table != nil || p.lost {
		p.report(finding{Code: "missing-commit", Summary: "the table before has no COMMIT",
			Detail: "iptables-restore takes over the rules of a table when it reads the line COMMIT. Add it before this line.", Subject: p.line})
		p.closeTable()
	}
	if len(words) == 0 {
		p.report(finding{Code: "unknown-table", Summary: "the table has no name",
			Detail: "Write the name behind the asterisk: " + strings.Join(tableNames, ", ") + ".", Subject: p.line})
		p.lost = true
		return
	}
	name := words[0]
	if BuiltinChains(name.text) == nil {
		p.report(finding{Code: "unknown-table", Summary: fmt.Sprintf("there is no table %q", name.text),
			Detail:  "The tables are " + strings.Join(tableNames, ", ") + "." + didYouMean(name.text, tableNames) + " What stands in this table is not read.",
			Subject: p.of(name)})
		p.lost = true
		return
	}
	t := p.ruleset.Table(name.text)
	if t != nil && p.noflush {
		p.table, p.ghosts = t, nil
		return
	}
	if t == nil {
		t = &Table{Name: strings.Clone(name.text), Range: p.line}
		p.ruleset.Tables = append(p.ruleset.Tables, t)
	}
	p.reset(t)
	p.table = t
}

// reset empties a table as iptables-restore does when it comes to the table:
// rules and user-defined chains go, policies stay.
func (p *parser) reset(t *Table) {
	policies := make(map[string]string)
	for _, c := range t.Chains {
		policies[c.Name] = c.Policy
	}
	t.Chains, t.byName = nil, nil
	for _, name := range BuiltinChains(t.Name) {
		c := t.AddChain(name)
		if policy, ok := policies[name]; ok {
			c.Policy = policy
		}
	}
	p.ghosts = nil
}

// declare reads a line ":CHAIN POLICY [packets:bytes]".
func (p *parser) declare(words []token) {
	if len(words) < 2 {
		p.report(finding{Code: "invalid-chain-line", Summary: "the chain has no policy",
			Detail: "Write \":NAME ACCEPT [0:0]\" or DROP for a built-in chain, \":NAME - [0:0]\" for another.", Subject: p.line})
		return
	}
	name, policy := words[0], words[1]
	c := p.table.Chain(name.text)
	switch {
	case c != nil && !c.Builtin && p.noflush:
		c.Rules = nil
		delete(p.front, c)
	case c != nil && !c.Builtin:
		p.report(finding{Code: "duplicate-chain", Summary: fmt.Sprintf("chain %q exists already", name.text),
			Detail:  fmt.Sprintf("It was made in line %d. Remove one of the two lines.", c.Range.Line()),
			Subject: p.of(name)})
		return
	case c == nil:
		if !p.validChainName(name) {
			p.ghost(name.text)
			return
		}
		if policy.text != "-" {
			p.report(finding{Code: "invalid-policy", Summary: fmt.Sprintf("chain %q cannot have a policy", name.text),
				Detail:  fmt.Sprintf("Only the built-in chains of table %s have one: %s.%s Write - as policy of others.", p.table.Name, strings.Join(BuiltinChains(p.table.Name), ", "), didYouMean(name.text, BuiltinChains(p.table.Name))),
				Subject: p.of(policy)})
		}
		c = p.table.AddChain(strings.Clone(name.text))
	default:
		p.setPolicy(c, policy)
	}
	c.Range = p.line
	if len(words) > 2 && c.Builtin && policy.text != "-" {
		if counters, ok := parseCounters(words[2].text); ok {
			c.Counters = counters
		} else {
			p.report(finding{Severity: diag.Warning, Code: "invalid-counters", Summary: "the counters cannot be read",
				Detail: "Expected is [packets:bytes]. The counters are taken as zero, as iptables-restore does without -c.", Subject: p.of(words[2])})
		}
	}
}

// setPolicy sets the policy of a built-in chain; "-" leaves it as it is.
func (p *parser) setPolicy(c *Chain, policy token) {
	switch policy.text {
	case "ACCEPT", "DROP":
		c.Policy, c.Counters = strings.Clone(policy.text), Counters{}
	case "-":
	default:
		p.report(finding{Code: "invalid-policy", Summary: fmt.Sprintf("%q is not a policy", policy.text),
			Detail: "A built-in chain has ACCEPT or DROP." + didYouMean(policy.text, []string{"ACCEPT", "DROP"}), Subject: p.of(policy)})
	}
}

// parseCounters reads "[packets:bytes]"; the bracket at the end may be missing.
func parseCounters(s string) (c Counters, ok bool) {
	s, ok = strings.CutPrefix(s, "[")
	if !ok {
		return c, false
	}
	packets, bytes, ok := strings.Cut(strings.TrimSuffix(s, "]"), ":")
	if !ok {
		return c, false
	}
	c.Packets, ok = decimal(packets)
	if ok {
		c.Bytes, ok = decimal(bytes)
	}
	return c, ok
}

// decimal reads a counter; one that does not fit is the largest.
func decimal(s string) (n uint64, ok bool) {
	s = strings.TrimSpace(s)
	if !allDigits(s) {
		return 0, false
	}
	for i := range len(s) {
		d := uint64(digit(s[i]))
		if n > (math.MaxUint64-d)/10 {
			return math.MaxUint64, true
		}
		n = n*10 + d
	}
	return n, true
}
