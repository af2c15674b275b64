package script

import (
	"bytes"
	"path"
	"strings"
)

// shells are the interpreters that a script names in its first line.
var shells = map[string]bool{"sh": true, "bash": true, "dash": true, "ash": true, "ksh": true, "zsh": true, "busybox": true}

// Recognise reports whether a text is a shell script, and not one of
// iptables-save, nft or ipset: it says so in its first line, or a line calls
// iptables before one opens a table.
func Recognise(text []byte) bool {
	first := true
	for raw := range bytes.Lines(text) { // most texts end in the first few
		line := strings.TrimSpace(string(raw))
		if interpreter, ok := strings.CutPrefix(line, "#!"); ok && first {
			for _, word := range strings.Fields(interpreter) {
				if shells[path.Base(word)] {
					return true
				}
			}
		}
		first = false
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '*' || strings.HasPrefix(line, ":") && len(line) > 1 && line[1] != ' ':
			return false
		case callsTool(line):
			return true
		}
	}
	return false
}

// callsTool reports whether a line of a script calls one of the tools, perhaps
// behind other commands or by a variable that is called like it.
func callsTool(line string) bool {
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t;&|()`\"'", r) })
	for i, word := range words {
		name := strings.Trim(word, "${}")
		switch {
		case tools[path.Base(name)] != 0:
			return i == 0 || !strings.HasPrefix(words[0], "-")
		case name != word && i == 0 && len(words) > 1 && strings.HasPrefix(words[1], "-"):
			return true
		}
	}
	return false
}
