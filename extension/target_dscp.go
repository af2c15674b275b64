package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("DSCP", func() iptables.Target { return new(dscpTarget) }) }

var (
	_ iptsim.Doing         = (*dscpTarget)(nil)
	_ translate.Translator = (*dscpTarget)(nil)
	_ iptables.Validator   = (*dscpTarget)(nil)
)

// dscpTarget is "-j DSCP": the class of differentiated services, the upper six
// bits of the type of service.
//
// Kernel: net/netfilter/xt_DSCP.c, dscp_tg.
type dscpTarget struct {
	Set iptables.Opt[codepoint]
}

func (*dscpTarget) Name() string { return "DSCP" }

func (t *dscpTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("set-dscp", &t.Set, iptables.Required),
		iptables.Rewrite("set-dscp-class", 1, 0, func(args []string, _ bool) ([]iptables.Replacement, error) {
			class, ok := dscpClasses[strings.ToUpper(args[0])]
			if !ok {
				return nil, fmt.Errorf("%q is no class, expected CS0-CS7, BE, AF11-AF43 or EF", args[0])
			}
			return []iptables.Replacement{{Name: "set-dscp", Args: []string{class.String()}}}, nil
		}),
	}
}

func (t *dscpTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "DSCP", "mangle", 0)
}

func (t *dscpTarget) Action(iptables.Context) predicate.Action {
	const congestion = 3
	return predicate.Action{
		Effects: []predicate.Effect{predicate.Assign{
			Field: predicate.Field{ID: predicate.TOS}, Keep: predicate.Number(congestion), Xor: predicate.Number(uint64(t.Set.Value) << 2),
		}},
		Then: predicate.Continue,
	}
}

func (t *dscpTarget) Translate(r *translate.Rule) error {
	field := nftgen.IPDSCP
	if r.Family == iptables.IPv6 {
		field = nftgen.IP6DSCP
	}
	r.Add(nftgen.SetField{Field: field, Value: nftgen.Value{byte(t.Set.Value)}})
	return nil
}
