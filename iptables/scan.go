package iptables

import "strings"

// Limits of iptables-restore.
const (
	// lineMax is the longest line without its end: a longer one is read as two.
	lineMax = 10239
	// tokenMax is the longest argument.
	tokenMax = 1023
	// tokensMax is the largest number of arguments on one line.
	tokensMax = 251
)

// A token is one argument of a line: its text without quotes, and the range of
// bytes it stands in, quotes included.
type token struct {
	text       string
	start, end int32
	quoted     bool
}

// A scanProblem is why a line cannot be split into arguments.
type scanProblem uint8

const (
	scanned scanProblem = iota
	unterminatedQuote
	longToken
	manyTokens
)

// isBlank reports whether c separates arguments.
func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// tokenize appends the arguments of a line to tokens. Its rules are those of
// iptables-restore: blanks separate; a double quote opens a quoted part, in
// which a backslash takes the next byte as it is, and the closing quote ends
// the argument; outside of quotes a backslash and a single quote are ordinary.
// base is the offset of line in the source. On a problem the token that has it
// is the last one.
func tokenize(tokens []token, line string, base int) ([]token, scanProblem) {
	for i := 0; i < len(line); {
		if isBlank(line[i]) {
			i++
			continue
		}
		t, next, problem := nextToken(line, i)
		t.start, t.end = int32(base+i), int32(base+next)
		tokens = append(tokens, t)
		if problem == scanned && len(tokens) > tokensMax {
			problem = manyTokens
		}
		if problem != scanned {
			return tokens, problem
		}
		i = next
	}
	return tokens, scanned
}

// nextToken reads the argument that starts at i, which is no blank, and returns
// where it ends.
func nextToken(line string, i int) (t token, end int, problem scanProblem) {
	end = i
	for end < len(line) && !isBlank(line[end]) && line[end] != '"' {
		end++
	}
	t.text = line[i:end]
	if end < len(line) && line[end] == '"' {
		first := end + 1
		n := strings.IndexAny(line[first:], `"\`)
		switch {
		case n < 0:
			return t, len(line), unterminatedQuote
		case line[first+n] == '"' && first == i+1:
			t.text, end = line[first:first+n], first+n+1
		default:
			text, taken, ok := unquote(line[first:])
			if !ok {
				return t, len(line), unterminatedQuote
			}
			t.text, end = t.text+text, first+taken
		}
		t.quoted = true
	}
	if len(t.text) > tokenMax {
		problem = longToken
	}
	return t, end, problem
}

// unquote reads a quoted part up to and including the closing quote, and
// returns how many bytes it took.
func unquote(s string) (text string, n int, ok bool) {
	var b strings.Builder
	for n < len(s) {
		switch c := s[n]; {
		case c == '"':
			return b.String(), n + 1, true
		case c == '\\' && n+1 < len(s):
			b.WriteByte(s[n+1])
			n += 2
		default:
			b.WriteByte(c)
			n++
		}
	}
	return "", n, false
}
