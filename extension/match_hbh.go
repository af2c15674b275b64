package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "hbh", func() iptables.Match { return new(hbhMatch) }) }

var (
	_ iptsim.Meaning       = (*hbhMatch)(nil)
	_ translate.Translator = (*hbhMatch)(nil)
)

// hbhMatch is "-m hbh": the length in bytes of the header of hop-by-hop options of
// IPv6, and which options it begins with.
//
// Kernel: net/ipv6/netfilter/ip6t_hbh.c.
type hbhMatch struct {
	Length  iptables.Opt[iptables.U32]
	Content iptables.Opt[headerOptions]
}

func (*hbhMatch) Name() string { return "hbh" }

func (m *hbhMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("hbh-len", &m.Length, iptables.Invertible),
		iptables.Bind("hbh-opts", &m.Content, 0),
	}
}

func (m *hbhMatch) Meaning(iptables.Context) predicate.Meaning {
	tests := predicate.All{lengthMeaning(headerHopByHop, m.Length)}
	if m.Content.Present {
		tests = append(tests, optionsMeaning(headerHopByHop, m.Content.Value))
	}
	return headerMeaning(headerHopByHop, tests)
}

func (m *hbhMatch) Translate(r *translate.Rule) error {
	r.Declare(translate.Deviation{Code: "ipv6-header-end", Detail: headerEnd})
	if !addLength(r, nftgen.IP6HopByHopLength, m.Length) {
		r.Add(nftgen.Exists{Field: nftgen.IP6HopByHop})
	}
	if !m.Content.Present {
		return nil
	}
	most := optionsReach
	if m.Length.Present && !m.Length.Negated {
		most = min(most, int(m.Length.Value))
	}
	ways, ok := m.Content.Value.ways(most)
	if !ok {
		return &translate.Untranslatable{
			Summary: "--hbh-opts leaves too many places",
			Detail: fmt.Sprintf("Behind an option without a length, the next one can be anywhere. Each place becomes a rule, and at most %d are made. Give the lengths, "+
				"as in 5:2, or --hbh-len.", optionsWays),
			Range: m.Content.Range,
		}
	}
	r.Declare(translate.Deviation{
		Code:   "hbh-position",
		Detail: "xtables finds a header of hop-by-hop options behind others too, where none may be (RFC 8200, section 4.3). nftables looks right behind the IPv6 header.",
	})
	first := nftgen.Compare{Field: nftgen.IP6NextHeader, Op: nftgen.Eq, Value: nftgen.Value{headerNumberHopByHop}}
	branch := translate.Branch{Otherwise: translate.Fail}
	for _, w := range ways {
		const unit = 8
		long := nftgen.Compare{Field: nftgen.IP6HopByHopLength, Op: nftgen.Ge, Value: nftgen.Value{byte((w.end - 1) / unit)}}
		branch.Rows = append(branch.Rows, translate.Row{Stmts: append([]nftgen.Stmt{first, long}, w.tests...), Then: translate.Match})
	}
	if len(ways) == 1 {
		r.Add(branch.Rows[0].Stmts...)
		return nil
	}
	r.Branch(branch)
	return nil
}

// headerNumberHopByHop is the number by which the IPv6 header announces them.
const headerNumberHopByHop = 0
