package script

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"nftmigrate/diag"
)

// restore carries out iptables-restore with a here-document.
func (s *shell) restore(c *syntax.CallExpr, name string, words []field, r redirections) status {
	flush, counters := true, false
	for i := 0; i < len(words); i++ {
		switch option := words[i].text; option {
		case "-c", "--counters":
			counters = true
		case "-n", "--noflush":
			flush = false
		case "-v", "--verbose":
		case "-w", "--wait", "-W", "--wait-interval":
			if i+1 < len(words) && strings.Trim(words[i+1].text, "0123456789") == "" {
				i++
			}
		default:
			if !strings.HasPrefix(option, "-") {
				return s.file(c, name)
			}
			s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "shell-construct", Summary: "this option of " + name + " is not followed",
				Detail: "Followed are -c, -n, -v and -w. " + s.remedy(), Subject: s.at(words[i].start, words[i].end)})
			return s.lose(c)
		}
	}
	if r.document == nil {
		return s.file(c, name)
	}
	where, ok := s.document(r.document)
	if !ok {
		return s.lose(c)
	}
	o := s.session(familyOf(name)).Restore(where, flush, counters)
	s.tell(o)
	if o.Failed {
		return failed
	}
	return succeeded
}

// file reports that rules come from elsewhere.
func (s *shell) file(c *syntax.CallExpr, name string) status {
	s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "unknown-command", Summary: "what " + name + " reads is not here",
		Detail:  "The rules stand in another file, or come from another command. Translate that file instead, or write its rules into the script as a here-document: " + name + " <<'EOF' … EOF.",
		Subject: s.of(c)})
	return s.lose(c)
}

// document returns where a here-document stands, whose lines are read as they are.
func (s *shell) document(d *syntax.Redirect) (where diag.Range, ok bool) {
	if d.Hdoc == nil || len(d.Hdoc.Parts) == 0 {
		at := int(d.End().Offset())
		return s.at(at, at), true
	}
	where = s.of(d.Hdoc)
	text := where.Text()
	// The place may hold the line that ends the document.
	word, _ := s.text(d.Word)
	for _, line := range []string{"\n" + word, "\n" + word + "\n"} {
		if body, ok := strings.CutSuffix("\n"+text, line); ok && word != "" {
			text = strings.TrimPrefix(body+"\n", "\n")
			where.End = where.Start + int32(len(text))
			break
		}
	}
	quoted := len(d.Word.Parts) != 1 || d.Word.Lit() == "" || strings.Contains(d.Word.Lit(), `\`)
	if quoted {
		return where, true
	}
	for _, part := range d.Hdoc.Parts {
		if _, isLiteral := part.(*syntax.Lit); !isLiteral {
			s.construct(part, "a variable in a here-document", "Its text is read as it is written. Write the value, or write iptables commands instead.")
			return where, false
		}
	}
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '\\' && strings.IndexByte("$`\\\n", text[i+1]) >= 0 {
			at := int(where.Start) + i
			s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "shell-construct", Summary: "an escape in a here-document is not followed",
				Detail: "Quote the word that ends the document: <<'EOF'. Then its text means what is written.", Subject: s.at(at, at+2)})
			return where, false
		}
	}
	return where, true
}
