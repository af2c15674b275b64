package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("MASQUERADE", func() iptables.Target { return new(masqueradeTarget) }) }

var (
	_ iptsim.Doing         = (*masqueradeTarget)(nil)
	_ translate.Translator = (*masqueradeTarget)(nil)
	_ iptables.Validator   = (*masqueradeTarget)(nil)
)

// masqueradeTarget is "-j MASQUERADE": the source becomes the address of the
// outgoing interface.
//
// Kernel: net/netfilter/xt_MASQUERADE.c, net/netfilter/nf_nat_masquerade.c.
type masqueradeTarget struct {
	Ports      iptables.Opt[unshiftedPorts]
	Random     iptables.Opt[iptables.Flag]
	FullRandom iptables.Opt[iptables.Flag]
}

func (*masqueradeTarget) Name() string { return "MASQUERADE" }

func (t *masqueradeTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("to-ports", &t.Ports, 0),
		iptables.Bind("random", &t.Random, 0),
		iptables.Bind("random-fully", &t.FullRandom, 0),
	}
}

func (t *masqueradeTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "MASQUERADE", "nat", iptables.Postrouting)
	if t.Ports.Present {
		problems = append(problems, portsNeedProtocol(c, "MASQUERADE")...)
	}
	return problems
}

func (t *masqueradeTarget) Action(iptables.Context) predicate.Action {
	nat := predicate.NAT{Dynamic: "masquerade", Flags: natRandomFlags(t.Random.Present, t.FullRandom.Present, false)}
	return natAction(nat, t.Ports.Present, portRange(t.Ports.Value))
}

func (t *masqueradeTarget) Translate(r *translate.Rule) error {
	s := nftgen.Masquerade{Flags: nftgen.NATFlags{Random: t.Random.Present, FullyRandom: t.FullRandom.Present}}
	if t.Ports.Present {
		var err error
		if s.Protocol, err = mappedPorts(r, portRange(t.Ports.Value), t.Ports.Range); err != nil {
			return err
		}
		s.LowPort, s.HiPort, s.FromZero = t.Ports.Value.Low, t.Ports.Value.High, t.Ports.Value.Low == 0
	}
	r.Add(s)
	return nil
}
