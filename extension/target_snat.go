package extension

import (
	"nftmigrate/diag"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTargetFor(v4, "SNAT", func() iptables.Target { return new(snat4Target) })
	registerTargetFor(v6, "SNAT", func() iptables.Target { return new(snat6Target) })
}

var (
	_ iptsim.Doing         = (*snat4Target)(nil)
	_ translate.Translator = (*snat4Target)(nil)
	_ iptables.Validator   = (*snat4Target)(nil)
	_ iptsim.Doing         = (*snat6Target)(nil)
	_ translate.Translator = (*snat6Target)(nil)
	_ iptables.Validator   = (*snat6Target)(nil)
)

// snatTarget is "-j SNAT": the connection gets a new source.
//
// Kernel: net/netfilter/xt_nat.c, xt_snat_target_v1; net/netfilter/nf_nat_core.c.
type snatTarget struct {
	Random     iptables.Opt[iptables.Flag]
	FullRandom iptables.Opt[iptables.Flag]
	Persistent iptables.Opt[iptables.Flag]
}

// snat4Target and snat6Target are SNAT of one family.
type (
	snat4Target struct {
		To iptables.Opt[natSource4]
		snatTarget
	}
	snat6Target struct {
		To iptables.Opt[natSource6]
		snatTarget
	}
)

// natSource4 and natSource6 are a natRange of SNAT, which iptables reads with a
// base port and then stores without it.
type (
	natSource4 struct{ natRange4 }
	natSource6 struct{ natRange6 }
)

// Set reads a range and forgets the base.
func (s *natSource4) Set(arg string) error {
	err := s.natRange4.Set(arg)
	s.Ports.Base = 0
	return err
}

// Set reads a range and forgets the base.
func (s *natSource6) Set(arg string) error {
	err := s.natRange6.Set(arg)
	s.Ports.Base = 0
	return err
}

func (*snatTarget) Name() string { return "SNAT" }

func (t *snatTarget) options() iptables.Options {
	return iptables.Options{
		iptables.Bind("random", &t.Random, 0),
		iptables.Bind("random-fully", &t.FullRandom, 0),
		iptables.Bind("persistent", &t.Persistent, 0),
	}
}

func (t *snat4Target) Options() iptables.Options {
	return append(iptables.Options{iptables.Bind("to-source", &t.To, iptables.Required)}, t.options()...)
}

func (t *snat6Target) Options() iptables.Options {
	return append(iptables.Options{iptables.Bind("to-source", &t.To, iptables.Required)}, t.options()...)
}

func (t *snat4Target) Validate(c iptables.Context) []iptables.Problem {
	return t.validate(c, t.To.Value.natRange)
}

func (t *snat6Target) Validate(c iptables.Context) []iptables.Problem {
	return t.validate(c, t.To.Value.natRange)
}

func (t *snatTarget) validate(c iptables.Context, to natRange) []iptables.Problem {
	problems := placement(c, "SNAT", "nat", iptables.Postrouting|iptables.Input)
	if to.HasPorts {
		problems = append(problems, portsNeedProtocol(c, "SNAT")...)
	}
	return problems
}

func (t *snat4Target) Action(iptables.Context) predicate.Action { return t.action(t.To.Value.natRange) }
func (t *snat6Target) Action(iptables.Context) predicate.Action { return t.action(t.To.Value.natRange) }

func (t *snatTarget) action(to natRange) predicate.Action {
	nat := natEffect(to)
	nat.Flags = natRandomFlags(t.Random.Present, t.FullRandom.Present, t.Persistent.Present)
	return natAction(nat, to.HasPorts, to.Ports)
}

func (t *snat4Target) Translate(r *translate.Rule) error {
	return t.translate(r, t.To.Value.natRange, t.To.Range)
}
func (t *snat6Target) Translate(r *translate.Rule) error {
	return t.translate(r, t.To.Value.natRange, t.To.Range)
}

func (t *snatTarget) translate(r *translate.Rule, to natRange, where diag.Range) error {
	return addNAT(r, to, where, nftgen.NAT{Flags: nftgen.NATFlags{
		Random: t.Random.Present, FullyRandom: t.FullRandom.Present, Persistent: t.Persistent.Present,
	}})
}
