package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("socket", func() iptables.Match { return new(socketMatch) }) }

var (
	_ iptsim.Meaning       = (*socketMatch)(nil)
	_ translate.Translator = (*socketMatch)(nil)
	_ iptables.Validator   = (*socketMatch)(nil)
)

// socketMatch is "-m socket": there is a local socket for the packet, which is not
// one that takes packets to any address, unless NoWildcard says that such count too.
// Transparent wants one that takes packets to foreign addresses. Restore gives the
// packet the socket's mark.
//
// Kernel: net/netfilter/xt_socket.c.
type socketMatch struct {
	Transparent, NoWildcard, Restore iptables.Opt[iptables.Flag]
}

func (*socketMatch) Name() string { return "socket" }

func (m *socketMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("transparent", &m.Transparent, 0),
		iptables.Bind("nowildcard", &m.NoWildcard, 0),
		iptables.Bind("restore-skmark", &m.Restore, 0),
	}
}

func (*socketMatch) Validate(c iptables.Context) []iptables.Problem {
	if outside := c.Hooks &^ (iptables.Prerouting | iptables.Input); outside != 0 {
		return []iptables.Problem{{
			Code:    "invalid-hook",
			Summary: "match socket is not valid in this chain",
			Detail:  fmt.Sprintf("The kernel takes it in PREROUTING and INPUT; chain %s is also reached from %s.", c.Chain, hookList(c.Table, outside)),
		}}
	}
	return nil
}

func (m *socketMatch) Meaning(iptables.Context) predicate.Meaning {
	present := func(id predicate.FieldID) predicate.Predicate {
		return predicate.Present{Field: predicate.Field{ID: id}}
	}
	all := predicate.All{present(predicate.Taker)}
	if !m.NoWildcard.Present {
		all = append(all, predicate.Not{P: present(predicate.TakerWildcard)})
	}
	if m.Transparent.Present {
		all = append(all, present(predicate.TakerTransparent))
	}
	meaning := predicate.Meaning{Match: all}
	if m.Restore.Present {
		meaning.Effects = append(meaning.Effects, predicate.Assign{
			Field: predicate.Field{ID: predicate.Mark}, From: predicate.Field{ID: predicate.TakerMark}, Take: predicate.Ones(32),
		})
	}
	return meaning
}

// Translate asks the socket. Whether it is transparent can be asked of every socket,
// also of one that waits for its end or is being made; whether it takes any address,
// and what its mark is, only of a whole one, and others have neither.
//
// Kernel: net/netfilter/nft_socket.c.
func (m *socketMatch) Translate(r *translate.Rule) error {
	there := nftgen.Compare{Field: nftgen.SocketTransparent, Op: nftgen.Le, Value: nftgen.Value{1}}
	if m.Transparent.Present {
		there.Op = nftgen.Eq
	}
	if m.NoWildcard.Present && !m.Restore.Present {
		r.Add(there)
		return nil
	}
	b := translate.Branch{Otherwise: translate.Fail}
	if !m.NoWildcard.Present {
		any := nftgen.Compare{Field: nftgen.SocketWildcard, Op: nftgen.Eq, Value: nftgen.Value{1}}
		b.Rows = append(b.Rows, translate.Row{Stmts: []nftgen.Stmt{any}, Then: translate.Fail})
	}
	if m.Restore.Present {
		mark := nftgen.SocketMark
		restore := nftgen.Assign{Field: nftgen.MetaMark, From: &mark}
		b.Rows = append(b.Rows, translate.Row{Stmts: []nftgen.Stmt{there, restore}, Then: translate.Match})
	}
	b.Rows = append(b.Rows, translate.Row{Stmts: []nftgen.Stmt{there}, Then: translate.Match})
	r.Branch(b)
	return nil
}
