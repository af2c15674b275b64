package script

import (
	"bytes"
	"strings"
)

const (
	// openMax is how many brackets and keywords that open something a script
	// may have.
	openMax = 10_000
	// lineMax is how long a line may be, with those that it goes on in.
	lineMax = 256 << 10
	// expressionMax is how long a script may be that has expressions, which nest
	// by single bytes.
	expressionMax = 256 << 10
)

// openers are the words of the shell that may open a level.
var openers = map[string]bool{
	"if": true, "elif": true, "while": true, "until": true, "for": true, "case": true, "select": true, "function": true, "time": true, "coproc": true,
}

// tooDeep returns where a text has so much that opens a level that a parser
// could come to the end of its stack, or -1. It counts what may open one, and
// not what closes it again.
func tooDeep(text []byte) int {
	if len(text) > expressionMax {
		for _, opener := range []string{"[[", "((", "$[", "let "} {
			if at := bytes.Index(text, []byte(opener)); at >= 0 {
				return at
			}
		}
	}
	open, length, at := 0, 0, 0
	for line := range bytes.Lines(text) {
		open += openings(string(line))
		length += len(line)
		if open > openMax || length > lineMax {
			return at
		}
		if body := bytes.TrimRight(line, " \t\r\n"); len(body) == 0 || bytes.IndexByte([]byte(`\&|!`), body[len(body)-1]) < 0 {
			length = 0
		}
		at += len(line)
	}
	return -1
}

// openings counts what may open a level in a line. Variables in braces open
// none, and words of a comment neither.
func openings(line string) int {
	n := strings.Count(line, "(") + strings.Count(line, "`")
	for rest := line; ; {
		i := strings.IndexByte(rest, '{')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		if end := strings.IndexFunc(rest, func(r rune) bool { return r >= 0x80 || !isName("a"+string(r)) }); end < 0 || rest[end] != '}' {
			n++
		}
	}
	if strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") {
		return n
	}
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n;&|(){}`!\"'", r) }) {
		if openers[word] {
			n++
		}
	}
	return n
}
