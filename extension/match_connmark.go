package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("connmark", func() iptables.Match { return new(connmarkMatch) }) }

var (
	_ iptsim.Meaning       = (*connmarkMatch)(nil)
	_ translate.Translator = (*connmarkMatch)(nil)
)

// connmarkMatch is "-m connmark": the mark of the connection, masked, is a
// value. Without a connection it does not match, negated or not.
//
// Kernel: net/netfilter/xt_connmark.c, connmark_mt.
type connmarkMatch struct {
	Mark iptables.Opt[iptables.MarkMask]
}

func (*connmarkMatch) Name() string { return "connmark" }

func (m *connmarkMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("mark", &m.Mark, iptables.Required|iptables.Invertible),
	}
}

func (m *connmarkMatch) Meaning(iptables.Context) predicate.Meaning {
	field := predicate.Field{ID: predicate.CTMark}
	var p predicate.Predicate = predicate.Masked{
		Field: field,
		Mask:  predicate.Number(uint64(m.Mark.Value.Mask)),
		Value: predicate.Number(uint64(m.Mark.Value.Value)),
	}
	if m.Mark.Negated {
		p = predicate.Not{P: p}
	}
	return predicate.Meaning{Match: predicate.All{predicate.Present{Field: field}, p}}
}

// Translate adds a load of "ct mark", which ends the rule when there is no
// connection.
func (m *connmarkMatch) Translate(r *translate.Rule) error {
	if err := aboutTemplate(r); err != nil {
		return err
	}
	if m.Mark.Value.Mask == 0 || m.Mark.Value.Value&^m.Mark.Value.Mask != 0 {
		addTracked(r)
	}
	addMarkTest(r, nftgen.CTMark, m.Mark.Value, m.Mark.Negated)
	return nil
}

// addTracked adds the test that the packet belongs to a connection. Every mark
// is at least 0; the load ends the rule when there is no mark to load.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_get_eval.
func addTracked(r *translate.Rule) {
	r.Add(nftgen.Compare{Field: nftgen.CTMark, Op: nftgen.Ge, Value: wide32(0)})
}
