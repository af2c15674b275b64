package iptables

import (
	"fmt"
	"strings"

	"nftmigrate/diag"
)

// A lineReader reads one command line of a table: "-A CHAIN …" and the other
// commands. It is used again for each line.
type lineReader struct {
	p      *parser
	tokens []token
	next   int // index of the next token

	command  byte // letter, 0 for none
	where    diag.Range
	chain    token
	operand  token // rule number, policy or new name; zero for none
	table    token // the argument of -t, which only commands have
	listing  token // an option that belongs to -L
	otherIP  bool  // the line is for the other family
	counters *Counters

	rule         Rule
	sources      []Opt[Address]
	destinations []Opt[Address]
	given        []byte // letters of the base options used
	providers    []provider
	uses         []MatchUse
	protocolUsed bool
	lenient      bool // what stands behind -m, -j or -p is not known, and so its options
	explained    bool // why the line has no command
	negated      bool
	negation     token
}

// A provider is an extension whose options the line may use.
type provider struct {
	name    string
	target  bool
	options Options
	where   diag.Range
	failed  bool // one of its options could not be read
}

// read reads a line of a table.
func (r *lineReader) read(p *parser, content string, base int) {
	*r = lineReader{p: p, tokens: p.tokens[:0], sources: r.sources[:0], destinations: r.destinations[:0],
		given: r.given[:0], providers: r.providers[:0], uses: r.uses[:0]}
	if content[0] == '[' {
		n, ok := r.readCounters(content, base)
		if !ok {
			return
		}
		content, base = content[n:], base+n
	}
	var problem scanProblem
	r.tokens, problem = tokenize(r.tokens, content, base)
	p.tokens = r.tokens
	if problem != scanned {
		r.scanFailed(problem)
		return
	}
	if len(r.tokens) > 0 && p.shellCommand(r.tokens) {
		return
	}
	r.readOptions()
	if !r.otherIP {
		r.finish()
	}
	p.empty()
}

// readCounters reads "[packets:bytes]" before a command, and returns how many
// bytes it takes.
func (r *lineReader) readCounters(content string, base int) (n int, ok bool) {
	n = strings.IndexByte(content, ']') + 1
	if n == 0 || strings.IndexByte(content[:n], ':') < 0 {
		r.p.report(finding{Code: "invalid-counters", Summary: "the counters before the command are not complete",
			Detail: "Write [packets:bytes] before -A, or leave them out.", Subject: r.p.at(int32(base), int32(base+max(n, 1)))})
		return 0, false
	}
	c, ok := parseCounters(content[:n])
	if !ok {
		r.p.report(finding{Severity: diag.Warning, Code: "invalid-counters", Summary: "the counters cannot be read",
			Detail: "Expected is [packets:bytes]. The counters are left out, as iptables-restore does without -c.", Subject: r.p.at(int32(base), int32(base+n))})
		return n, true
	}
	r.setCounters(c)
	return n, true
}

func (r *lineReader) setCounters(c Counters) {
	p := r.p
	if len(p.counters) == cap(p.counters) {
		p.counters = make([]Counters, 0, chunk)
	}
	p.counters = append(p.counters, c)
	r.counters = &p.counters[len(p.counters)-1]
}

func (r *lineReader) scanFailed(problem scanProblem) {
	t := r.tokens[len(r.tokens)-1]
	d := finding{Subject: r.p.of(t)}
	switch problem {
	case unterminatedQuote:
		d.Code, d.Summary = "unterminated-quote", "a double quote is not closed"
		d.Detail = "Everything up to the end of the line would belong to the argument, and the line end too. Add the closing quote; inside of quotes, write \\\" for a quote and \\\\ for a backslash."
	case longToken:
		d.Code, d.Summary = "argument-too-long", "the argument is too long"
		d.Detail = fmt.Sprintf("It has %d bytes, and iptables-restore takes %d. Split a list into several rules.", len(t.text), tokenMax)
	case manyTokens:
		d.Code, d.Summary = "too-many-arguments", "the line has too many arguments"
		d.Detail = fmt.Sprintf("iptables-restore takes %d on one line. Split the rule.", tokensMax)
	}
	r.p.report(d)
}

// readOptions walks the arguments as getopt_long(3) does for iptables.
func (r *lineReader) readOptions() {
	for r.next < len(r.tokens) {
		t := r.tokens[r.next]
		r.next++
		switch {
		case t.text == "!":
			if r.negated {
				r.p.report(finding{Code: "misplaced-negation", Summary: "two exclamation marks in a row", Detail: "Remove both, or one.", Subject: r.p.of(t)})
			}
			r.negated, r.negation = true, t
			continue
		case t.text == "--":
			if r.next < len(r.tokens) {
				r.stray(r.tokens[r.next])
				r.next = len(r.tokens)
			}
		case strings.HasPrefix(t.text, "--"):
			r.long(t)
		case len(t.text) > 1 && t.text[0] == '-':
			r.short(t)
		default:
			r.stray(t)
		}
		r.negated = false
		if r.otherIP {
			return
		}
	}
	if r.negated {
		r.p.report(finding{Code: "misplaced-negation", Summary: "the exclamation mark negates nothing",
			Detail: "It stands before the option that it negates. Remove it, or write the option behind it.", Subject: r.p.of(r.negation)})
	}
}

// stray reports an argument that belongs to no option.
func (r *lineReader) stray(t token) {
	if r.lenient {
		return
	}
	d := finding{Code: "stray-argument", Summary: fmt.Sprintf("%q belongs to no option", clip(t.text)), Subject: r.p.of(t)}
	switch {
	case t.text[0:min(1, len(t.text))] == "#":
		d.Detail = "A comment starts at the beginning of a line. Move it to a line of its own, or use -m comment --comment."
		r.next = len(r.tokens)
	case t.text == `\`:
		d.Detail = "A line of iptables-save is not continued on the next one. Join the lines."
	case strings.HasPrefix(t.text, "–") || strings.HasPrefix(t.text, "—"):
		d.Detail = "It starts with a typographic dash, which a word processor or a web page may have put there. Write - or --."
		r.skipArguments()
	case strings.HasPrefix(t.text, "'") || strings.HasSuffix(t.text, "'"):
		d.Detail = "Single quotes do not quote here. Use double quotes."
	case r.command == 0 && r.next == 1:
		d.Detail = "A line of a table starts with -A and the name of a chain. Write # before it if it is a comment."
		r.next, r.explained = len(r.tokens), true
	default:
		d.Detail = "Each option here takes its arguments, and this one is left over. Remove it, or put double quotes around an argument with blanks."
		for r.next < len(r.tokens) && !startsOption(r.tokens[r.next]) && r.tokens[r.next].text != "" {
			d.Summary = "several words belong to no option"
			d.Detail = "Each option here takes its arguments, and these are left over. Remove them, or put double quotes around an argument with blanks."
			d.Subject.End = r.tokens[r.next].end
			r.next++
		}
	}
	r.p.report(d)
}

// skipArguments leaves out what stands up to the next option, after an error
// with an option.
func (r *lineReader) skipArguments() {
	for r.next < len(r.tokens) {
		t := r.tokens[r.next]
		if t.text == "!" || len(t.text) > 1 && t.text[0] == '-' && !t.quoted {
			return
		}
		r.next++
	}
}

// short reads "-x", "-xVALUE" and clusters of options without argument.
func (r *lineReader) short(t token) {
	if r.singleDash(t) {
		return
	}
	for i := 1; i < len(t.text); i++ {
		o := shortOption(t.text[i])
		if o == nil {
			r.unknownShort(t, i)
			return
		}
		if o.argument == noArgument {
			r.base(o, t, token{}, false)
			continue
		}
		attached := token{}
		if i+1 < len(t.text) {
			attached = token{text: t.text[i+1:], start: t.start, end: t.end, quoted: t.quoted}
			if !t.quoted {
				attached.start += int32(i + 1)
			}
		}
		r.base(o, t, attached, i+1 < len(t.text))
		return
	}
}

func (r *lineReader) unknownShort(t token, i int) {
	if r.lenient {
		r.skipArguments()
		return
	}
	r.p.report(finding{Code: "unknown-option", Summary: fmt.Sprintf("there is no option -%s", clip(t.text[i:i+1])),
		Detail: "Options of one letter are -A, -s, -d, -i, -o, -p, -f, -m, -j, -g and the like; longer names take two dashes.", Subject: r.p.of(t)})
	r.skipArguments()
}

// singleDash reports an option that lost one of its dashes, like -dport, and
// tells whether t is one.
func (r *lineReader) singleDash(t token) bool {
	if len(t.text) < 4 || t.quoted {
		return false
	}
	name := t.text[1:]
	if strings.ContainsAny(name, "./:") || longOption(name) == nil && !r.isOption(name) {
		return false
	}
	r.p.report(finding{Code: "single-dash", Summary: fmt.Sprintf("-%s has one dash too few", name),
		Detail:  fmt.Sprintf("iptables reads it as option -%s with the argument %q. Did you mean --%s?", name[:1], name[1:], name),
		Subject: r.p.of(t)})
	r.skipArguments()
	return true
}

// base reads a base option. attached is the argument in the same token.
func (r *lineReader) base(o *baseOption, t, attached token, isAttached bool) {
	argument, ok := r.argument(o, t, attached, isAttached)
	if !ok {
		return
	}
	if o.letter == '4' || o.letter == '6' {
		if r.p.session && (o.letter == '6') != (r.p.family == IPv6) {
			r.p.report(finding{Code: "other-family", Summary: fmt.Sprintf("-%c is not for %s", o.letter, r.p.family),
				Detail: fmt.Sprintf("Only iptables-restore leaves out lines of the other family. Use %s for the line.", r.otherFamily()), Subject: r.p.of(t)})
			return
		}
		r.otherIP = r.otherIP || (o.letter == '6') != (r.p.family == IPv6)
		return
	}
	switch o.role {
	case ignoredRole:
	case refusedRole:
		if r.p.session {
			r.sessionOption(o, t, argument)
			return
		}
		r.explained = true
		r.p.report(finding{Code: "refused-option", Summary: fmt.Sprintf("-%s has no place in a ruleset", o.displayName()),
			Detail: "iptables-restore refuses it, or it has no effect. " + refusedBecause[o.letter], Subject: r.p.of(t)})
	case commandRole:
		r.readCommand(o, t, argument)
	case ruleRole:
		r.ruleOption(o, t, argument)
	}
}

// displayName returns the option as a person types it, without the first dash.
func (o *baseOption) displayName() string {
	if o.letter == '0' {
		return "-" + o.name
	}
	return string(o.letter)
}

// argument takes the argument of a base option.
func (r *lineReader) argument(o *baseOption, t, attached token, isAttached bool) (token, bool) {
	switch {
	case isAttached && o.argument == noArgument:
		r.p.report(finding{Code: "unexpected-argument", Summary: fmt.Sprintf("--%s takes no argument", o.name),
			Detail: "Remove the equals sign and what stands behind it.", Subject: r.p.of(t)})
		return token{}, false
	case isAttached:
		return attached, r.attachedAllowed(o, t, attached)
	case o.argument == noArgument:
		return token{start: t.start, end: t.end}, true
	case o.argument == optionalArgument:
		if r.next < len(r.tokens) && !startsOption(r.tokens[r.next]) {
			r.next++
			return r.tokens[r.next-1], true
		}
		return token{start: t.start, end: t.end}, true
	case r.next == len(r.tokens):
		r.missingArgument(t)
		return token{}, false
	}
	a := r.tokens[r.next]
	r.next++
	if a.text == "!" && !a.quoted && o.role == ruleRole && r.next < len(r.tokens) && negatable(o.letter) {
		r.oldNegation(a)
		a = r.tokens[r.next]
		r.next++
	}
	return a, true
}

// attachedAllowed reports an argument written in one word with its option,
// where iptables 1.8.9 takes the whole word as the argument.
func (r *lineReader) attachedAllowed(o *baseOption, t, attached token) bool {
	switch o.letter {
	case 's', 'd', 'p', 'j':
		r.p.report(finding{Severity: diag.Warning, Code: "attached-argument", Summary: fmt.Sprintf("-%c and its argument are one word", o.letter),
			Detail: "It is read as if there were a blank between them. iptables 1.8.9 refuses it; write a blank.", Subject: r.p.of(t)})
	case 'i', 'o':
		r.p.report(finding{Code: "attached-argument", Summary: fmt.Sprintf("-%c and its argument are one word", o.letter),
			Detail:  fmt.Sprintf("iptables 1.8.9 takes the whole word as the name of the interface. Write -%c %s.", o.letter, clip(attached.text)),
			Subject: r.p.of(t)})
		return false
	}
	return true
}

// negatable reports whether a base option may be negated.
func negatable(letter byte) bool { return strings.IndexByte("sdpiof", letter) >= 0 }

// oldNegation takes an exclamation mark behind an option.
func (r *lineReader) oldNegation(mark token) {
	r.p.report(finding{Severity: diag.Warning, Code: "old-negation", Summary: "the exclamation mark stands behind the option",
		Detail: "It is read as if it stood before the option. Versions of iptables before 1.4.3 printed it so, and 1.8.9 refuses it; move it.", Subject: r.p.of(mark)})
	r.negated, r.negation = true, mark
}

func (r *lineReader) missingArgument(t token) {
	r.p.report(finding{Code: "missing-argument", Summary: fmt.Sprintf("%s lacks an argument", clip(t.text)),
		Detail: "The line ends, or the next option starts, where the argument is expected. Add it.", Subject: r.p.of(t)})
}

// startsOption reports whether a token can be no optional argument.
func startsOption(t token) bool { return t.text != "" && (t.text[0] == '-' || t.text[0] == '!') }
