package extension

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "rt", func() iptables.Match { return new(rtMatch) }) }

var (
	_ iptsim.Meaning       = (*rtMatch)(nil)
	_ translate.Translator = (*rtMatch)(nil)
	_ iptables.Validator   = (*rtMatch)(nil)
)

// rtMatch is "-m rt": type, segments left and length in bytes of the routing
// header of IPv6, and of type 0 what it holds.
//
// Kernel: net/ipv6/netfilter/ip6t_rt.c.
type rtMatch struct {
	Type                iptables.Opt[iptables.U8]
	Segments            iptables.Opt[allSpan]
	Length              iptables.Opt[iptables.U32]
	Reserved, NotStrict iptables.Opt[iptables.Flag]
	Addresses           iptables.Opt[rtAddresses]
}

// An rtAddresses is a list of up to 16 addresses of IPv6.
type rtAddresses []netip.Addr

// Set reads addresses with commas between them.
func (a *rtAddresses) Set(arg string) error {
	const most = 16
	*a = nil
	for part := range strings.SplitSeq(arg, ",") {
		addr, err := iptables.ParseAddr(part)
		if err != nil || !addr.Is6() {
			return fmt.Errorf("%q is not an address of IPv6", part)
		}
		*a = append(*a, addr)
	}
	if len(*a) > most {
		return fmt.Errorf("there are %d addresses, and at most %d are compared", len(*a), most)
	}
	return nil
}

// String returns the addresses.
func (a *rtAddresses) String() string {
	list := make([]string, len(*a))
	for i, addr := range *a {
		list[i] = addr.String()
	}
	return strings.Join(list, ",")
}

func (*rtMatch) Name() string { return "rt" }

func (m *rtMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("rt-type", &m.Type, iptables.Invertible),
		iptables.Bind("rt-segsleft", &m.Segments, iptables.Invertible),
		iptables.Bind("rt-len", &m.Length, iptables.Invertible),
		iptables.Bind("rt-0-res", &m.Reserved, 0),
		iptables.Bind("rt-0-addrs", &m.Addresses, 0),
		iptables.Bind("rt-0-not-strict", &m.NotStrict, 0),
	}
}

// Validate refuses options of type 0 without it.
func (m *rtMatch) Validate(iptables.Context) []iptables.Problem {
	zero := m.Type.Present && !m.Type.Negated && m.Type.Value == 0
	if m.NotStrict.Present && !m.Addresses.Present {
		return []iptables.Problem{{
			Code:    "missing-option",
			Summary: "--rt-0-not-strict needs addresses",
			Detail:  "It says how --rt-0-addrs compares.",
		}}
	}
	if zero || !m.Reserved.Present && !m.Addresses.Present {
		return nil
	}
	return []iptables.Problem{{
		Code:    "missing-option",
		Summary: "the options --rt-0 need --rt-type 0",
		Detail:  "The kernel refuses the rule. Give --rt-type 0, without negation.",
	}}
}

func (m *rtMatch) Meaning(iptables.Context) predicate.Meaning {
	const typeAt, segmentsAt = 2, 3
	var tests predicate.All
	if m.Type.Present {
		is := predicate.Equal(headerByte(headerRouting, typeAt), predicate.Number(uint64(m.Type.Value)))
		tests = append(tests, negatedIf(m.Type.Negated, is))
	}
	if m.Segments.Present {
		tests = append(tests, negatedIf(m.Segments.Negated, predicate.Between{
			Field: headerByte(headerRouting, segmentsAt),
			Low:   predicate.Number(uint64(m.Segments.Value.Low)),
			High:  predicate.Number(uint64(m.Segments.Value.High)),
		}))
	}
	tests = append(tests, lengthMeaning(headerRouting, m.Length))
	if m.Reserved.Present {
		const reservedAt = 4
		field := predicate.Field{ID: predicate.HeaderWord, Arg: predicate.Header(headerRouting, reservedAt)}
		tests = append(tests, predicate.Equal(field, predicate.Number(0)))
	}
	if m.Addresses.Present {
		tests = append(tests, predicate.Stateful{Instance: predicate.RouteAddresses{List: m.Addresses.Value, Among: m.NotStrict.Present}})
		return wholeMeaning(m.words(), headerMeaning(headerRouting, tests))
	}
	return headerMeaning(headerRouting, tests)
}

func (m *rtMatch) Translate(r *translate.Rule) error {
	if m.Addresses.Present {
		if u := m.refusal(); u != nil {
			return u
		}
	}
	r.Declare(translate.Deviation{Code: "ipv6-header-end", Detail: headerEnd})
	tested := false
	if m.Type.Present {
		r.Add(nftgen.Compare{Field: nftgen.IP6RoutingType, Op: comparison(m.Type.Negated), Value: nftgen.Value{byte(m.Type.Value)}})
		tested = true
	}
	if m.Segments.Present {
		low, high := m.Segments.Value.Low, min(m.Segments.Value.High, math.MaxUint8)
		all := low == 0 && high == math.MaxUint8
		switch none := low > high; {
		case none && !m.Segments.Negated, all && m.Segments.Negated:
			r.Never()
		case none, all:
		default:
			r.Add(spanTest(nftgen.IP6SegmentsLeft, nftgen.Value{byte(low)}, nftgen.Value{byte(high)}, m.Segments.Negated))
			tested = true
		}
	}
	tested = addLength(r, nftgen.IP6RoutingLength, m.Length) || tested
	if !tested {
		r.Add(nftgen.Exists{Field: nftgen.IP6Routing})
	}
	if m.Reserved.Present {
		for _, f := range []nftgen.Field{nftgen.IP6SegmentLastEntry, nftgen.IP6SegmentFlags, nftgen.IP6SegmentTag} {
			r.Add(nftgen.Compare{Field: f, Op: nftgen.Eq, Value: make(nftgen.Value, f.Type.Bytes)})
		}
	}
	if m.Addresses.Present {
		m.addAddresses(r)
	}
	return nil
}

// room is how many addresses a header can have, as far as the rule says.
func (m *rtMatch) room() int {
	const most, before, address = 127, 8, 16
	switch {
	case !m.NotStrict.Present:
		return len(m.Addresses.Value)
	case m.Length.Present && !m.Length.Negated:
		return min(max(int(m.Length.Value)-before, 0)/address, most)
	}
	return most
}

// refusal refuses addresses that nft has no names for.
func (m *rtMatch) refusal() *translate.Untranslatable {
	if m.room() <= nftgen.MostSegments {
		return nil
	}
	return &translate.Untranslatable{
		Summary: "--rt-0-addrs looks at addresses without a name",
		Detail: fmt.Sprintf("nft has names for the first %d addresses of a routing header, and the rule looks at up to %d. Such headers are not to be used any more "+
			"(RFC 5095): drop them all with --rt-type 0. With --rt-0-not-strict, --rt-len says how many there are.", nftgen.MostSegments, m.room()),
		Range: m.Addresses.Range,
	}
}

// addAddresses adds the tests of the addresses: at all the places of the header, or
// at some of them in order.
func (m *rtMatch) addAddresses(r *translate.Rule) {
	at := func(n, place int) nftgen.Stmt {
		a := m.Addresses.Value[n].As16()
		return nftgen.Compare{Field: nftgen.IP6RoutingAddress(place), Op: nftgen.Eq, Value: nftgen.Value(a[:])}
	}
	// A length is in units of 8 bytes without the first: two for an address, and
	// perhaps one left over.
	if !m.NotStrict.Present {
		n := byte(2 * len(m.Addresses.Value))
		r.Add(nftgen.InSpan{Field: nftgen.IP6RoutingLength, Low: nftgen.Value{n}, High: nftgen.Value{n + 1}})
		for i := range m.Addresses.Value {
			r.Add(at(i, i+1))
		}
		return
	}
	branch := translate.Branch{Otherwise: translate.Fail}
	var choose func(n, from int, tests []nftgen.Stmt)
	choose = func(n, from int, tests []nftgen.Stmt) {
		if n == len(m.Addresses.Value) {
			branch.Rows = append(branch.Rows, translate.Row{Stmts: tests, Then: translate.Match})
			return
		}
		for place := from; place <= m.room(); place++ {
			choose(n+1, place+1, append(tests[:len(tests):len(tests)], at(n, place)))
		}
	}
	choose(0, 1, nil)
	r.Branch(branch)
}
