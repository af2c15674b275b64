package script

import (
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"nftmigrate/diag"
	"nftmigrate/ipset"
)

// gone are the diagnostics of ipset commands that would have taken something away
// that is not there, or added what is: nothing is missing in the result.
var gone = map[string][]string{
	"ipset-no-such-element":   {"del", "-D", "--del"},
	"ipset-duplicate-element": {"add", "-A", "--add"},
	"ipset-duplicate-set":     {"create", "n", "-N", "--create"},
	"ipset-unknown-set":       {"del", "-D", "--del", "destroy", "x", "-X", "--destroy", "flush", "-F", "--flush"},
}

// setReader returns the reader of sets, which begins when first needed.
func (s *shell) setReader() *ipset.Reader {
	if s.sets == nil {
		s.sets = ipset.NewReader(s.src)
	}
	return s.sets
}

// ipset carries out a command of ipset.
func (s *shell) ipset(c *syntax.CallExpr, words []field, r redirections) status {
	var args []ipset.Word
	verb := ""
	for _, w := range words {
		if verb == "" && !slices.Contains([]string{"-exist", "-!", "--exist", "-quiet", "-q", "--quiet"}, w.text) {
			verb = w.text
		}
		where := s.at(w.start, w.end)
		args = append(args, ipset.Word{Text: w.text, Start: where.Start, End: where.End})
	}
	switch verb {
	case "test", "-T", "--test":
		return unknown
	case "restore", "-R", "--restore":
		return s.restoreSets(c, words, r)
	case "destroy", "x", "-X", "--destroy", "rename", "e", "-E", "--rename":
		if name := s.setInUse(words); name != "" {
			s.report(diag.Diagnostic{Code: "ipset-in-use", Summary: fmt.Sprintf("a rule uses set %s", clip(name)),
				Detail: "The kernel refuses to destroy or rename it. Delete the rule first.", Subject: s.of(c)})
			return failed
		}
	}
	return s.runSet(s.of(c), verb, args)
}

// runSet has one command of ipset carried out and tells what is wrong with it.
func (s *shell) runSet(where diag.Range, verb string, args []ipset.Word) status {
	result := succeeded
	for _, d := range s.setReader().Run(where, args) {
		if d.Severity == diag.Error {
			result = failed
			if slices.Contains(gone[d.Code], verb) {
				d.Severity = diag.Warning
				if s.quiet || s.excused > 0 {
					d.Severity = diag.Note
				}
				d.Detail += "\nThe command fails, changes nothing, and the script goes on."
			}
		}
		if !s.lost || d.Class == diag.Unsupported {
			s.report(d)
		}
	}
	return result
}

// restoreSets carries out ipset restore with a here-document.
func (s *shell) restoreSets(c *syntax.CallExpr, words []field, r redirections) status {
	if r.document == nil {
		return s.file(c, "ipset restore")
	}
	where, ok := s.document(r.document)
	if !ok {
		return s.lose(c)
	}
	exist := slices.ContainsFunc(words, func(w field) bool { return w.text == "-exist" || w.text == "-!" || w.text == "--exist" })
	at := where.Start
	for line := range strings.Lines(where.Text()) {
		place := s.at(int(at), int(at)+len(strings.TrimRight(line, "\r\n")))
		if strings.ContainsAny(line, `"`) {
			s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "shell-construct", Summary: "quotes of ipset restore are not followed",
				Detail: "Write the comment without quotes, or give the text as a file of its own by --ipset.", Subject: place})
			return s.lose(c)
		}
		var args []ipset.Word
		for word, rest := "", line; ; {
			lead := len(rest) - len(strings.TrimLeft(rest, " \t\r\n"))
			if rest = rest[lead:]; rest == "" {
				break
			}
			start := int32(len(line) - len(rest))
			end := strings.IndexAny(rest, " \t\r\n")
			if end < 0 {
				end = len(rest)
			}
			word, rest = rest[:end], rest[end:]
			args = append(args, ipset.Word{Text: word, Start: at + start, End: at + start + int32(end)})
		}
		at += int32(len(line))
		if len(args) == 0 || args[0].Text[0] == '#' || args[0].Text == "COMMIT" {
			continue
		}
		verb := args[0].Text
		if exist {
			args = append(args, ipset.Word{Text: "-exist", Start: args[0].Start, End: args[0].End})
		}
		// ipset restore ends with the first line that fails.
		if s.runSet(place, verb, args) == failed {
			return failed
		}
	}
	return succeeded
}

// setOptionsOfRules are the options behind which the name of a set stands.
var setOptionsOfRules = []string{"--match-set", "--add-set", "--del-set", "--map-set"}

// setMissing returns the place of a set that an iptables command names and that
// does not exist: the kernel then refuses the command.
func (s *shell) setMissing(words []field) (f field, missing bool) {
	for i := 0; i+1 < len(words); i++ {
		if slices.Contains(setOptionsOfRules, words[i].text) && (s.sets == nil || !s.sets.Has(words[i+1].text)) {
			return words[i+1], true
		}
	}
	return f, false
}

// setInUse returns the name of a set that a command names, or with no name of any
// set, and that a rule uses.
func (s *shell) setInUse(words []field) string {
	for _, session := range s.sessions {
		if session == nil {
			continue
		}
		for _, name := range session.ArgumentsOf(setOptionsOfRules...) {
			if len(words) < 2 || slices.ContainsFunc(words[1:], func(w field) bool { return w.text == name }) {
				return name
			}
		}
	}
	return ""
}
