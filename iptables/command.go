package iptables

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"nftmigrate/diag"
)

// chunk is how many rules are allocated at a time.
const chunk = 256

// readCommand notes what the line does; it is done when the line was read.
func (r *lineReader) readCommand(o *baseOption, option, argument token) {
	if r.negated {
		r.p.report(finding{Code: "misplaced-negation", Summary: fmt.Sprintf("-%c cannot be negated", o.letter),
			Detail: "Remove the exclamation mark.", Subject: r.p.of(r.negation)})
	}
	if r.p.session && listAndZero(r.command, o.letter) {
		r.command = 'Z'
		if argument.text != "" {
			r.chain = argument
		}
		return
	}
	if r.command != 0 {
		r.p.report(finding{Code: "several-commands", Summary: fmt.Sprintf("-%c and -%c stand on one line", r.command, o.letter),
			Detail: "A line does one thing. Make two lines.", Subject: r.p.at(option.start, max(option.end, argument.end))})
		return
	}
	r.command, r.where, r.chain = o.letter, r.p.of(option), argument
	operands := "IDRPE"
	if r.p.session && argument.text != "" {
		operands = "IDRPELSZ"
	}
	if strings.IndexByte(operands, o.letter) >= 0 && r.next < len(r.tokens) && !startsOption(r.tokens[r.next]) {
		r.operand = r.tokens[r.next]
		r.next++
	}
}

// commands carry out a line, by letter of its command.
var commands [128]func(r *lineReader)

func init() {
	commands = [128]func(r *lineReader){
		'A': (*lineReader).appendRules,
		'I': (*lineReader).insertRules,
		'D': (*lineReader).deleteRules,
		'R': (*lineReader).replaceRule,
		'N': (*lineReader).newChain,
		'X': (*lineReader).deleteChains,
		'F': (*lineReader).flush,
		'Z': (*lineReader).zero,
		'P': (*lineReader).policy,
		'E': (*lineReader).rename,
	}
}

// finish checks the line as a whole and carries it out.
func (r *lineReader) finish() {
	if r.command == 0 {
		if !r.lenient && !r.explained {
			r.p.report(finding{Code: "no-command", Summary: "the line has no command",
				Detail: "A line of a table starts with -A and the name of a chain.", Subject: r.p.line})
		}
		return
	}
	takesRule := r.command == 'A' || r.command == 'I' || r.command == 'R' || r.command == 'D' && r.operand.end == 0
	if takesRule {
		r.checkRule()
	} else if len(r.given) > 0 {
		r.p.report(finding{Code: "several-commands", Summary: fmt.Sprintf("-%c takes no rule", r.command),
			Detail: fmt.Sprintf("Remove -%c and its argument from the line.", r.given[0]), Subject: r.p.line})
		return
	}
	r.cast()
	if r.p.part != nil && r.command != 'A' {
		r.p.part.failed = true
		return
	}
	commands[r.command](r)
}

// checkRule reports what iptables refuses in a rule when the line was read.
func (r *lineReader) checkRule() {
	chain := r.chain.text
	if r.rule.In.Present && (chain == "OUTPUT" || chain == "POSTROUTING") {
		r.wrongInterface("-i", r.rule.In, "leave the host, and so have no input interface there that -i could test")
	}
	if r.rule.Out.Present && (chain == "INPUT" || chain == "PREROUTING") {
		r.wrongInterface("-o", r.rule.Out, "have no output interface yet")
	}
	for i := range r.providers {
		r.missingOptions(&r.providers[i])
	}
}

func (r *lineReader) wrongInterface(option string, o Opt[Interface], why string) {
	r.p.report(finding{Code: "wrong-interface", Summary: fmt.Sprintf("%s cannot be used in chain %s", option, r.chain.text),
		Detail: fmt.Sprintf("Packets in chain %s %s. Remove the option.", r.chain.text, why), Subject: o.Range})
}

// missingOptions reports the required options that an extension was not given.
func (r *lineReader) missingOptions(v *provider) {
	missing := v.options.Missing()
	if len(missing) == 0 || r.lenient || v.failed {
		return
	}
	r.p.report(finding{Code: "missing-option", Summary: fmt.Sprintf("%s lacks --%s", v.name, missing[0]),
		Detail: fmt.Sprintf("%s needs --%s. Add it.", v.name, strings.Join(missing, " and --")), Subject: v.where})
}

func (r *lineReader) natDrop(name token) {
	r.p.report(finding{Code: "drop-in-nat", Summary: "DROP cannot be used in table nat",
		Detail: "iptables refuses it, because only the first packet of a connection comes to this table. Move the rule to table filter, or raw.", Subject: r.p.of(name)})
}

// newRules returns the rules of the line: one for each pair of a source and a
// destination, destinations first.
func (r *lineReader) newRules() []*Rule {
	p := r.p
	base := r.rule
	base.Range, base.Counters = p.line, r.counters
	base.Matches = p.keepUses(r.uses)
	sources, destinations := r.sources, r.destinations
	if len(sources) == 0 {
		sources = make([]Opt[Address], 1)
	}
	if len(destinations) == 0 {
		destinations = make([]Opt[Address], 1)
	}
	if n := len(sources) * len(destinations); n > 1 {
		if p.expanded += n; p.expanded > expandMax {
			p.report(finding{Code: "too-many-rules", Summary: "the lists of addresses make too many rules",
				Detail:  fmt.Sprintf("A line makes a rule for each pair of source and destination; together they are more than %d. Use an ipset.", expandMax),
				Subject: p.line})
			return nil
		}
	}
	rules := make([]*Rule, 0, len(sources)*len(destinations))
	for _, s := range sources {
		for _, d := range destinations {
			rule := p.newRule()
			*rule = base
			rule.Source, rule.Destination = s, d
			rules = append(rules, rule)
		}
	}
	return rules
}

// newRule and keepUses allocate many at a time, as a ruleset consists of little
// else.
func (p *parser) newRule() *Rule {
	if len(p.rules) == cap(p.rules) {
		p.rules = make([]Rule, 0, chunk)
	}
	p.rules = append(p.rules, Rule{})
	return &p.rules[len(p.rules)-1]
}

func (p *parser) keepUses(uses []MatchUse) []MatchUse {
	n := len(uses)
	if n == 0 {
		return nil
	}
	if len(p.uses)+n > cap(p.uses) {
		p.uses = make([]MatchUse, 0, max(n, chunk))
	}
	start := len(p.uses)
	p.uses = append(p.uses, uses...)
	return p.uses[start : start+n : start+n]
}

func (r *lineReader) appendRules() {
	c := r.p.findChain(r.chain)
	if len(r.sources) <= 1 && len(r.destinations) <= 1 {
		rule := r.p.newRule()
		*rule = r.rule
		rule.Range, rule.Counters, rule.Matches = r.p.line, r.counters, r.p.keepUses(r.uses)
		if len(r.sources) == 1 {
			rule.Source = r.sources[0]
		}
		if len(r.destinations) == 1 {
			rule.Destination = r.destinations[0]
		}
		r.p.append(c, r.p.of(r.chain), rule)
		return
	}
	for _, rule := range r.newRules() {
		r.p.append(c, r.p.of(r.chain), rule)
	}
}

// append appends a rule to a chain, which where names.
func (p *parser) append(c *Chain, where diag.Range, rule *Rule) {
	if p.part != nil {
		p.part.add(c, where, rule)
		return
	}
	if c.Range.IsZero() {
		c.Range = where
	}
	c.Rules = append(c.Rules, rule)
}

// position reads a rule number from 1 to limit as an index from 0.
func (r *lineReader) position(c *Chain, limit int) (int, bool) {
	n, err := ParseNumber(r.operand.text, math.MaxInt32)
	if err != nil || n == 0 {
		r.p.report(finding{Code: "invalid-rule-number", Summary: fmt.Sprintf("%q is not a rule number", clip(r.operand.text)),
			Detail: "Rules of a chain are counted from 1.", Subject: r.p.of(r.operand)})
		return 0, false
	}
	if int(n) > limit {
		r.p.report(finding{Code: "invalid-rule-number", Summary: fmt.Sprintf("chain %s has no place %d", c.Name, n),
			Detail: fmt.Sprintf("At this line it has %d rules.", len(c.Rules)), Subject: r.p.of(r.operand)})
		return 0, false
	}
	return int(n) - 1, true
}

func (r *lineReader) insertRules() {
	c := r.p.findChain(r.chain)
	rules := r.newRules()
	if r.operand.end == 0 || r.operand.text == "1" {
		if r.p.front == nil {
			r.p.front = make(map[*Chain][]*Rule)
		}
		r.p.front[c] = append(r.p.front[c], rules...)
		return
	}
	r.p.settle(c)
	if at, ok := r.position(c, len(c.Rules)+1); ok {
		// Each is inserted at the same place, so that the last comes first.
		slices.Reverse(rules)
		c.Rules = slices.Insert(c.Rules, at, rules...)
	}
}

// settle puts the rules that were inserted before the first one there.
func (p *parser) settle(c *Chain) {
	front := p.front[c]
	if len(front) == 0 {
		return
	}
	delete(p.front, c)
	slices.Reverse(front)
	c.Rules = append(front, c.Rules...)
}

func (r *lineReader) deleteRules() {
	p := r.p
	c := p.findChain(r.chain)
	p.settle(c)
	if r.operand.end != 0 {
		if at, ok := r.position(c, len(c.Rules)); ok {
			c.Rules = slices.Delete(c.Rules, at, at+1)
		}
		return
	}
	for _, rule := range r.newRules() {
		if !r.affordable() {
			return
		}
		if !p.remove(c, rule) {
			p.report(finding{Code: "no-such-rule", Summary: fmt.Sprintf("chain %s has no such rule", clip(c.Name)),
				Detail: "-D deletes the first rule that is equal. Correct the line, or remove it.", Subject: p.line})
		}
	}
}

// affordable reports whether one more command may look through the rules.
func (r *lineReader) affordable() bool {
	if r.p.searched <= searchMax {
		return true
	}
	r.p.report(finding{Code: "too-many-changes", Summary: "there are too many changes of earlier lines",
		Detail: "Each of -D, -E, -F and -X looks through rules or chains that lines above made, and together these took too long. Change those lines instead.", Subject: r.p.line})
	return false
}

// remove deletes the first rule that prints like another.
func (p *parser) remove(c *Chain, rule *Rule) bool {
	at := p.find(c, rule)
	if at < 0 {
		return false
	}
	c.Rules = slices.Delete(c.Rules, at, at+1)
	return true
}

// find returns the index of the first rule that prints like another, or -1.
func (p *parser) find(c *Chain, rule *Rule) int {
	text := PrintRule(rule, c.Name)
	var b []byte
	for i, other := range c.Rules {
		p.searched++
		if b = appendRule(b[:0], other, c.Name); string(b) == text {
			return i
		}
	}
	return -1
}

func (r *lineReader) replaceRule() {
	c := r.p.findChain(r.chain)
	r.p.settle(c)
	if len(r.sources) > 1 || len(r.destinations) > 1 {
		r.p.report(finding{Code: "invalid-argument", Summary: "a rule is replaced by one rule",
			Detail: "A list of addresses makes several. Give one address.", Subject: r.p.line})
		return
	}
	if r.operand.end == 0 {
		r.missingArgument(token{text: "-R", start: r.where.Start, end: r.where.End})
		return
	}
	if at, ok := r.position(c, len(c.Rules)); ok {
		if rules := r.newRules(); len(rules) == 1 {
			c.Rules[at] = rules[0]
		}
	}
}
