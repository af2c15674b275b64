package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v4, "realm", func() iptables.Match { return new(realmMatch) }) }

var (
	_ iptsim.Meaning       = (*realmMatch)(nil)
	_ translate.Translator = (*realmMatch)(nil)
	_ iptables.Validator   = (*realmMatch)(nil)
)

// realmMatch is "-m realm": the realm of the packet's route, masked, is a value. A
// value with bits outside of the mask never matches.
//
// Kernel: net/netfilter/xt_realm.c.
type realmMatch struct {
	Realm iptables.Opt[realmNumber]
}

// A realmNumber is a number with an optional mask. Names are those of
// /etc/iproute2/rt_realms.
type realmNumber struct{ iptables.MarkMask }

// Set reads "value" or "value/mask".
func (n *realmNumber) Set(arg string) error {
	if err := n.MarkMask.Set(arg); err != nil {
		return fmt.Errorf("%w; write the number of a realm, names depend on the machine (/etc/iproute2/rt_realms)", err)
	}
	return nil
}

func (*realmMatch) Name() string { return "realm" }

func (m *realmMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("realm", &m.Realm, iptables.Required|iptables.Invertible),
	}
}

// Validate refuses chains that packets pass before they have a route.
func (m *realmMatch) Validate(c iptables.Context) []iptables.Problem {
	if c.Hooks&iptables.Prerouting == 0 {
		return nil
	}
	return []iptables.Problem{{
		Code:    "invalid-hook",
		Summary: "match realm is not valid in this chain",
		Detail:  fmt.Sprintf("Packets have no route yet in PREROUTING, from which chain %s is reached.", c.Chain),
	}}
}

func (m *realmMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: negatedIf(m.Realm.Negated, predicate.Masked{
		Field: predicate.Field{ID: predicate.Realm},
		Mask:  predicate.Number(uint64(m.Realm.Value.Mask)),
		Value: predicate.Number(uint64(m.Realm.Value.Value)),
	})}
}

func (m *realmMatch) Translate(r *translate.Rule) error {
	addMarkTest(r, nftgen.MetaRealm, m.Realm.Value.MarkMask, m.Realm.Negated)
	return nil
}
