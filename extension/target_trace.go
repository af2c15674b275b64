package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("TRACE", func() iptables.Target { return new(traceTarget) }) }

var (
	_ iptsim.Doing         = (*traceTarget)(nil)
	_ translate.Translator = (*traceTarget)(nil)
	_ iptables.Validator   = (*traceTarget)(nil)
)

// traceTarget is "-j TRACE": the kernel reports each rule that the packet meets.
// The reports of nftables go to "nft monitor trace", not to the kernel log.
//
// Kernel: net/netfilter/xt_TRACE.c.
type traceTarget struct{}

func (*traceTarget) Name() string { return "TRACE" }

func (*traceTarget) Options() iptables.Options { return nil }

func (*traceTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "TRACE", "raw", 0)
}

func (*traceTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.Trace{}}, Then: predicate.Continue}
}

func (*traceTarget) Translate(r *translate.Rule) error {
	r.Add(nftgen.Trace{})
	return nil
}
