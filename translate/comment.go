package translate

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"nftmigrate/diag"
)

// maxKernelComment is how many bytes nft takes in a comment (128 with its end).
const maxKernelComment = 127

// comment makes of the user's comments one that nft can hold. iptables allows 255
// bytes, quotes, and several comments: where the kernel's is not all of it, the
// text has all of it in comment lines above the rule.
func (t *translation) comment(r *Rule) {
	all := strings.Join(r.comments, "; ")
	r.comment = kernelComment(all)
	if r.comment == all {
		return
	}
	r.note = strings.Join(r.comments, "\n")
	where := r.Context.Rule.Range
	t.diags.Add(diag.Diagnostic{
		Severity: diag.Note,
		Code:     "comment-shortened",
		Summary:  "the kernel keeps a comment in another form",
		Detail: fmt.Sprintf("nft takes %d bytes without double quotes and control characters. The rule is loaded with %q; the whole comment stands in the text above it.",
			maxKernelComment, r.comment),
		Subject: where, Context: where,
	})
}

// kernelComment returns what nft can hold of a comment: other quotes, and an
// ellipsis where it is too long.
func kernelComment(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '"':
			return '\''
		case c < ' ' || c == 0x7f:
			return '?'
		}
		return c
	}, s)
	if len(s) <= maxKernelComment {
		return s
	}
	const more = "..."
	end := maxKernelComment - len(more)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + more
}
