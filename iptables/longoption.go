package iptables

import (
	"errors"
	"fmt"
	"strings"

	"nftmigrate/diag"
)

// A resolution is what a long option stands for: a base option, or an option of
// a provider.
type resolution struct {
	base     *baseOption
	provider *provider
	option   Option
}

func (x resolution) found() bool { return x.base != nil || x.provider != nil }

// long reads "--name" and "--name=value".
func (r *lineReader) long(t token) {
	name, value, isAttached := strings.Cut(t.text[2:], "=")
	x, others := r.resolve(name)
	if !x.found() {
		x = r.loadProtocol(name, t)
	}
	if !x.found() {
		if !r.lenient {
			r.unknownLong(name, t, others)
		}
		r.skipArguments()
		return
	}
	attached := token{text: value, start: t.start, end: t.end, quoted: t.quoted}
	if isAttached && !t.quoted {
		attached.start = t.end - int32(len(value))
	}
	if x.base != nil {
		r.base(x.base, t, attached, isAttached)
		return
	}
	r.extensionOption(x, t, attached, isAttached)
}

// resolve finds the option of a name: a full name first among the base options,
// then in the extension loaded last, and so on; then, as getopt_long(3) does,
// the only option of which it is an abbreviation. When it abbreviates several,
// others lists them.
func (r *lineReader) resolve(name string) (x resolution, others []string) {
	if o := longOption(name); o != nil {
		return resolution{base: o}, nil
	}
	for i := len(r.providers) - 1; i >= 0; i-- {
		if o, ok := r.providers[i].options.Find(name); ok {
			return resolution{provider: &r.providers[i], option: o}, nil
		}
	}
	if r.lenient || name == "" {
		return resolution{}, nil
	}
	var letters []byte
	for i := range baseOptions {
		o := &baseOptions[i]
		if strings.HasPrefix(o.name, name) && strings.IndexByte(string(letters), o.letter) < 0 {
			x, others, letters = resolution{base: o}, append(others, o.name), append(letters, o.letter)
		}
	}
	for i := range r.providers {
		v := &r.providers[i]
		canonical := ""
		for _, o := range v.options {
			if !strings.HasPrefix(o.Name, name) {
				continue
			}
			if full, ok := v.options.Find(o.Name); ok && full.Name != canonical {
				x, others, canonical = resolution{provider: v, option: full}, append(others, full.Name), full.Name
			}
		}
	}
	if len(others) > 1 {
		return resolution{}, others
	}
	return x, nil
}

// loadProtocol makes the options of the match for "-p" available, when one of
// them is called name.
func (r *lineReader) loadProtocol(name string, t token) resolution {
	match := r.protocolMatch()
	if match == "" || r.protocolUsed {
		return resolution{}
	}
	m, options := r.p.newMatch(match)
	if m == nil {
		if !r.lenient {
			r.unsupportedMatch(match, t)
		}
		return resolution{}
	}
	saved := len(r.providers)
	r.addProvider(provider{name: m.Name(), options: options, where: r.p.of(t)})
	x, _ := r.resolve(name)
	if x.provider == nil || x.provider.target || x.provider.name != m.Name() {
		if len(r.providers) > saved {
			r.providers = r.providers[:saved]
		}
		return resolution{}
	}
	r.uses = append(r.uses, MatchUse{Match: m, Range: r.p.of(t)})
	r.protocolUsed = true
	return x
}

// protocolMatch names the match that "-p" makes available, also when only
// iptables has it.
func (r *lineReader) protocolMatch() string {
	if !r.rule.Protocol.Present || r.rule.Protocol.Value == 0 {
		return ""
	}
	if name := r.p.reg.ProtocolMatch(r.p.family, uint8(r.rule.Protocol.Value)); name != "" {
		return name
	}
	name := r.rule.Protocol.Value.String()
	if r.p.reg.Exists(name) && r.p.reg.NewMatch(r.otherFamily(), name) == nil {
		return name
	}
	return ""
}

// addProvider adds an extension. A second use of the same match takes the place
// of the first in the order in which options are looked up.
func (r *lineReader) addProvider(v provider) {
	for i := range r.providers {
		if r.providers[i].name == v.name && r.providers[i].target == v.target {
			r.providers[i] = v
			return
		}
	}
	r.providers = append(r.providers, v)
}

// extensionOption applies an option of a match or target.
func (r *lineReader) extensionOption(x resolution, t, attached token, isAttached bool) {
	name, count := x.option.Name, x.option.Arguments()
	where := r.p.of(t)
	args := r.p.args[:0]
	if count > 1 {
		args = make([]string, 0, count)
	}
	if isAttached {
		if count == 0 {
			r.p.report(finding{Code: "unexpected-argument", Summary: fmt.Sprintf("--%s takes no argument", name),
				Detail: "Remove the equals sign and what stands behind it.", Subject: where})
			return
		}
		args, where = append(args, attached.text), r.p.of(attached)
	}
	for len(args) < count {
		if x.option.Flags&Bare != 0 && (r.next == len(r.tokens) || startsOption(r.tokens[r.next])) {
			break
		}
		if r.next == len(r.tokens) || len(args) > 0 && startsOption(r.tokens[r.next]) {
			r.missingArgument(t)
			x.provider.failed = true
			return
		}
		a := r.tokens[r.next]
		r.next++
		if a.text == "!" && !a.quoted && len(args) == 0 && !r.negated && x.option.Flags&Invertible != 0 && r.next < len(r.tokens) {
			r.oldNegation(a)
			continue
		}
		if len(args) == 0 {
			where.Start = a.start
		}
		where.End = a.end
		args = append(args, a.text)
	}
	r.apply(x, args, where)
}

// apply sets an option and reports why it cannot be set.
func (r *lineReader) apply(x resolution, args []string, where diag.Range) {
	name := x.option.Name
	err := x.provider.options.Set(name, args, r.negated, where)
	if err == nil {
		return
	}
	x.provider.failed = true
	d := finding{Detail: sentence(err), Subject: where}
	switch {
	case r.negated && x.option.Flags&Invertible == 0:
		d.Code, d.Summary, d.Subject = "not-negatable", fmt.Sprintf("--%s cannot be negated", name), r.p.of(r.negation)
		d.Detail = "Remove the exclamation mark, or say what you mean by another option."
	case errors.Is(err, errRepeated):
		d.Code, d.Summary = "repeated-option", fmt.Sprintf("--%s is given twice", name)
		d.Detail = fmt.Sprintf("An option of %s may be given only once in one use of it. Remove one, or write the extension twice.", x.provider.name)
	default:
		d.Code, d.Summary = "invalid-argument", fmt.Sprintf("--%s has an argument that it does not take", name)
	}
	r.p.report(d)
}

// sentence makes a sentence of the fragment that an error is.
func sentence(err error) string {
	s := err.Error()
	if s == "" {
		return ""
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// unknownLong reports an option that is none, or several.
func (r *lineReader) unknownLong(name string, t token, others []string) {
	d := finding{Code: "unknown-option", Summary: fmt.Sprintf("there is no option --%s here", clip(name)), Subject: r.p.of(t)}
	switch {
	case len(others) > 1:
		d.Code, d.Summary = "ambiguous-option", fmt.Sprintf("--%s abbreviates several options", clip(name))
		d.Detail = "It could be --" + strings.Join(others, " or --") + ". Write the full name."
	case r.p.terse():
	default:
		d.Detail = r.whyUnknown(name)
	}
	r.p.report(d)
}

// whyUnknown says what to do about an unknown option.
func (r *lineReader) whyUnknown(name string) string {
	var candidates []string
	for i := range baseOptions {
		candidates = append(candidates, baseOptions[i].name)
	}
	for _, v := range r.providers {
		for _, o := range v.options {
			candidates = append(candidates, o.Name)
		}
	}
	if match := r.protocolMatch(); match != "" {
		if m := r.p.reg.NewMatch(r.p.family, match); m != nil {
			for _, o := range m.Options() {
				candidates = append(candidates, o.Name)
			}
		}
	}
	if owner := r.p.ownerOf(name); owner != "" {
		return fmt.Sprintf("It is an option of %s, which has to stand before it.", owner)
	}
	if near := didYouMean(name, candidates); near != "" {
		return "No extension that the line has used so far knows it." + strings.Replace(near, "mean ", "mean --", 1)
	}
	return "No extension that the line has used so far knows it. Correct the name, or write -m with the extension before it."
}

// isOption reports whether any extension has an option of that full name.
func (r *lineReader) isOption(name string) bool { return r.p.ownerOf(name) != "" }

// ownerOf returns the first extension that has an option of that full name, as
// it is written on a line ("-m tcp"), or "".
func (p *parser) ownerOf(name string) string {
	if p.owners == nil {
		p.owners = make(map[string]string)
		add := func(owner string, list Options) {
			for _, o := range list {
				if _, ok := p.owners[o.Name]; !ok {
					p.owners[o.Name] = owner
				}
			}
		}
		for _, name := range p.reg.Matches(p.family) {
			if m := p.reg.NewMatch(p.family, name); m != nil {
				add("-m "+name, m.Options())
			}
		}
		for _, name := range p.reg.Targets(p.family) {
			if t := p.reg.NewTarget(p.family, name); t != nil {
				add("-j "+name, t.Options())
			}
		}
	}
	return p.owners[name]
}
