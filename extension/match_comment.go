package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("comment", func() iptables.Match { return new(commentMatch) }) }

var (
	_ iptsim.Meaning       = (*commentMatch)(nil)
	_ translate.Translator = (*commentMatch)(nil)
)

// commentMatch is "-m comment": words for people; it always matches.
//
// Kernel: net/netfilter/xt_comment.c.
type commentMatch struct {
	Comment iptables.Opt[commentText]
}

func (*commentMatch) Name() string { return "comment" }

func (m *commentMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("comment", &m.Comment, iptables.Required),
	}
}

func (m *commentMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: predicate.Const(true)}
}

func (m *commentMatch) Translate(r *translate.Rule) error {
	r.Comment(string(m.Comment.Value))
	return nil
}

// commentMax is how many bytes of a comment the kernel keeps.
//
// Kernel: include/uapi/linux/netfilter/xt_comment.h, XT_MAX_COMMENT_LEN less
// the terminating zero.
const commentMax = 255

// A commentText is the argument of "--comment", cut to what the kernel keeps.
type commentText string

// Set reads a comment.
func (c *commentText) Set(arg string) error {
	*c = commentText(arg[:min(len(arg), commentMax)])
	return nil
}

// String writes the comment with the quotes of iptables-save.
func (c *commentText) String() string { return iptables.Quote(string(*c)) }
