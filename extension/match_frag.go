package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "frag", func() iptables.Match { return new(fragMatch) }) }

var (
	_ iptsim.Meaning       = (*fragMatch)(nil)
	_ translate.Translator = (*fragMatch)(nil)
	_ iptables.Validator   = (*fragMatch)(nil)
)

// fragMatch is "-m frag": what the fragment header of IPv6 says. Length is kept
// and printed, and looked at by nobody.
//
// Kernel: net/ipv6/netfilter/ip6t_frag.c.
type fragMatch struct {
	ID                          iptables.Opt[allSpan]
	Length                      iptables.Opt[iptables.U32]
	Reserved, First, More, Last iptables.Opt[iptables.Flag]
}

func (*fragMatch) Name() string { return "frag" }

func (m *fragMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("fragid", &m.ID, iptables.Invertible),
		iptables.Bind("fraglen", &m.Length, iptables.Invertible),
		iptables.Bind("fragres", &m.Reserved, 0),
		iptables.Bind("fragfirst", &m.First, 0),
		iptables.Bind("fragmore", &m.More, 0),
		iptables.Bind("fraglast", &m.Last, 0),
	}
}

// Validate refuses what the tool refuses.
func (m *fragMatch) Validate(iptables.Context) []iptables.Problem {
	if !m.More.Present || !m.Last.Present {
		return nil
	}
	return []iptables.Problem{{
		Code:    "invalid-combination",
		Summary: "--fragmore and --fraglast exclude each other",
		Detail:  "A fragment is the last one when no more follow. Give one of them.",
		Range:   m.Last.Range,
	}}
}

func (m *fragMatch) Meaning(iptables.Context) predicate.Meaning {
	const lastByte = 3
	var tests predicate.All
	flags := func(o iptables.Opt[iptables.Flag], mask, value uint64) {
		if o.Present {
			tests = append(tests, predicate.Masked{
				Field: headerByte(headerFragment, lastByte), Mask: predicate.Number(mask), Value: predicate.Number(value),
			})
		}
	}
	if m.ID.Present {
		tests = append(tests, negatedIf(m.ID.Negated, predicate.Between{
			Field: predicate.Field{ID: predicate.HeaderWord, Arg: predicate.Header(headerFragment, 4)},
			Low:   predicate.Number(uint64(m.ID.Value.Low)),
			High:  predicate.Number(uint64(m.ID.Value.High)),
		}))
	}
	if m.Reserved.Present {
		tests = append(tests, predicate.Equal(headerByte(headerFragment, 1), predicate.Number(0)))
	}
	flags(m.Reserved, 6, 0)
	if m.First.Present {
		tests = append(tests, predicate.Equal(headerByte(headerFragment, 2), predicate.Number(0)))
	}
	flags(m.First, 0xf8, 0)
	flags(m.More, 1, 1)
	flags(m.Last, 1, 0)
	return headerMeaning(headerFragment, tests)
}

func (m *fragMatch) Translate(r *translate.Rule) error {
	r.Declare(translate.Deviation{Code: "ipv6-header-end", Detail: headerEnd})
	zero := func(f nftgen.Field) {
		r.Add(nftgen.Compare{Field: f, Op: nftgen.Eq, Value: make(nftgen.Value, f.Type.Bytes)})
	}
	addSpan(r, nftgen.IP6FragID, m.ID)
	if m.Reserved.Present {
		zero(nftgen.IP6FragReserved)
		zero(nftgen.IP6FragReserved2)
	}
	if m.First.Present {
		zero(nftgen.IP6FragOff)
	}
	switch {
	case m.More.Present:
		r.Add(nftgen.Compare{Field: nftgen.IP6FragMore, Op: nftgen.Eq, Value: nftgen.Value{1}})
	case m.Last.Present:
		zero(nftgen.IP6FragMore)
	case m.Reserved.Present, m.First.Present:
	case !m.ID.Present, m.ID.Value.Low > m.ID.Value.High:
		r.Add(nftgen.Exists{Field: nftgen.IP6Frag})
	case m.ID.Value.IsDefault():
		r.Add(nftgen.Exists{Field: nftgen.IP6Frag})
	}
	return nil
}
