package scratch

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"nftmigrate/diag"
)

// place is the head of a message of nft: "FILE:LINE:FROM-TO: Error: text".
// Columns count bytes from 1, TO is inclusive.
//
// Source: the output of nft 1.0.6.
var place = regexp.MustCompile(`^\S+?:(\d+):(\d+)-(\d+): (Error|Warning): (.*)$`)

// parseMessages turns what nft prints into diagnostics about the source. A
// refusal that names no place becomes one diagnostic without a place.
func parseMessages(src *diag.Source, messages string, refused bool) diag.List {
	var list diag.List
	var rest []string
	for line := range strings.Lines(messages) {
		line = strings.TrimRight(line, "\r\n")
		m := place.FindStringSubmatch(line)
		if m == nil {
			rest = append(rest, line)
			continue
		}
		d := diag.Diagnostic{
			Severity: diag.Error, Class: diag.Invalid, Code: "nft-refused",
			Summary: "nft refuses this: " + m[5], Subject: sourceRange(src, m[1], m[2], m[3]),
		}
		if m[4] == "Warning" {
			d.Severity, d.Code, d.Summary = diag.Warning, "nft-warning", "nft warns: "+m[5]
		}
		d.Context = d.Subject
		list.Add(d)
	}
	if refused && !list.HasErrors() {
		list.Add(diag.Diagnostic{
			Severity: diag.Error, Class: diag.Invalid, Code: "nft-refused",
			Summary: "nft refuses the text", Detail: strings.TrimSpace(strings.Join(rest, "\n")),
		})
	}
	return list
}

// sourceRange returns the range of columns of a line, cut to what the source
// has. A place outside of the source is no place.
func sourceRange(src *diag.Source, line, from, to string) diag.Range {
	n, err := strconv.Atoi(line)
	start, fromErr := strconv.Atoi(from)
	end, toErr := strconv.Atoi(to)
	if err != nil || fromErr != nil || toErr != nil || n < 1 || start < 1 {
		return diag.Range{}
	}
	offset := 0
	for range n - 1 {
		i := bytes.IndexByte(src.Text[offset:], '\n')
		if i < 0 {
			return diag.Range{}
		}
		offset += i + 1
	}
	limit := offset + len(src.Line(n))
	return diag.Range{
		Source: src,
		Start:  int32(min(offset+start-1, limit)),
		End:    int32(min(max(offset+end, offset+start-1), limit)),
	}
}

// tooLong reports whether nft could not send its batch. Older nft only tries
// to force the size of its buffer, which user namespaces do not allow.
func tooLong(messages string) bool {
	return strings.Contains(messages, "Message too long")
}

// unfit returns a diagnostic for what nft must not see: each include of a
// text, and a zero byte, at which nft stops reading without a word. It reads
// as nft does: comments run to the end of the line, strings to the next quote.
func unfit(src *diag.Source) diag.List {
	var list diag.List
	text := src.Text
	if i := bytes.IndexByte(text, 0); i >= 0 {
		list.Add(diag.Diagnostic{
			Severity: diag.Error, Class: diag.Invalid, Code: "nft-zero-byte",
			Summary: "the text holds a zero byte",
			Detail:  "nft would ignore everything from there on. Remove it.",
			Subject: diag.Range{Source: src, Start: int32(i), End: int32(i + 1)},
		})
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '"':
			end := bytes.IndexByte(text[i+1:], '"')
			if end < 0 {
				i++ // not a string, then
			} else {
				i += end + 2
			}
		case isLetter(c):
			start := i
			for i < len(text) && isWord(text[i]) {
				i++
			}
			if string(text[start:i]) == "include" {
				list.Add(diag.Diagnostic{
					Severity: diag.Error, Class: diag.Unsupported, Code: "nft-include",
					Summary: "include is not supported here",
					Detail:  "The text is compiled on its own, so that it cannot read files. Put the included text in its place.",
					Subject: diag.Range{Source: src, Start: int32(start), End: int32(i)},
				})
			}
		default:
			i++
		}
	}
	return list
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

func isWord(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || strings.IndexByte("/-.", c) >= 0
}
