package extension

import (
	"fmt"
	"math"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "mh", func() iptables.Match { return new(mhMatch) }) }

var (
	_ iptsim.Meaning       = (*mhMatch)(nil)
	_ translate.Translator = (*mhMatch)(nil)
	_ iptables.Validator   = (*mhMatch)(nil)
)

// protocolMobility is the number of the mobility header (RFC 6275, section 6.1).
const protocolMobility = 135

// mhMatch is "-m mh": the type of the mobility header lies in a span.
//
// Later fragments never match. A packet with less than 6 bytes of the header, or
// with something behind it, is dropped on the spot.
//
// Kernel: net/ipv6/netfilter/ip6t_mh.c.
type mhMatch struct {
	Type iptables.Opt[mobilityTypes]
}

// A mobilityTypes is a span of types, which are numbers or names. That of all is
// not printed.
type mobilityTypes struct{ Low, High uint8 }

// mobilityNames are the names of the types from 0 on, and other spellings.
var mobilityNames = [][]string{
	{"binding-refresh-request", "brr"}, {"home-test-init", "hoti"}, {"careof-test-init", "coti"}, {"home-test", "hot"},
	{"careof-test", "cot"}, {"binding-update", "bu"}, {"binding-acknowledgement", "ba"}, {"binding-error", "be"},
}

func mobilityNumber(arg string) (uint8, error) {
	for i, names := range mobilityNames {
		for _, n := range names {
			if strings.EqualFold(n, arg) {
				return uint8(i), nil
			}
		}
	}
	n, err := iptables.ParseNumber(arg, math.MaxUint8)
	return uint8(n), err
}

// Set reads a type or a span of types that is not reversed.
func (t *mobilityTypes) Set(arg string) (err error) {
	first, second, two := strings.Cut(arg, ":")
	*t = mobilityTypes{0, math.MaxUint8}
	if first != "" || !two {
		if t.Low, err = mobilityNumber(first); err != nil {
			return err
		}
	}
	switch {
	case !two:
		t.High = t.Low
	case second != "":
		if t.High, err = mobilityNumber(second); err != nil {
			return err
		}
	}
	if t.Low > t.High {
		return fmt.Errorf("the span %q is reversed: write the lower type first", arg)
	}
	return nil
}

// String returns "low" or "low:high".
func (t *mobilityTypes) String() string {
	if t.Low == t.High {
		return fmt.Sprint(t.Low)
	}
	return fmt.Sprintf("%d:%d", t.Low, t.High)
}

// IsDefault reports whether the span holds every type.
func (t *mobilityTypes) IsDefault() bool { return t.Low == 0 && t.High == math.MaxUint8 }

func (*mhMatch) Name() string { return "mh" }

func (m *mhMatch) Options() iptables.Options {
	return iptables.Options{iptables.Bind("mh-type", &m.Type, iptables.Invertible)}
}

func (*mhMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "mh", protocolMobility)
}

func (m *mhMatch) Meaning(iptables.Context) predicate.Meaning {
	const size, typeAt, noNext = 6, 2, 59
	behind := predicate.Field{ID: predicate.TransportByte}
	match := predicate.All{firstFragment()}
	if m.Type.Present {
		match = append(match, negatedIf(m.Type.Negated, predicate.Between{
			Field: predicate.Field{ID: predicate.TransportByte, Arg: typeAt},
			Low:   predicate.Number(uint64(m.Type.Value.Low)),
			High:  predicate.Number(uint64(m.Type.Value.High)),
		}))
	}
	return predicate.Meaning{
		Hotdrop: predicate.Any{
			truncated(size),
			predicate.All{firstFragment(), predicate.Not{P: predicate.Equal(behind, predicate.Number(noNext))}},
		},
		Match: match,
	}
}

func (m *mhMatch) Translate(r *translate.Rule) error {
	low, high := m.Type.Value.Low, m.Type.Value.High
	switch all := low == 0 && high == math.MaxUint8; {
	case m.Type.Present && all && m.Type.Negated:
		r.Never()
	case !m.Type.Present, all:
		r.Add(nftgen.Exists{Field: nftgen.IP6Mobility})
	default:
		r.Add(spanTest(nftgen.IP6MobilityType, nftgen.Value{low}, nftgen.Value{high}, m.Type.Negated))
	}
	return nil
}
