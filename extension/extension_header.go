package extension

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// Numbers of IPv6 extension headers (RFC 8200, section 4).
const (
	headerHopByHop = 0
	headerRouting  = 43
	headerFragment = 44
	headerDestOpts = 60
)

// headerMeaning is that of a match of an extension header: a packet that ends
// within the header, or before it is known whether there is one, is dropped on the
// spot.
//
// Kernel: net/ipv6/netfilter/ip6t_frag.c, ip6t_rt.c and ip6t_hbh.c, as of Linux
// 6.18.44. To the latter two of older kernels a packet that ends within the header
// has none.
func headerMeaning(number uint8, tests ...predicate.Predicate) predicate.Meaning {
	return predicate.Meaning{
		Hotdrop: headerCut(number),
		Match: append(predicate.All{
			predicate.Present{Field: predicate.Field{ID: predicate.HeaderWhole, Arg: predicate.Header(number, 0)}},
		}, tests...),
		Unproven: nothingBehind(),
	}
}

// headerCut holds for packets that end within an extension header, or before it is
// known whether there is one.
func headerCut(number uint8) predicate.Predicate {
	is := func(id predicate.FieldID) predicate.Predicate {
		return predicate.Present{Field: predicate.Field{ID: id, Arg: predicate.Header(number, 0)}}
	}
	return predicate.Any{is(predicate.HeaderLost), predicate.All{is(predicate.HeaderThere), predicate.Not{P: is(predicate.HeaderWhole)}}}
}

// wholeMeaning is a meaning that a proof compares in words.
func wholeMeaning(words string, m predicate.Meaning) predicate.Meaning {
	m.Match = predicate.Stateful{Instance: predicate.Whole{Words: words, Tests: m.Match}}
	m.Unproven = nil
	return m
}

// nothingBehind holds for packets of which nothing stands behind their headers.
func nothingBehind() predicate.Predicate {
	const most = 1 << 16
	return predicate.Not{P: predicate.Between{
		Field: predicate.Field{ID: predicate.TransportBytes}, Low: predicate.Number(1), High: predicate.Number(most),
	}}
}

// headerByte is a byte of an extension header.
func headerByte(number uint8, offset int) predicate.Field {
	return predicate.Field{ID: predicate.HeaderByte, Arg: predicate.Header(number, offset)}
}

// lengthMeaning compares the length of a header in bytes, which counts units of
// 8 bytes without the first; an option that was not given holds.
func lengthMeaning(number uint8, o iptables.Opt[iptables.U32]) predicate.Predicate {
	const unit, most = 8, 256 * 8
	if !o.Present {
		return predicate.Const(true)
	}
	var is predicate.Predicate = predicate.Const(false)
	if n := uint64(o.Value); n%unit == 0 && n >= unit && n <= most {
		is = predicate.Equal(headerByte(number, 1), predicate.Number(n/unit-1))
	}
	return negatedIf(o.Negated, is)
}

// headerEnd is what differs about packets that end within the header, or right
// behind it.
const headerEnd = "A packet that ends within the extension header is dropped by iptables, or does not match in older kernels; nftables reads what there is of the header. " +
	"A packet that ends before it is dropped by iptables."

// addLength adds the test of the length of a header in bytes, and reports whether
// the field is tested.
func addLength(r *translate.Rule, f nftgen.Field, o iptables.Opt[iptables.U32]) bool {
	if !o.Present {
		return false
	}
	units, rest := uint32(o.Value)/8, uint32(o.Value)%8
	if rest != 0 || units == 0 || units > 256 {
		if !o.Negated {
			r.Never()
		}
		return false
	}
	r.Add(nftgen.Compare{Field: f, Op: comparison(o.Negated), Value: nftgen.Value{byte(units - 1)}})
	return true
}
