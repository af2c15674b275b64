package extension

import (
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "ah", func() iptables.Match { return new(ah6Match) }) }

var (
	_ iptsim.Meaning       = (*ah6Match)(nil)
	_ translate.Translator = (*ah6Match)(nil)
)

// ah6Match is "-m ah" of IPv6: index, length in bytes and reserved bytes of the
// first authentication header. A length of 0 is not looked at.
//
// A packet with less than 12 bytes of the header, or less than the header claims,
// is dropped on the spot.
//
// Kernel: net/ipv6/netfilter/ip6t_ah.c. Older kernels than Linux 6.18.44 do not look
// at what the header claims.
type ah6Match struct {
	SPI      iptables.Opt[allSpan]
	Length   iptables.Opt[ahLength]
	Reserved iptables.Opt[iptables.Flag]
}

// An ahLength is a length in bytes. That of 0 is not printed.
type ahLength uint32

// Set reads a number.
func (l *ahLength) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, math.MaxUint32)
	*l = ahLength(n)
	return err
}

// String returns the number.
func (l *ahLength) String() string {
	n := iptables.U32(*l)
	return n.String()
}

// IsUnnegatedDefault reports whether the length is not looked at.
func (l *ahLength) IsUnnegatedDefault() bool { return *l == 0 }

func (*ah6Match) Name() string { return "ah" }

func (m *ah6Match) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("ahspi", &m.SPI, iptables.Invertible),
		iptables.Bind("ahlen", &m.Length, iptables.Invertible),
		iptables.Bind("ahres", &m.Reserved, 0),
	}
}

func (m *ah6Match) Meaning(iptables.Context) predicate.Meaning {
	const lengthAt, reservedAt, spiAt, size = 1, 2, 4, 12
	there := predicate.Present{Field: predicate.Field{ID: predicate.HeaderThere, Arg: predicate.Header(protocolAH, 0)}}
	cut := predicate.Not{P: predicate.Present{Field: headerByte(protocolAH, size-1)}}
	match := predicate.All{there}
	if m.SPI.Present {
		match = append(match, negatedIf(m.SPI.Negated, predicate.Between{
			Field: predicate.Field{ID: predicate.HeaderWord, Arg: predicate.Header(protocolAH, spiAt)},
			Low:   predicate.Number(uint64(m.SPI.Value.Low)),
			High:  predicate.Number(uint64(m.SPI.Value.High)),
		}))
	}
	if n := uint64(m.Length.Value); m.Length.Present && n != 0 {
		// In units of 4 bytes, without the first two.
		var is predicate.Predicate = predicate.Const(false)
		if n%4 == 0 && n >= 8 && n <= 257*4 {
			is = predicate.Equal(headerByte(protocolAH, lengthAt), predicate.Number(n/4-2))
		}
		match = append(match, negatedIf(m.Length.Negated, is))
	}
	if m.Reserved.Present {
		match = append(match,
			predicate.Equal(headerByte(protocolAH, reservedAt), predicate.Number(0)),
			predicate.Equal(headerByte(protocolAH, reservedAt+1), predicate.Number(0)))
	}
	return predicate.Meaning{
		Hotdrop: predicate.Any{headerCut(protocolAH), predicate.All{there, cut}},
		Match:   match,
		// Otherwise the header is there as a whole.
		Unproven: predicate.All{there, predicate.Not{P: predicate.Between{
			Field: predicate.Field{ID: predicate.TransportBytes}, Low: predicate.Number(4), High: predicate.Number(1 << 16),
		}}},
	}
}

// Translate tests the protocol first: nftables takes the first authentication
// header for it.
func (m *ah6Match) Translate(r *translate.Rule) error {
	r.Add(nftgen.Compare{Field: nftgen.MetaL4Proto, Op: nftgen.Eq, Value: nftgen.Value{protocolAH}})
	addSpan(r, nftgen.AHSPI, m.SPI)
	if bytes := uint32(m.Length.Value); m.Length.Present && bytes != 0 {
		units, rest := bytes/4, bytes%4
		switch {
		case rest == 0 && units >= 2 && units <= 257:
			r.Add(nftgen.Compare{Field: nftgen.AHLength, Op: comparison(m.Length.Negated), Value: nftgen.Value{byte(units - 2)}})
		case !m.Length.Negated:
			r.Never()
		}
	}
	if m.Reserved.Present {
		r.Add(nftgen.Compare{Field: nftgen.AHReserved, Op: nftgen.Eq, Value: nftgen.Value{0, 0}})
	}
	return nil
}
