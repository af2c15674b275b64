package extension

import (
	"fmt"
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("quota", func() iptables.Match { return new(quotaMatch) }) }

var (
	_ iptsim.Meaning       = (*quotaMatch)(nil)
	_ translate.Translator = (*quotaMatch)(nil)
)

// quotaMatch is "-m quota": the bytes that the rule has seen, those of the packet
// included, fit into a number.
//
// Kernel: net/netfilter/xt_quota.c.
type quotaMatch struct {
	Quota iptables.Opt[iptables.U64]
}

func (*quotaMatch) Name() string { return "quota" }

func (m *quotaMatch) Options() iptables.Options {
	return iptables.Options{iptables.Bind("quota", &m.Quota, iptables.Required|iptables.Invertible)}
}

func (m *quotaMatch) Meaning(iptables.Context) predicate.Meaning {
	var p predicate.Predicate = predicate.Stateful{Instance: predicate.Quota{Bytes: uint64(m.Quota.Value)}}
	const endless = 1 << 63 // as quota-endless declares
	if m.Quota.Value >= endless {
		p = predicate.All{}
	}
	if m.Quota.Negated {
		p = predicate.Not{P: p}
	}
	return predicate.Meaning{Match: p}
}

// Translate adds a quota. What was used of it is in neither save file. One that
// nf_tables cannot count is never used up: at 100 Gbit/s it lasts for 23 years.
//
// Kernel: net/netfilter/nft_quota.c.
func (m *quotaMatch) Translate(r *translate.Rule) error {
	if m.Quota.Value > math.MaxInt64 {
		r.Declare(translate.Deviation{
			Code:   "quota-endless",
			Detail: fmt.Sprintf("nftables counts up to %d bytes, which take 23 years at 100 Gbit/s. The quota is translated as one that is never used up.", uint64(math.MaxInt64)),
		})
		if m.Quota.Negated {
			r.Never()
		}
		return nil
	}
	r.Add(nftgen.Quota{Bytes: uint64(m.Quota.Value), Over: m.Quota.Negated})
	return nil
}
