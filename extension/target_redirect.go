package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("REDIRECT", func() iptables.Target { return new(redirectTarget) }) }

var (
	_ iptsim.Doing         = (*redirectTarget)(nil)
	_ translate.Translator = (*redirectTarget)(nil)
	_ iptables.Validator   = (*redirectTarget)(nil)
)

// redirectTarget is "-j REDIRECT": the destination becomes the host itself, by
// the address of the incoming interface, or loopback for local packets.
//
// Kernel: net/netfilter/xt_REDIRECT.c, net/netfilter/nf_nat_redirect.c.
type redirectTarget struct {
	Ports  iptables.Opt[unshiftedPorts]
	Random iptables.Opt[iptables.Flag]
}

func (*redirectTarget) Name() string { return "REDIRECT" }

func (t *redirectTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("to-ports", &t.Ports, 0),
		iptables.Bind("random", &t.Random, 0),
	}
}

func (t *redirectTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "REDIRECT", "nat", iptables.Prerouting|iptables.Output)
	if t.Ports.Present {
		problems = append(problems, portsNeedProtocol(c, "REDIRECT")...)
	}
	return problems
}

func (t *redirectTarget) Action(iptables.Context) predicate.Action {
	nat := predicate.NAT{Destination: true, Dynamic: "redirect", Flags: natRandomFlags(t.Random.Present, false, false)}
	return natAction(nat, t.Ports.Present, portRange(t.Ports.Value))
}

func (t *redirectTarget) Translate(r *translate.Rule) error {
	s := nftgen.Redirect{Flags: nftgen.NATFlags{Random: t.Random.Present}}
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
