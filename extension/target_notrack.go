package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("NOTRACK", func() iptables.Target { return new(notrackTarget) }) }

var (
	_ iptsim.Doing         = (*notrackTarget)(nil)
	_ translate.Translator = (*notrackTarget)(nil)
	_ translate.Collector  = (*notrackTarget)(nil)
	_ iptables.Validator   = (*notrackTarget)(nil)
)

// notrackTarget is "-j NOTRACK": the packet is exempted from connection
// tracking and goes on.
//
// Kernel: net/netfilter/xt_CT.c, notrack_tg.
type notrackTarget struct{}

func (*notrackTarget) Name() string { return "NOTRACK" }

func (*notrackTarget) Options() iptables.Options { return nil }

func (*notrackTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "NOTRACK", "raw", 0)
}

func (*notrackTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.Notrack{}}, Then: predicate.Continue}
}

func (*notrackTarget) Translate(r *translate.Rule) error {
	r.Add(nftgen.Notrack{})
	return nil
}

// Collect notes that packets are exempted.
func (*notrackTarget) Collect(s *translate.Shared, c iptables.Context) error {
	*exempts(s, c.Family) = true
	return nil
}
