package nftgen

import (
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// Xt is a match or target of xtables inside a rule of nf_tables, which the
// kernel's nft_compat runs. The language of nft has no words for one: only a
// batch can hold it, and the text shows its rule as a comment.
//
// Kernel: net/netfilter/nft_compat.c.
type Xt struct {
	Target   bool // else a match
	Name     string
	Revision uint8
	// Info is the structure of the extension as the kernel's headers declare
	// it, in the byte order of the host, filled up to whole words of 8 bytes.
	Info []byte
	// Text is the extension as iptables-save prints it: "-m string --algo bm …".
	Text string
	// Tracks says that the extension makes the kernel track connections.
	Tracks bool
	// Protocol is the one that the kernel wants the rule to name, 0 for any.
	Protocol uint8
}

var _ action = Xt{}

func (Xt) stmt()          {}
func (Xt) terminal() bool { return false }

// text shows the extension in the comment that stands for its rule.
func (s Xt) text(Family) string { return "xt(" + s.Text + ")" }

// compat is the protocol of the rule, which the kernel cannot read from its
// expressions. It is nil where no extension asks for one.
//
// Kernel: net/netfilter/nft_compat.c, nft_parse_compat.
func (r *Rule) compat() attributes {
	for _, s := range r.Stmts {
		if x, ok := s.(Xt); ok && x.Protocol != 0 {
			const protocol, flags = 1, 2 // NFTA_RULE_COMPAT_PROTO, NFTA_RULE_COMPAT_FLAGS
			var a attributes
			a.u32(protocol, uint32(x.Protocol))
			a.u32(flags, 0)
			return a
		}
	}
	return nil
}

// Limits of names and of structures.
//
// Kernel: include/uapi/linux/netfilter/x_tables.h, XT_EXTENSION_MAXNAMELEN and
// XT_ALIGN.
const (
	xtNameMax = 28
	xtAlign   = 8
)

func (s Xt) check() error {
	switch {
	case s.Name == "" || len(s.Name) > xtNameMax:
		return fmt.Errorf("write an extension of xtables: the name %q", s.Name)
	case len(s.Info)%xtAlign != 0:
		return fmt.Errorf("write the extension %s of xtables: %d bytes are no whole words", s.Name, len(s.Info))
	case s.Text == "":
		return fmt.Errorf("write the extension %s of xtables: there is no text to show", s.Name)
	}
	return nil
}

func (s Xt) compile(c *compiler) error {
	info := xt.Unknown(s.Info)
	var e expr.Any = &expr.Match{Name: s.Name, Rev: uint32(s.Revision), Info: &info}
	if s.Target {
		e = &expr.Target{Name: s.Name, Rev: uint32(s.Revision), Info: &info}
	}
	c.add(fromLibrary{e})
	return nil
}

// HasXt reports whether the rule has a match or target of xtables.
func (r *Rule) HasXt() bool {
	for _, s := range r.Stmts {
		if _, ok := s.(Xt); ok {
			return true
		}
	}
	return false
}

// XtRules counts the rules that only a batch can hold.
func (t *Table) XtRules() int {
	n := 0
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if r.HasXt() {
				n++
			}
		}
	}
	return n
}

// InText reports whether the text says all of the ruleset: no rule keeps an extension of
// xtables, which only the batch can hold.
func (rs *Ruleset) InText() bool {
	for _, t := range rs.Tables() {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if slices.ContainsFunc(r.Stmts, func(s Stmt) bool { _, kept := s.(Xt); return kept }) {
					return false
				}
			}
		}
	}
	return true
}
