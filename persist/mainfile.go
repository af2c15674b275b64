package persist

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A statement is one of the outermost level of a ruleset's text.
type statement struct {
	line int    // of its first word, from 0
	last int    // of its last
	text string // words, up to a brace, with single spaces
}

// statements finds those of the outermost level. Comments and what stands in
// braces or quotes is passed over; a quoted word stays a part of its statement. A
// line that ends in a backslash goes on with the next.
func statements(text string) (list []statement) {
	var words strings.Builder
	depth, start, line := 0, 0, 0
	end := func() {
		if s := strings.Join(strings.Fields(words.String()), " "); s != "" {
			list = append(list, statement{start, line, s})
		}
		words.Reset()
	}
	quoted, comment := false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\n':
			comment = false
			if i > 0 && text[i-1] == '\\' {
				words.WriteByte(' ')
			} else if depth == 0 && !quoted {
				end()
			}
			line++
			continue
		case comment:
			continue
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '#':
			comment = true
			continue
		case c == '{':
			depth++
		case c == '}':
			depth = max(0, depth-1)
			if depth == 0 {
				end()
			}
			continue
		case c == ';' && depth == 0:
			end()
			continue
		case c == '\\':
			continue
		}
		if depth == 0 {
			if strings.TrimSpace(words.String()) == "" {
				start = line
			}
			words.WriteByte(c)
		}
	}
	end()
	return list
}

var (
	tableStatement   = regexp.MustCompile(`^(?:add |create )?table (?:(ip|ip6|inet|arp|bridge|netdev) )?([A-Za-z][A-Za-z0-9_/.\\-]*)$`)
	includeStatement = regexp.MustCompile(`^include "([^"]+)"$`)
	harmless         = regexp.MustCompile(`^(?:define|redefine|undefine|delete table|flush table|destroy table) `)
)

// editMain makes the main file of nftables include the rules, and no longer remove
// what belongs to others. own is "" when there is nothing to include. It returns
// what has to be told about it.
func (b *builder) editMain(file, text, own string) (edited string, told []string, err error) {
	list := statements(text)
	var flushes []statement
	for _, s := range list {
		if strings.HasPrefix(s.text, "flush ruleset") {
			flushes = append(flushes, s)
		}
	}
	if len(flushes) > 0 {
		tables, why := b.tables(list, 0)
		lines := strings.Split(text, "\n")
		if why == "" {
			for _, f := range flushes {
				if strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(stripComment(lines[f.line])), ";")) != "flush ruleset" {
					why = fmt.Sprintf("line %d has more than \"flush ruleset\"", f.line+1)
				}
			}
		}
		if why != "" {
			told = append(told, fmt.Sprintf("%s still says \"flush ruleset\" (%s), so reloading it removes the tables of all other programs, as it always did.", file, why))
		} else {
			for i, f := range flushes {
				with := []string{"# flush ruleset (it removed the tables of other programs, too)"}
				if i == 0 {
					for _, t := range tables {
						with = append(with, "table "+t, "delete table "+t)
					}
				}
				lines[f.line] = strings.Join(with, "\n")
			}
			text = strings.Join(lines, "\n")
			what := "nothing, because it declares no table"
			if len(tables) > 0 {
				what = "the deletion of the tables that it declares: " + strings.Join(tables, ", ")
			}
			told = append(told, fmt.Sprintf("\"flush ruleset\" in %s removed the tables of all other programs. It is replaced by %s.", file, what))
		}
	}
	if own == "" || b.includes(list, own) {
		return text, told, nil
	}
	if text == "" {
		text = "#!" + b.nft + " -f\n"
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + "\n# The rules that were migrated from iptables.\ninclude \"" + own + "\"\n", told, nil
}

// stripComment takes a comment off a line without quotes.
func stripComment(line string) string {
	before, _, _ := strings.Cut(line, "#")
	return before
}

// tables are those that a text declares, included files as well. When that cannot
// be told, it says why.
func (b *builder) tables(list []statement, depth int) (tables []string, why string) {
	const most = 16 // as nft
	for _, s := range list {
		if m := tableStatement.FindStringSubmatch(s.text); m != nil {
			t := first(m[1], "ip") + " " + m[2]
			if !slices.Contains(tables, t) {
				tables = append(tables, t)
			}
			continue
		}
		if m := includeStatement.FindStringSubmatch(s.text); m != nil {
			if !filepath.IsAbs(m[1]) || depth > most {
				return nil, "it includes " + m[1]
			}
			for _, file := range b.glob(m[1]) {
				text, _, err := b.read(file)
				if err != nil {
					return nil, "it includes " + file + ", which cannot be read"
				}
				inner, why := b.tables(statements(text), depth+1)
				if why != "" {
					return nil, why
				}
				for _, t := range inner {
					if !slices.Contains(tables, t) {
						tables = append(tables, t)
					}
				}
			}
			continue
		}
		if s.text != "flush ruleset" && !harmless.MatchString(s.text) {
			return nil, fmt.Sprintf("it says %q", s.text)
		}
	}
	// The own table deletes itself.
	return slices.DeleteFunc(tables, func(t string) bool { return t == b.table() }), ""
}

// glob finds the files of an include below the root.
func (b *builder) glob(pattern string) (list []string) {
	dir, err := resolve(b.root, filepath.Dir(pattern), true)
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(b.root, dir))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if ok, _ := path.Match(filepath.Base(pattern), e.Name()); ok {
			list = append(list, filepath.Join(filepath.Dir(pattern), e.Name()))
		}
	}
	return list
}

// includes reports whether statements include a file.
func (b *builder) includes(list []statement, file string) bool {
	return slices.ContainsFunc(list, func(s statement) bool {
		m := includeStatement.FindStringSubmatch(s.text)
		if m == nil {
			return false
		}
		ok, _ := path.Match(m[1], file)
		return ok
	})
}

// place chooses the file of the rules: where the main file includes whole
// directories from, and else beside it.
func (b *builder) place(main, text string) string {
	name := "nftmigrate" + b.extension()
	if b.rules.Batch == nil {
		for _, s := range statements(text) {
			if m := includeStatement.FindStringSubmatch(s.text); m != nil && plain.MatchString(filepath.Dir(m[1])) {
				if ok, _ := path.Match(filepath.Base(m[1]), name); ok {
					return filepath.Join(filepath.Dir(m[1]), name)
				}
			}
		}
	}
	if inside("/etc/sysconfig", main) && b.exists("/etc/nftables") {
		return "/etc/nftables/" + name
	}
	return "/etc/nftables.d/" + name
}
