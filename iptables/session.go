package iptables

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/diag"
)

// A Session carries out commands of iptables or ip6tables one after the other,
// each as the kernel does: whole, or not at all. It starts with a host that has
// no rules.
type Session struct {
	p      *parser
	routes map[*Table]*routes
}

// An Argument is one argument of a command, without quotes and variables, and the
// place from which it comes.
type Argument struct {
	Text  string
	Range diag.Range
}

// An Outcome is what became of a command.
type Outcome struct {
	// Failed: iptables exits with an error, and nothing has changed.
	Failed bool
	// Diags says why, and what else there is to say about the command.
	Diags diag.List
	// ByState: it failed because of what earlier commands have made or not
	// made, and not because of its words.
	ByState bool
	// Removal: it failed by state, and would have added nothing.
	Removal bool
}

// NewSession returns a session of a family for commands that stand in src.
func NewSession(src *diag.Source, f Family, reg Registry) *Session {
	return &Session{
		p: &parser{src: src, text: string(src.Text), family: f, reg: reg, session: true,
			ruleset: &Ruleset{Family: f, Source: src}},
		routes: make(map[*Table]*routes),
	}
}

// Run carries out a command. words are its arguments without the name of the
// program, line is the place of the whole command.
func (s *Session) Run(line diag.Range, words []Argument) Outcome {
	p := s.p
	p.line, p.diags, p.ghosts, p.counts, p.hidden = line, nil, nil, nil, nil
	p.tokens = p.tokens[:0]
	for _, w := range words {
		t := token{text: w.Text, start: w.Range.Start, end: w.Range.End}
		t.quoted = int(t.end-t.start) != len(t.text) || p.text[t.start:t.end] != t.text
		p.tokens = append(p.tokens, t)
	}
	r := &p.rule
	if s.open(s.tableName()) {
		r.start(p)
		r.readOptions()
		r.checkCommand()
		if !p.diags.HasErrors() {
			return s.carryOut(r)
		}
	}
	return s.failed(r)
}

// start begins a line whose arguments are known.
func (r *lineReader) start(p *parser) {
	*r = lineReader{p: p, tokens: p.tokens, sources: r.sources[:0], destinations: r.destinations[:0],
		given: r.given[:0], providers: r.providers[:0], uses: r.uses[:0]}
}

// tableName returns the table that the command names by -t, which may stand
// behind what depends on it.
func (s *Session) tableName() token {
	p := s.p
	for _, t := range p.tokens {
		if !strings.HasPrefix(t.text, "-") || !strings.Contains(t.text, "t") {
			continue
		}
		s.open(token{text: "filter"})
		p.muted = true
		p.rule.start(p)
		p.rule.readOptions()
		p.muted, p.ghosts = false, nil
		if p.rule.table.text != "" {
			return p.rule.table
		}
		break
	}
	return token{text: "filter"}
}

// open makes a table the current one. One that no command changes is not part of
// the result.
func (s *Session) open(name token) bool {
	p := s.p
	if BuiltinChains(name.text) == nil {
		p.report(finding{Code: "unknown-table", Summary: fmt.Sprintf("there is no table %q", clip(name.text)),
			Detail:  "The tables are " + strings.Join(tableNames, ", ") + "." + didYouMean(name.text, tableNames),
			Subject: p.of(name)})
		return false
	}
	if p.table = p.ruleset.Table(name.text); p.table != nil {
		return true
	}
	p.table = &Table{Name: strings.Clone(name.text), Range: p.line}
	for _, chain := range BuiltinChains(name.text) {
		p.table.AddChain(chain)
	}
	return true
}

// Ruleset returns what the commands have made. The session ends with it.
func (s *Session) Ruleset() *Ruleset {
	p := s.p
	for _, t := range p.ruleset.Tables {
		for _, c := range t.Chains {
			p.settle(c)
		}
		t.sortChains()
	}
	p.table, p.front = nil, nil
	return p.ruleset
}

// Rules returns how many rules there are.
func (s *Session) Rules() int {
	n := 0
	for _, t := range s.p.ruleset.Tables {
		for _, c := range t.Chains {
			n += len(c.Rules) + len(s.p.front[c])
		}
	}
	return n
}

// sessionOption reads an option that commands have and lines of a table have
// not.
func (r *lineReader) sessionOption(o *baseOption, t, argument token) {
	switch o.letter {
	case 't':
		r.table = argument
	case 'n', 'x', '0':
		r.listing = t
	case 'w', 'W':
		if argument.text != "" && !allDigits(argument.text) {
			r.p.report(finding{Code: "invalid-argument", Summary: fmt.Sprintf("%q is no number of seconds", clip(argument.text)),
				Detail: fmt.Sprintf("-%c takes a number, or nothing. Correct it.", o.letter), Subject: r.p.of(argument)})
		}
	default:
		r.readCommand(o, t, argument)
	}
}

// listAndZero reports whether two commands may stand together: a list may set
// the counters to zero.
func listAndZero(a, b byte) bool {
	return a == 'Z' && strings.IndexByte("LS", b) >= 0 || b == 'Z' && a != 0 && strings.IndexByte("LS", a) >= 0
}

// checkCommand reports what iptables refuses before it asks the kernel: options
// that the command does not take.
func (r *lineReader) checkCommand() {
	p := r.p
	takesRule := strings.IndexByte("AIRC", r.command) >= 0 || r.command == 'D' && r.operand.end == 0
	switch {
	case p.diags.HasErrors():
	case r.command == 0:
		p.report(finding{Code: "no-command", Summary: "the line has no command",
			Detail: "Say what to do: -A and the name of a chain, for a rule behind the others.", Subject: p.line})
	case r.listing.end != 0 && r.command != 'L' && r.command != 'Z' && r.command != 'V' && r.command != 'h':
		p.report(finding{Code: "refused-option", Summary: fmt.Sprintf("%s has no place here", clip(r.listing.text)),
			Detail: "It belongs to -L. Remove it.", Subject: p.of(r.listing)})
	case r.command == 'V', r.command == 'h':
	case takesRule:
		r.checkRule()
		if r.isGiven('c') && (r.command == 'C' || r.command == 'D') {
			p.report(finding{Code: "refused-option", Summary: fmt.Sprintf("-c has no place behind -%c", r.command),
				Detail: "Rules are told apart without their counters. Remove it.", Subject: p.line})
		}
	default:
		for _, letter := range r.given {
			if letter == 'c' && r.command == 'P' {
				continue
			}
			p.report(finding{Code: "several-commands", Summary: fmt.Sprintf("-%c takes no rule", r.command),
				Detail: fmt.Sprintf("Remove -%c and its argument from the line.", letter), Subject: p.line})
			return
		}
	}
}

// stateCodes are the diagnostics whose cause are not the words of the command,
// but what earlier ones have made.
var stateCodes = map[string]bool{
	"undefined-chain": true, "duplicate-chain": true, "chain-in-use": true, "no-such-rule": true, "invalid-rule-number": true,
}

// failed returns the outcome of a command for which an error was reported.
func (s *Session) failed(r *lineReader) Outcome {
	o := Outcome{Failed: true, Diags: s.p.diags, ByState: r.command != 0}
	for _, d := range s.p.diags {
		if d.Severity == diag.Error && !stateCodes[d.Code] {
			o.ByState = false
		}
	}
	if r.command == 'C' && o.ByState {
		o.Diags = nil // the answer is no
	}
	o.Removal = o.ByState && strings.IndexByte("DFXZCLS", r.command) >= 0
	if r.command == 'N' && o.ByState {
		o.Removal = true // the chain is there already
	}
	return o
}

// ArgumentsOf returns the first arguments that options of extensions have in the
// rules that there are.
func (s *Session) ArgumentsOf(options ...string) []string {
	var found []string
	for _, t := range s.p.ruleset.Tables {
		for _, c := range t.Chains {
			s.p.settle(c)
			for _, rule := range c.Rules {
				words := strings.Fields(PrintRule(rule, c.Name))
				for i := 0; i+1 < len(words); i++ {
					if slices.Contains(options, words[i]) {
						found = append(found, words[i+1])
					}
				}
			}
		}
	}
	return found
}
