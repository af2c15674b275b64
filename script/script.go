package script

import (
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
)

const (
	// sizeMax is the longest script. Rules by the hundred thousand belong into a
	// file of iptables-save.
	sizeMax = 32 << 20
	// reportMax is how many errors, and how many other diagnostics, are
	// reported one by one.
	reportMax = 200
)

// A Result is what a script leaves in the kernel. A family that it has no
// command for is nil.
type Result struct {
	V4, V6 *iptables.Ruleset
	Sets   *ipset.Sets // nil when it makes none
}

// Run follows a script and carries out its commands on a host without rules.
// When the list holds an error, the result is not what the script makes.
func Run(src *diag.Source, reg iptables.Registry) (Result, diag.List) {
	s := &shell{src: src, reg: reg, vars: make(map[string]variable), counts: make(map[diag.Severity]int)}
	if file := s.parse(); file != nil {
		s.list(file.Stmts)
	}
	result := Result{V4: s.ruleset(iptables.IPv4), V6: s.ruleset(iptables.IPv6)}
	if s.sets != nil {
		result.Sets, _ = s.sets.Finish()
	}
	return result, s.finish()
}

// parse reads the shell's syntax, or reports why it cannot be read.
func (s *shell) parse() *syntax.File {
	text := s.src.Text
	if len(text) > sizeMax {
		s.report(diag.Diagnostic{Code: "input-too-large", Summary: "the script is too large",
			Detail: fmt.Sprintf("A script may have up to %d bytes. %s", sizeMax, s.remedy())})
		return nil
	}
	if at := strings.IndexByte(string(text), 0); at >= 0 {
		s.report(diag.Diagnostic{Code: "nul-byte", Summary: "the script holds a zero byte",
			Detail: "Remove it, and see whether this is a script at all.", Subject: s.at(at, at+1)})
		return nil
	}
	if at := tooDeep(text); at >= 0 {
		s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "shell-construct", Summary: "a script as involved as this is not followed",
			Detail: "It has more brackets, conditions, loops or operators than a person writes. " + s.remedy(), Subject: s.at(at, at+1)})
		return nil
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if interpreter, ok := strings.CutPrefix(first, "#!"); ok {
		s.interpreter(strings.Fields(interpreter))
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(string(text)), "")
	if err == nil {
		return file
	}
	d := diag.Diagnostic{Code: "shell-syntax", Summary: "the shell cannot read this", Detail: "A shell says: " + err.Error() + ". Correct it."}
	switch e := err.(type) {
	case syntax.ParseError:
		d.Subject, d.Detail = s.point(e.Pos), fmt.Sprintf("%s. Correct it.", strings.TrimSuffix(e.Text, "."))
	case syntax.LangError:
		d.Subject = s.point(e.Pos)
	}
	s.report(d)
	return nil
}

// interpreter takes over the options of the first line, as in "#!/bin/sh -e".
func (s *shell) interpreter(words []string) {
	for _, w := range words[min(1, len(words)):] {
		if strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") {
			s.errexit = s.errexit || strings.Contains(w, "e")
		}
	}
}

func (s *shell) at(start, end int) diag.Range {
	n := len(s.src.Text)
	start = min(max(start, 0), n)
	return diag.Range{Source: s.src, Start: int32(start), End: int32(min(max(end, start), n))}
}

// of returns the place of a node.
func (s *shell) of(n syntax.Node) diag.Range { return s.span(n.Pos(), n.End()) }

func (s *shell) span(from, to syntax.Pos) diag.Range {
	return s.at(int(from.Offset()), int(to.Offset()))
}

func (s *shell) point(p syntax.Pos) diag.Range {
	return s.at(int(p.Offset()), int(p.Offset())+1)
}

// report adds a diagnostic; without a severity it is an error.
func (s *shell) report(d diag.Diagnostic) {
	if d.Severity == 0 {
		d.Severity = diag.Error
	}
	if d.Context.IsZero() {
		d.Context = d.Subject
	}
	s.counts[d.Severity]++
	if s.counts[d.Severity] <= reportMax {
		s.diags.Add(d)
	} else if d.Severity == diag.Error && d.Class == diag.Invalid {
		s.hiddenInvalid = true
	}
}

// finish sorts the diagnostics by place.
func (s *shell) finish() diag.List {
	slices.SortStableFunc(s.diags, func(a, b diag.Diagnostic) int { return int(a.Subject.Start) - int(b.Subject.Start) })
	for _, severity := range []diag.Severity{diag.Error, diag.Warning, diag.Note} {
		n := s.counts[severity] - reportMax
		if n <= 0 {
			continue
		}
		d := diag.Diagnostic{Severity: severity, Code: "too-many-diagnostics", Summary: "there is more to report than is listed",
			Detail: fmt.Sprintf("%d more of severity %s are not listed. Correct these first.", n, severity)}
		if !s.hiddenInvalid {
			d.Class = diag.Unsupported
		}
		s.diags.Add(d)
	}
	return s.diags
}

// remedy says how to get the rules of a script that cannot be followed.
func (s *shell) remedy() string {
	name := s.src.Name
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/-", r)
	}
	if name == "" || name[0] == '-' || strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) >= 0 {
		name = "SCRIPT"
	}
	return "Run the script as root in a network namespace of its own, where it changes no rules of the host, and translate what it made:\n" +
		"  unshare -n sh -c 'sh " + name + "; iptables-save >rules.v4; ip6tables-save >rules.v6'"
}

// session returns the session of a family, which begins when first needed.
func (s *shell) session(f iptables.Family) *iptables.Session {
	i := 0
	if f == iptables.IPv6 {
		i = 1
	}
	if s.sessions[i] == nil {
		s.sessions[i] = iptables.NewSession(s.src, f, s.reg)
	}
	return s.sessions[i]
}

func (s *shell) ruleset(f iptables.Family) *iptables.Ruleset {
	i := 0
	if f == iptables.IPv6 {
		i = 1
	}
	if s.sessions[i] == nil {
		return nil
	}
	return s.sessions[i].Ruleset()
}
