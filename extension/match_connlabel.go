package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("connlabel", func() iptables.Match { return new(connlabelMatch) }) }

var (
	_ iptsim.Meaning       = (*connlabelMatch)(nil)
	_ translate.Translator = (*connlabelMatch)(nil)
	_ translate.Collector  = (*connlabelMatch)(nil)
)

// connlabelMatch is "-m connlabel": the packet's connection has a label, or with
// Set, gets it now. It has none without a connection, and when the connection is
// older than the first rule about labels.
//
// Kernel: net/netfilter/xt_connlabel.c.
type connlabelMatch struct {
	Label iptables.Opt[connLabel]
	Set   iptables.Opt[iptables.Flag]
}

func (*connlabelMatch) Name() string { return "connlabel" }

func (m *connlabelMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("label", &m.Label, iptables.Required|iptables.Invertible),
		iptables.Bind("set", &m.Set, 0),
	}
}

// A connLabel is the number of a label.
type connLabel uint8

// Set reads a number. What a name stands for, a file of the machine says.
func (l *connLabel) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 127)
	if err != nil {
		if arg != "" && (arg[0] < '0' || arg[0] > '9') {
			return fmt.Errorf("%q is a name, and what it means depends on the machine; write the number that /etc/xtables/connlabel.conf gives it", arg)
		}
		return err
	}
	*l = connLabel(n)
	return nil
}

// String writes the number in quotes, as the tool does.
func (l *connLabel) String() string { return fmt.Sprintf("%q", fmt.Sprint(uint8(*l))) }

func (m *connlabelMatch) Meaning(iptables.Context) predicate.Meaning {
	bit := uint8(m.Label.Value)
	meaning := predicate.Meaning{}
	var p predicate.Predicate = predicate.Present{Field: predicate.Field{ID: predicate.CTLabel, Arg: uint32(bit)}}
	if m.Set.Present {
		p = predicate.SetLabel{Bit: bit}
	}
	meaning.Match = negatedIf(m.Label.Negated, p)
	return meaning
}

type connlabelKey struct{}

// Collect adds a rule that sets a label and is never run: only such rules of
// nf_tables make connections have room for labels, which others, such as the
// conntrack tool, may set too.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_set_init; nf_conntrack_labels.c.
func (*connlabelMatch) Collect(s *translate.Shared, _ iptables.Context) error {
	translate.Value(s, connlabelKey{}, func() *nftgen.Chain {
		return s.AddChain(&nftgen.Chain{
			Name: "room_for_labels", Rules: []*nftgen.Rule{{Stmts: []nftgen.Stmt{nftgen.SetLabel{}}}},
			Note: "Never run. That there is a rule that sets a label gives connections room for labels.",
		})
	})
	return nil
}

// Translate tests for the label, which with Set is there when it could be set.
func (m *connlabelMatch) Translate(r *translate.Rule) error {
	if err := aboutTemplate(r); err != nil {
		return err
	}
	bit := uint8(m.Label.Value)
	var stmts []nftgen.Stmt
	if m.Set.Present {
		stmts = append(stmts, nftgen.SetLabel{Bit: bit})
	}
	stmts = append(stmts, nftgen.HasLabel{Bit: bit})
	if !m.Label.Negated {
		r.Add(stmts...)
		return nil
	}
	r.Branch(translate.Branch{Rows: []translate.Row{{Stmts: stmts, Then: translate.Fail}}, Otherwise: translate.Match})
	return nil
}
