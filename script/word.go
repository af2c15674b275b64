package script

import (
	"fmt"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"nftmigrate/diag"
)

// valueMax is the longest value of a variable or word: more would not fit on a
// command line.
const valueMax = 128 << 10

// A variable is what a name stands for.
type variable struct {
	value string
	// unknown: it was assigned by something that is not followed, and that is
	// reported.
	unknown bool
	// environment: the value comes from where the script is run.
	environment bool
}

// environment are the variables that each shell has before the script sets
// them.
var environment = map[string]bool{
	"PATH": true, "HOME": true, "USER": true, "LOGNAME": true, "SHELL": true, "PWD": true, "OLDPWD": true, "LANG": true, "LC_ALL": true,
	"TERM": true, "HOSTNAME": true, "UID": true, "EUID": true, "PPID": true, "RANDOM": true, "SECONDS": true, "LINENO": true, "BASH_SOURCE": true,
}

// A field is one argument that words expand to.
type field struct {
	text       string
	start, end int
	pattern    bool // it holds an unquoted asterisk, question mark or bracket
}

// An expansion is a word on its way to fields.
type expansion struct {
	s     *shell
	split bool // unquoted values are split at blanks
	done  []field

	text    strings.Builder
	begun   bool // there is a field, even when it is empty
	pattern bool
	start   int
	end     int
	failed  bool
	total   int
}

// fields expands a word into arguments. ok is false when that is not known, or
// was reported.
func (s *shell) fields(w *syntax.Word) (list []field, ok bool) {
	e := s.expand(w, true)
	return e.done, !e.failed
}

// text expands a word that stays one, as in an assignment.
func (s *shell) text(w *syntax.Word) (text string, ok bool) {
	if w == nil {
		return "", true
	}
	e := s.expand(w, false)
	if e.failed {
		return "", false
	}
	if len(e.done) == 0 {
		return "", true
	}
	return e.done[0].text, true
}

func (s *shell) expand(w *syntax.Word, split bool) *expansion {
	e := &expansion{s: s, split: split, start: int(w.Pos().Offset()), end: int(w.End().Offset())}
	for i, part := range w.Parts {
		e.part(part, i == 0)
		if e.failed {
			return e
		}
	}
	e.flush()
	return e
}

func (e *expansion) flush() {
	if e.begun {
		e.done = append(e.done, field{text: e.text.String(), start: e.start, end: e.end, pattern: e.pattern})
	}
	e.text.Reset()
	e.begun, e.pattern = false, false
}

func (e *expansion) add(text string) {
	e.total += len(text)
	if e.total > valueMax {
		e.failed = true
		e.s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "argument-too-long", Summary: "the argument is too long",
			Detail:  fmt.Sprintf("With what its variables stand for it has more than %d bytes. Use a file of iptables-save.", valueMax),
			Subject: e.s.at(e.start, e.end)})
		return
	}
	e.text.WriteString(text)
	e.begun = true
}

// unknown reports a variable whose value nothing tells.
func (e *expansion) unknown(p *syntax.ParamExp, summary, detail string) {
	e.failed = true
	e.s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "unknown-variable", Summary: summary, Detail: detail, Subject: e.s.of(p)})
}

func (e *expansion) construct(n syntax.Node, what string) {
	e.failed = true
	e.s.construct(n, what, "")
}

// part expands one part of a word. first: it is the first.
func (e *expansion) part(part syntax.WordPart, first bool) {
	switch p := part.(type) {
	case *syntax.Lit:
		e.literal(p, first)
	case *syntax.SglQuoted:
		if p.Dollar && strings.Contains(p.Value, `\`) {
			e.construct(p, "a quote with escapes")
			return
		}
		e.add(p.Value)
	case *syntax.DblQuoted:
		e.add("")
		for _, inner := range p.Parts {
			if lit, ok := inner.(*syntax.Lit); ok {
				e.add(unescapeDouble(lit.Value))
				continue
			}
			split := e.split
			e.split = false
			e.part(inner, false)
			e.split = split
			if e.failed {
				return
			}
		}
	case *syntax.ParamExp:
		e.parameter(p)
	case *syntax.CmdSubst:
		if name := whichTool(p); name != "" {
			e.add(name)
			return
		}
		e.construct(p, "the output of a command")
	case *syntax.ArithmExp:
		e.construct(p, "arithmetic")
	case *syntax.BraceExp, *syntax.ExtGlob:
		e.construct(p, "a pattern")
	default:
		e.construct(p, "this")
	}
}

// unescapeDouble takes the backslashes away that mean something inside of double
// quotes.
func unescapeDouble(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0 {
			i++
			if s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// literal expands what stands outside of quotes.
func (e *expansion) literal(lit *syntax.Lit, first bool) {
	s := lit.Value
	if first && strings.HasPrefix(s, "~") {
		e.construct(lit, "the name of a home directory")
		return
	}
	var b strings.Builder
	brace := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] != '\n' {
				b.WriteByte(s[i])
			}
			continue
		case strings.IndexByte("*?[", c) >= 0:
			e.pattern = true
		case c == '{':
			brace = true
		case brace && e.split && (c == ',' || c == '.' && i+1 < len(s) && s[i+1] == '.') && strings.IndexByte(s[i:], '}') > 0:
			e.construct(lit, "a list in braces")
			return
		}
		b.WriteByte(s[i])
	}
	e.add(b.String())
}

// parameter expands a variable.
func (e *expansion) parameter(p *syntax.ParamExp) {
	plain := *p
	plain.Exp = nil
	name := ""
	if p.Param != nil {
		name = p.Param.Value
	}
	if !isName(name) || p.Flags != nil || p.Excl || p.Length || p.Width || p.IsSet || p.NestedParam != nil || p.Index != nil ||
		len(p.Modifiers) > 0 || p.Slice != nil || p.Repl != nil || p.Names != 0 {
		what := "a variable in this form"
		if name != "" && !isName(name) {
			what = "an argument or status of the script"
		}
		e.construct(p, what)
		return
	}
	v, set := e.s.vars[name]
	if !set && environment[name] {
		v, set = variable{environment: true}, true
	}
	if p.Exp != nil && !v.unknown && !v.environment {
		other := p.Exp.Word
		isNull := !set || v.value == ""
		switch p.Exp.Op {
		case syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull:
			orNull := p.Exp.Op == syntax.DefaultUnsetOrNull || p.Exp.Op == syntax.AssignUnsetOrNull
			if set && (!orNull || !isNull) {
				break
			}
			text, ok := e.s.text(other)
			if !ok {
				e.failed = true
				return
			}
			if !set {
				e.s.report(diag.Diagnostic{Severity: diag.Note, Code: "default-value", Summary: fmt.Sprintf("variable %s is taken to be unset", clip(name)),
					Detail: "The script assigns nothing to it, so that its default counts. The environment in which the script is run may hold another value.", Subject: e.s.of(p)})
			}
			if p.Exp.Op == syntax.AssignUnset || p.Exp.Op == syntax.AssignUnsetOrNull {
				e.s.vars[name] = variable{value: text}
			}
			e.value(text)
			return
		case syntax.AlternateUnset, syntax.AlternateUnsetOrNull:
			if !set || isNull && p.Exp.Op == syntax.AlternateUnsetOrNull {
				return
			}
			text, ok := e.s.text(other)
			if !ok {
				e.failed = true
				return
			}
			e.value(text)
			return
		default:
			e.construct(p, "a variable in this form")
			return
		}
	}
	switch {
	case v.unknown:
		e.failed = true
	case v.environment:
		e.unknown(p, fmt.Sprintf("the value of %s is not known", clip(name)),
			"It comes from where the script is run. Write the value, or assign it in the script.")
	case !set && e.s.lost:
		e.failed = true
	case !set:
		e.unknown(p, fmt.Sprintf("variable %s has no value", clip(name)),
			"Nothing is assigned to it above, and a shell would put nothing in its place. Correct the name, or assign a value."+e.s.nearestVariable(name))
	default:
		e.value(v.value)
	}
}

// value adds the value of a variable, which is split at blanks where it is not
// quoted.
func (e *expansion) value(text string) {
	if !e.split {
		e.add(text)
		return
	}
	pattern := strings.ContainsAny(text, "*?[")
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }
	for i := 0; i < len(text) && !e.failed; {
		if blank(text[i]) {
			e.flush()
			i++
			continue
		}
		end := i
		for end < len(text) && !blank(text[end]) {
			end++
		}
		e.add(text[i:end])
		e.pattern = e.pattern || pattern
		i = end
	}
}

// isName reports whether s can be the name of a variable, and not that of an
// argument or of something that the shell sets.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// whichTool returns the name of a command whose path a substitution asks for, as
// in $(which iptables), or "".
func whichTool(c *syntax.CmdSubst) string {
	if len(c.Stmts) != 1 || c.Stmts[0].Negated || c.Stmts[0].Background {
		return ""
	}
	call, ok := c.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(call.Assigns) > 0 {
		return ""
	}
	var words []string
	for _, w := range call.Args {
		words = append(words, w.Lit())
	}
	switch name := strings.Join(words[:max(0, len(words)-1)], " "); name {
	case "which", "command -v", "type -p", "/usr/bin/which":
		if tool := words[len(words)-1]; tools[path.Base(tool)] != 0 {
			return tool
		}
	}
	return ""
}

// nearestVariable suggests a name for one that is not set.
func (s *shell) nearestVariable(name string) string {
	if near := diag.Nearest(name, sortedNames(s.vars)); near != "" {
		return fmt.Sprintf(" Did you mean %s?", near)
	}
	return ""
}

// clip shortens a name for a message.
func clip(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
