package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("physdev", func() iptables.Match { return new(physdevMatch) }) }

var (
	_ iptsim.Meaning       = (*physdevMatch)(nil)
	_ translate.Translator = (*physdevMatch)(nil)
	_ iptables.Validator   = (*physdevMatch)(nil)
)

// physdevMatch is "-m physdev": the ports of a bridge by which a bridged packet came
// and will leave. Of a packet that no bridge hands to iptables only negated options
// hold.
//
// Kernel: net/netfilter/xt_physdev.c.
type physdevMatch struct {
	IsIn, IsOut, Bridged iptables.Opt[iptables.Flag]
	In, Out              iptables.Opt[iptables.Interface]
}

func (*physdevMatch) Name() string { return "physdev" }

func (m *physdevMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("physdev-is-in", &m.IsIn, iptables.Invertible),
		iptables.Bind("physdev-in", &m.In, iptables.Invertible),
		iptables.Bind("physdev-is-out", &m.IsOut, iptables.Invertible),
		iptables.Bind("physdev-out", &m.Out, iptables.Invertible),
		iptables.Bind("physdev-is-bridged", &m.Bridged, iptables.Invertible),
	}
}

func (m *physdevMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if !m.IsIn.Present && !m.IsOut.Present && !m.Bridged.Present && !m.In.Present && !m.Out.Present {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "match physdev needs an option",
			Detail:  "Give at least one of --physdev-in, --physdev-out, --physdev-is-in, --physdev-is-out and --physdev-is-bridged.",
		})
	}
	if (m.Out.Present || m.IsOut.Present) && (!m.Bridged.Present || m.Bridged.Negated) && c.Hooks&iptables.Output != 0 {
		problems = append(problems, iptables.Problem{
			Code:    "invalid-hook",
			Summary: "match physdev is not valid in this chain",
			Detail:  fmt.Sprintf("In OUTPUT the kernel does not know the port by which a packet leaves; chain %s is reached from there.", c.Chain),
		})
	}
	return problems
}

// Meaning knows no host with a bridge.
func (m *physdevMatch) Meaning(iptables.Context) predicate.Meaning {
	holds := true
	for _, o := range []struct{ present, negated bool }{
		{m.IsIn.Present, m.IsIn.Negated}, {m.IsOut.Present, m.IsOut.Negated}, {m.Bridged.Present, m.Bridged.Negated},
		{m.In.Present, m.In.Negated}, {m.Out.Present, m.Out.Negated},
	} {
		holds = holds && (!o.present || o.negated)
	}
	return predicate.Meaning{Match: predicate.Const(holds), Unproven: predicate.Const(true)}
}

// Translate has no form: of a packet that a bridge hands to a table of IP, nf_tables
// knows the bridge and not the port.
func (*physdevMatch) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-match",
		Summary: "match physdev has no nftables counterpart",
		Detail: "The ports of a bridge are known in tables of the family bridge only, which see other packets at other places. " +
			"Write the rule for such a table by hand (iifname and oifname there are ports); on a host without bridges, take the rule out, or where all options are negated, the match.",
	}
}
