package extension_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// supportStates are what became of the rules about one match or target.
type supportStates struct {
	exact    bool
	forms    map[string]bool // of the unusual ones
	deviates bool
	codes    map[string]bool // of the deviations
	// The options that it is about. What is unshown is kept, and no archive holds
	// the bytes.
	kept, unshown, refused map[string]bool
}

// nowhere reports whether no rule has a native form.
func (s *supportStates) nowhere() bool { return !s.exact && len(s.forms) == 0 && !s.deviates }

func (s *supportStates) String() string {
	var list []string
	if s.exact {
		list = append(list, "exact")
	}
	if len(s.forms) > 0 {
		list = append(list, "exact in an unusual form ("+strings.Join(slices.Sorted(maps.Keys(s.forms)), ", ")+")")
	}
	if s.deviates {
		list = append(list, "declared deviation")
	}
	unshown := maps.Clone(s.unshown)
	maps.DeleteFunc(unshown, func(option string, _ bool) bool { return s.kept[option] })
	for _, part := range []struct {
		word string
		of   map[string]bool
	}{{"kept as xt", s.kept}, {"kept as xt, unconfirmed", unshown}, {"refused", s.refused}} {
		if len(part.of) == 0 {
			continue
		}
		if options := slices.Sorted(maps.Keys(part.of)); options[0] != "" {
			part.word += " (`" + strings.Join(options, "`, `") + "`)"
		}
		list = append(list, part.word)
	}
	return strings.Join(list, " · ")
}

// statesByName translates the rules of all archives and returns what became of
// them by "match_NAME" and "target_NAME": of those in archives of the name, or in
// all when there is none.
func statesByName(t *testing.T) map[string]*supportStates {
	t.Helper()
	var all []*archive
	own := map[string][]*archive{}
	for _, path := range archives(t) {
		a := readArchive(t, path)
		all = append(all, a)
		if name, ok := ownerOf(strings.TrimSuffix(filepath.Base(path), ".txtar")); ok {
			own[name] = append(own[name], a)
		}
	}
	states := map[string]*supportStates{}
	for prefix, name := range registered() {
		s := &supportStates{codes: map[string]bool{}, forms: map[string]bool{}, kept: map[string]bool{}, unshown: map[string]bool{}, refused: map[string]bool{}}
		about := own[prefix]
		if about == nil {
			about = all
		}
		for _, a := range about {
			for file, f := range map[string]iptables.Family{"rules.v4": iptables.IPv4, "rules.v6": iptables.IPv6} {
				if text := a.file(file); text != nil {
					s.add(name, diag.NewSource(file, text), f, a)
				}
			}
		}
		if s.String() != "" {
			states[prefix] = s
		}
	}
	return states
}

// registered returns the names of all matches and targets by "match_NAME" and
// "target_NAME" in lower case.
func registered() map[string]string {
	names := map[string]string{}
	for _, f := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
		for kind, list := range map[string][]string{"match_": extension.Registry.Matches(f), "target_": extension.Registry.Targets(f)} {
			for _, name := range list {
				names[kind+strings.ToLower(name)] = name
			}
		}
	}
	return names
}

// ownerOf returns the "match_NAME" or "target_NAME" that an archive belongs to:
// the longest that its name begins with.
func ownerOf(archive string) (string, bool) {
	best := ""
	for prefix := range registered() {
		rest, ok := strings.CutPrefix(archive, prefix)
		if ok && (rest == "" || rest[0] == '_' || rest == "6") && len(prefix) > len(best) {
			best = prefix
		}
	}
	return best, best != ""
}

// add translates the rules of a file and notes what became of those with the
// match or target.
func (s *supportStates) add(name string, src *diag.Source, f iptables.Family, a *archive) {
	var sets *ipset.Sets
	if text := a.sets(); text != nil {
		sets, _ = ipset.Parse(diag.NewSource("sets", text))
	}
	options := translate.Options{KeepXt: true, Sets: sets}
	rs, list := iptables.Parse(src, f, extension.Registry)
	if list.HasErrors() {
		return // not valid iptables, which the archive is about
	}
	v4, v6 := rs, (*iptables.Ruleset)(nil)
	if f == iptables.IPv6 {
		v4, v6 = nil, rs
	}
	result, list := translate.Translate(v4, v6, options)
	about := map[int]bool{} // by line
	for _, table := range rs.Tables {
		for _, c := range table.Chains {
			for _, r := range c.Rules {
				about[r.Range.Line()] = uses(r, name)
			}
		}
	}
	special := map[int]bool{}
	for _, d := range list {
		line := d.Context.Line()
		if !about[line] || d.Severity == diag.Note {
			continue
		}
		special[line] = true
		switch {
		case d.Severity == diag.Error:
			s.refused[optionAt(d)] = true
		case d.Code == "kept-as-xt":
			option := keptOption(d, v4, v6, sets)
			if !a.keeps() {
				s.unshown[option] = true // its bytes are in no archive
			} else {
				s.kept[option] = true
			}
		case d.Severity == diag.Warning:
			s.deviates = true
			s.codes[d.Code] = true
		}
	}
	if result == nil {
		// Those that are refused stand in the way of the others.
		for _, table := range rs.Tables {
			for _, c := range table.Chains {
				c.Rules = slices.DeleteFunc(c.Rules, func(r *iptables.Rule) bool {
					return slices.ContainsFunc(list, func(d diag.Diagnostic) bool {
						return d.Severity == diag.Error && d.Context == r.Range
					})
				})
			}
		}
		if result, _ = translate.Translate(v4, v6, options); result == nil {
			return
		}
	}
	for line, forms := range formsByLine(result.Ruleset) {
		switch {
		case !about[line] || special[line]:
		case len(forms) == 0:
			s.exact = true
		default:
			for _, form := range forms {
				s.forms[form] = true
			}
		}
	}
}

// keptOption returns the option for which a match is kept, "" for the whole: the
// one that is refused without --keep-xt.
func keptOption(kept diag.Diagnostic, v4, v6 *iptables.Ruleset, sets *ipset.Sets) string {
	_, list := translate.Translate(v4, v6, translate.Options{Sets: sets})
	for _, d := range list {
		if d.Severity == diag.Error && d.Context == kept.Context {
			return optionAt(d)
		}
	}
	return ""
}

// optionAt returns the option that a diagnostic about a rule points at, or whose
// argument it points at, "" when it is about more.
func optionAt(d diag.Diagnostic) string {
	text := d.Context.Text()
	at := int(d.Subject.Start - d.Context.Start)
	for at < len(text) && (text[at] == '!' || text[at] == ' ') {
		at++
	}
	words := strings.Fields(text[:min(at, len(text))])
	if at < len(text) && text[at] == '-' {
		words = append(words, strings.Fields(text[at:])[0])
	}
	if len(words) == 0 || !strings.HasPrefix(words[len(words)-1], "--") {
		return ""
	}
	return words[len(words)-1]
}

// uses reports whether a rule has the match or target.
func uses(r *iptables.Rule, name string) bool {
	return r.Action.Name == name || slices.ContainsFunc(r.Matches, func(use iptables.MatchUse) bool { return use.Match.Name() == name })
}

// formsByLine returns, for each line of the source, what the nft rules from it
// need beyond one rule.
func formsByLine(rs *nftgen.Ruleset) map[int][]string {
	rules, chains := map[int]int{}, map[int]map[string]bool{}
	forms := map[int][]string{}
	add := func(line int, form string) {
		if !slices.Contains(forms[line], form) {
			forms[line] = append(forms[line], form)
		}
	}
	for _, t := range rs.Tables() {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				line := r.Origin.Line()
				rules[line]++
				forms[line] = forms[line][:len(forms[line]):len(forms[line])]
				if chains[line] == nil {
					chains[line] = map[string]bool{}
				}
				chains[line][c.Name] = true
				for _, stmt := range r.Stmts {
					switch stmt.(type) {
					case nftgen.InSet, nftgen.Update:
						add(line, "named set")
					}
				}
			}
		}
	}
	for line, n := range rules {
		switch {
		case len(chains[line]) > 1:
			add(line, "helper chain")
		case n > 1:
			add(line, "several rules")
		}
	}
	return forms
}
