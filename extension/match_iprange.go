package extension

import (
	"net/netip"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("iprange", func() iptables.Match { return new(iprangeMatch) }) }

var (
	_ iptsim.Meaning       = (*iprangeMatch)(nil)
	_ translate.Translator = (*iprangeMatch)(nil)
	_ iptables.Validator   = (*iprangeMatch)(nil)
)

// iprangeMatch is "-m iprange": the addresses lie in inclusive ranges. A range
// that is written the wrong way round is empty.
//
// Kernel: net/netfilter/xt_iprange.c.
type iprangeMatch struct {
	Source, Destination iptables.Opt[iptables.AddressRange]
}

func (*iprangeMatch) Name() string { return "iprange" }

func (m *iprangeMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("src-range", &m.Source, iptables.Invertible),
		iptables.Bind("dst-range", &m.Destination, iptables.Invertible),
	}
}

func (m *iprangeMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if !m.Source.Present && !m.Destination.Present {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: `match "iprange" needs a range`,
			Detail:  "Give --src-range or --dst-range.",
		})
	}
	for _, o := range []iptables.Opt[iptables.AddressRange]{m.Source, m.Destination} {
		if o.Present && o.Value.Low.Is4() != (c.Family == iptables.IPv4) {
			problems = append(problems, wrongFamily(c, o.Range))
		}
	}
	return problems
}

func (m *iprangeMatch) Meaning(iptables.Context) predicate.Meaning {
	var all predicate.All
	for _, o := range []struct {
		opt   iptables.Opt[iptables.AddressRange]
		field predicate.FieldID
	}{{m.Source, predicate.SrcAddr}, {m.Destination, predicate.DstAddr}} {
		if o.opt.Present {
			all = append(all, negatedIf(o.opt.Negated, predicate.Between{
				Field: predicate.Field{ID: o.field},
				Low:   predicate.Addr(o.opt.Value.Low),
				High:  predicate.Addr(o.opt.Value.High),
			}))
		}
	}
	return predicate.Meaning{Match: all}
}

func (m *iprangeMatch) Translate(r *translate.Rule) error {
	saddr, daddr := nftgen.IPSaddr, nftgen.IPDaddr
	if r.NFProto() == nftgen.IP6 {
		saddr, daddr = nftgen.IP6Saddr, nftgen.IP6Daddr
	}
	addRange(r, saddr, m.Source)
	addRange(r, daddr, m.Destination)
	return nil
}

func addRange(r *translate.Rule, f nftgen.Field, o iptables.Opt[iptables.AddressRange]) {
	if !o.Present {
		return
	}
	low, high := o.Value.Low, o.Value.High
	empty := high.Less(low)
	switch everything := low.IsUnspecified() && high == lastAddr(high); {
	case everything && o.Negated, empty && !o.Negated:
		r.Never()
	case everything, empty:
	default:
		r.Add(spanTest(f, low.AsSlice(), high.AsSlice(), o.Negated))
	}
}

// lastAddr is the highest address of the family of a.
func lastAddr(a netip.Addr) netip.Addr {
	b := a.AsSlice()
	for i := range b {
		b[i] = 0xff
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
