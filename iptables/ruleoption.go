package iptables

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"nftmigrate/diag"
)

// ruleOptions read the base options that are part of a rule, by letter.
var ruleOptions [128]func(r *lineReader, option, argument token)

func init() {
	ruleOptions = [128]func(r *lineReader, option, argument token){
		's': func(r *lineReader, _, a token) { r.sources = r.addresses(r.sources, a) },
		'd': func(r *lineReader, _, a token) { r.destinations = r.addresses(r.destinations, a) },
		'i': func(r *lineReader, _, a token) { r.interfaceName(&r.rule.In, a) },
		'o': func(r *lineReader, _, a token) { r.interfaceName(&r.rule.Out, a) },
		'p': (*lineReader).protocol,
		'f': (*lineReader).fragment,
		'm': (*lineReader).match,
		'j': (*lineReader).jump,
		'g': (*lineReader).jumpTo,
		'c': (*lineReader).countersOption,
	}
}

// ruleOption reads a base option that is part of a rule.
func (r *lineReader) ruleOption(o *baseOption, option, argument token) {
	if r.negated && !negatable(o.letter) {
		r.p.report(finding{Code: "misplaced-negation", Summary: fmt.Sprintf("-%c cannot be negated", o.letter),
			Detail: "Remove the exclamation mark, or move it before the option that it negates.", Subject: r.p.of(r.negation)})
	}
	letter := o.letter
	if letter == 'g' {
		letter = 'j'
	}
	if letter != 'm' && r.isGiven(letter) {
		r.p.report(finding{Code: "repeated-option", Summary: fmt.Sprintf("-%c is given twice", o.letter),
			Detail: "A rule has it at most once. Remove one, or make two rules.", Subject: r.p.at(option.start, max(option.end, argument.end))})
		return
	}
	r.given = append(r.given, letter)
	ruleOptions[o.letter](r, option, argument)
}

func (r *lineReader) isGiven(letter byte) bool {
	for _, g := range r.given {
		if g == letter {
			return true
		}
	}
	return false
}

// invalid reports an argument that its option does not take.
func (r *lineReader) invalid(argument token, summary string, err error) {
	r.p.report(finding{Code: "invalid-argument", Summary: summary, Detail: sentence(err), Subject: r.p.of(argument)})
}

// addresses reads a list of addresses with commas between them.
func (r *lineReader) addresses(list []Opt[Address], argument token) []Opt[Address] {
	if r.negated && strings.Contains(argument.text, ",") {
		r.p.report(finding{Code: "negated-list", Summary: "a list of addresses cannot be negated",
			Detail:  "The list makes a rule for each address, and a packet that is not from one of them is from another. Use a chain that returns for each address, or an ipset.",
			Subject: r.p.of(argument)})
		return list
	}
	start := argument.start
	for part := range strings.SplitSeq(argument.text, ",") {
		t := token{text: strings.TrimLeft(part, " \t"), start: argument.start, end: argument.end}
		if int(argument.end-argument.start) == len(argument.text) {
			t.start, t.end = start, start+int32(len(part))
			start = t.end + 1
		}
		if a, ok := r.address(t); ok {
			list = append(list, Opt[Address]{Value: a, Present: true, Negated: r.negated, Range: r.p.of(t)})
		}
	}
	return list
}

func (r *lineReader) address(t token) (a Address, ok bool) {
	if err := a.Set(t.text); err != nil {
		if first, last, ok := strings.Cut(t.text, "-"); ok && a.Set(first) == nil && a.Set(last) == nil {
			err = errors.New("a range is no address of -s and -d; write -m iprange --src-range or --dst-range")
		}
		r.invalid(t, fmt.Sprintf("%q is not an address", clip(t.text)), err)
		return a, false
	}
	six := r.p.family == IPv6
	if a.Addr.Is6() == six {
		return a, true
	}
	if !a.IsAny() {
		r.p.report(finding{Code: "address-family", Summary: fmt.Sprintf("%q is not an address of %s", clip(t.text), r.p.family),
			Detail: "A ruleset is either IPv4 or IPv6, and this one is read as one of " + r.p.family.String() + ". Move the rule to the ruleset of the other family. " +
				"A text that holds rules of both has to be split; if all are of the other, say so by --v4 or --v6.",
			Subject: r.p.of(t)})
		return a, false
	}
	zero := netip.IPv4Unspecified()
	if six {
		zero = netip.IPv6Unspecified()
	}
	return Address{Addr: zero, Mask: zero}, true
}

// interfaceName reads -i or -o.
func (r *lineReader) interfaceName(field *Opt[Interface], argument token) {
	var name Interface
	if known, ok := r.p.names[argument.text]; ok {
		name = known
	} else {
		if err := name.Set(argument.text); err != nil {
			r.invalid(argument, fmt.Sprintf("%q is not the name of an interface", clip(argument.text)), err)
			return
		}
		if r.p.names == nil {
			r.p.names = make(map[string]Interface)
		}
		r.p.names[strings.Clone(argument.text)] = name
	}
	if strings.ContainsAny(string(name), "/ ") {
		r.p.report(finding{Severity: diag.Warning, Code: "odd-interface-name", Summary: fmt.Sprintf("no interface can be called %q", name),
			Detail: "The kernel allows no slash and no blank in the name of an interface, so that the rule matches none.", Subject: r.p.of(argument)})
	}
	*field = Opt[Interface]{Value: name, Present: true, Negated: r.negated, Range: r.p.of(argument)}
}

func (r *lineReader) protocol(_, argument token) {
	var proto Protocol
	if err := proto.Set(argument.text); err != nil {
		d := finding{Code: "invalid-argument", Summary: fmt.Sprintf("%q is not a protocol", clip(argument.text)), Detail: sentence(err), Subject: r.p.of(argument)}
		if strings.Contains(argument.text, ",") {
			d.Detail = "A rule has one protocol. Make one rule for each."
		} else if !r.p.terse() {
			d.Detail += didYouMean(argument.text, protocolNames[:])
		}
		r.p.report(d)
		r.lenient = true
		return
	}
	r.rule.Protocol = Opt[Protocol]{Value: proto, Present: true, Negated: r.negated, Range: r.p.of(argument)}
	if proto == 0 && r.negated {
		r.p.report(finding{Code: "never-matches", Summary: "the rule would match no protocol",
			Detail: "It excludes all protocols, and iptables refuses that. Remove the rule, or name the protocol.", Subject: r.p.of(argument)})
	}
	if r.p.family == IPv6 && ip6ExtensionHeader(proto) && !r.negated {
		r.p.report(finding{Severity: diag.Warning, Code: "never-matches-protocol", Summary: fmt.Sprintf("-p %s matches no packet", proto.String()),
			Detail: "ip6tables looks behind the extension headers for the protocol. Use the match for the header instead.", Subject: r.p.of(argument)})
	}
}

// ip6ExtensionHeader reports whether -p of ip6tables looks behind a header.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_ext_hdr.
func ip6ExtensionHeader(p Protocol) bool {
	switch p {
	case 43, 44, 51, 60:
		return true
	}
	return false
}

func (r *lineReader) fragment(option, _ token) {
	if r.p.family == IPv6 {
		r.p.report(finding{Code: "ipv4-only", Summary: "-f is for IPv4 only",
			Detail: "IPv6 marks fragments by an extension header. Use -m frag.", Subject: r.p.of(option)})
		return
	}
	r.rule.Fragment = Opt[Flag]{Present: true, Negated: r.negated, Range: r.p.of(option)}
}

// match reads -m NAME.
func (r *lineReader) match(_, name token) {
	m, options := r.p.newMatch(name.text)
	switch {
	case m != nil:
		r.addProvider(provider{name: m.Name(), options: options, where: r.p.of(name)})
		r.uses = append(r.uses, MatchUse{Match: m, Range: r.p.of(name), Explicit: true})
	case r.p.reg.NewMatch(r.otherFamily(), name.text) != nil:
		r.wrongFamily("match", name)
	case r.p.reg.Exists(name.text):
		r.unsupportedMatch(name.text, name)
	default:
		d := finding{Code: "unknown-match", Summary: fmt.Sprintf("there is no match %q", clip(name.text)), Subject: r.p.of(name)}
		if !r.p.terse() {
			d.Detail = "iptables has no match extension of that name for this family. Correct the name." + didYouMean(name.text, r.p.reg.Matches(r.p.family))
		}
		r.p.report(d)
		r.lenient = true
	}
}

func (r *lineReader) otherFamily() Family {
	if r.p.family == IPv6 {
		return IPv4
	}
	return IPv6
}

// wrongFamily reports an extension that only the other family has.
func (r *lineReader) wrongFamily(kind string, name token) {
	r.p.report(finding{Code: "other-family", Summary: fmt.Sprintf("%s %q is one of %s", kind, name.text, r.otherFamily()),
		Detail:  fmt.Sprintf("This ruleset is read as one of %s, which does not have it. Move the rule to the ruleset of the other family.", r.p.family),
		Subject: r.p.of(name)})
	r.lenient = true
}

// unsupportedMatch reports a match that iptables has and the registry has not.
// What follows up to the next known option is taken for its options.
func (r *lineReader) unsupportedMatch(name string, where token) {
	r.p.report(finding{Class: diag.Unsupported, Code: "unsupported-match", Summary: fmt.Sprintf("match %q is not supported", name),
		Detail:  "iptables has it, and it is not read, translated and checked yet. Nothing is translated as long as the rule is there; rewrite it without the match, or leave it out knowingly.",
		Subject: r.p.of(where)})
	r.lenient = true
}

// jump reads -j NAME: a verdict, an extension or a chain, in this order.
func (r *lineReader) jump(_, name token) {
	a := Action{Name: name.text, Range: r.p.of(name)}
	if !r.targetName(name) {
		return
	}
	if isVerdict(name.text) {
		a.Kind = Verdict
		a.Name = verdictName(name.text)
		r.rule.Action = a
		if name.text == "DROP" && r.p.table.Name == "nat" {
			r.natDrop(name)
		}
		return
	}
	if t, options := r.p.newTarget(name.text); t != nil {
		a.Kind, a.Name, a.Target = Extend, t.Name(), t
		r.rule.Action = a
		r.addProvider(provider{name: t.Name(), target: true, options: options, where: a.Range})
		return
	}
	if r.p.reg.NewTarget(r.otherFamily(), name.text) != nil {
		r.wrongFamily("target", name)
		return
	}
	if name.text == strings.ToUpper(name.text) && r.p.reg.Exists(name.text) {
		r.p.report(finding{Class: diag.Unsupported, Code: "unsupported-target", Summary: fmt.Sprintf("target %q is not supported", name.text),
			Detail:  "iptables has it, and it is not read, translated and checked yet. Nothing is translated as long as the rule is there; rewrite it without the target, or leave it out knowingly.",
			Subject: a.Range})
		r.lenient = true
		return
	}
	a.Kind = Jump
	r.chainAction(a, name)
}

// jumpTo reads -g CHAIN.
func (r *lineReader) jumpTo(_, name token) {
	if r.targetName(name) {
		r.chainAction(Action{Kind: Goto, Range: r.p.of(name)}, name)
	}
}

// verdictName returns the constant of the same text, so that the rule does not
// keep the input.
func verdictName(s string) string {
	for _, v := range verdicts {
		if v == s {
			return v
		}
	}
	return s
}

// targetName reports a name that no target and no chain can have.
func (r *lineReader) targetName(name token) bool {
	if name.text != "" && len(name.text) <= chainNameMax && !strings.ContainsAny(name.text, " \t\n\v\f\r") {
		return true
	}
	r.p.report(finding{Code: "invalid-argument", Summary: fmt.Sprintf("%q is not the name of a target or chain", clip(name.text)),
		Detail: fmt.Sprintf("A name has 1 to %d bytes and no blanks.", chainNameMax), Subject: r.p.of(name)})
	return false
}

func (r *lineReader) chainAction(a Action, name token) {
	c := r.p.table.Chain(name.text)
	switch {
	case c == nil && r.p.ghosts[name.text] == nil:
		r.undefinedTarget(a.Kind, name)
		c, r.lenient = r.p.ghost(strings.Clone(name.text)), true
	case c == nil:
		c, r.lenient = r.p.ghosts[name.text], true
	case c.Builtin:
		r.p.report(finding{Code: "jump-to-builtin", Summary: fmt.Sprintf("%s is a built-in chain", name.text),
			Detail: "The kernel refuses a jump to a built-in chain. Move its rules to a chain of their own, and jump there from both.", Subject: r.p.of(name)})
		return
	}
	a.Name = c.Name
	r.rule.Action = a
}

// undefinedTarget reports that a name is neither chain nor target.
func (r *lineReader) undefinedTarget(kind ActionKind, name token) {
	p := r.p
	if kind == Goto {
		if isVerdict(name.text) || p.reg.NewTarget(p.family, name.text) != nil {
			p.report(finding{Code: "undefined-chain", Summary: fmt.Sprintf("there is no chain %q in table %s", clip(name.text), p.table.Name),
				Detail: fmt.Sprintf("-g leads to a chain, and this is a target. Write -j %s.", name.text), Subject: p.of(name)})
			return
		}
		p.undefinedChain(name)
		return
	}
	d := finding{Code: "undefined-chain", Summary: fmt.Sprintf("%q is neither a target nor a chain of table %s", clip(name.text), p.table.Name), Subject: p.of(name)}
	if !p.terse() {
		if d.Detail = p.chainElsewhere(name.text); d.Detail == "" {
			candidates := append(append(p.chainNames(), verdicts...), p.reg.Targets(p.family)...)
			d.Detail = "Correct the name, or declare the chain by a line above." + chainOwner(name.text) + didYouMean(name.text, candidates)
		}
	}
	p.report(d)
}

// countersOption reads -c PACKETS BYTES or -c PACKETS,BYTES.
func (r *lineReader) countersOption(option, argument token) {
	packets, bytes, joined := strings.Cut(argument.text, ",")
	end := argument.end
	if !joined {
		if r.next == len(r.tokens) || startsOption(r.tokens[r.next]) {
			r.missingArgument(option)
			return
		}
		bytes, end = r.tokens[r.next].text, r.tokens[r.next].end
		r.next++
	}
	var c Counters
	var ok bool
	if c.Packets, ok = decimal(packets); ok {
		c.Bytes, ok = decimal(bytes)
	}
	if !ok {
		r.p.report(finding{Code: "invalid-counters", Summary: "the counters are not numbers",
			Detail: "Write -c PACKETS BYTES.", Subject: r.p.at(argument.start, end)})
		return
	}
	r.setCounters(c)
}
