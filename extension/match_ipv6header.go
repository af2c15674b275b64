package extension

import (
	"fmt"
	"math/bits"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatchFor(v6, "ipv6header", func() iptables.Match { return new(ipv6headerMatch) })
}

var (
	_ iptsim.Meaning       = (*ipv6headerMatch)(nil)
	_ translate.Translator = (*ipv6headerMatch)(nil)
)

// ipv6headerMatch is "-m ipv6header": the headers of an IPv6 packet are exactly
// those of a list, or with Soft at least those; "!" with Soft is none of them. Of
// no next header, an encapsulated payload and any other protocol, a packet has
// one.
//
// Kernel: net/ipv6/netfilter/ip6t_ipv6header.c.
type ipv6headerMatch struct {
	Headers iptables.Opt[headerList]
	Soft    iptables.Opt[iptables.Flag]
}

// A headerList is a set of headers, a bit for each.
//
// Kernel: include/uapi/linux/netfilter_ipv6/ip6t_ipv6header.h.
type headerList uint8

// headerListNames are the headers from the highest bit on: as they are printed,
// then other names and the number.
var headerListNames = [8][]string{
	{"hop-by-hop", "hop", "0"}, {"ipv6-opts", "dst", "60"}, {"ipv6-route", "route", "43"}, {"ipv6-frag", "frag", "44"},
	{"ah", "auth", "51"}, {"esp", "50"}, {"ipv6-nonxt", "none", "59"}, {"protocol", "prot", "255"},
}

// Set reads names and numbers with commas between them.
func (l *headerList) Set(arg string) error {
	*l = 0
next:
	for part := range strings.SplitSeq(arg, ",") {
		for i, names := range headerListNames {
			for _, n := range names {
				if strings.EqualFold(n, part) {
					*l |= 0x80 >> i
					continue next
				}
			}
		}
		return fmt.Errorf("%q is no header of IPv6: hop, dst, route, frag, auth, esp, none, prot", part)
	}
	return nil
}

// String returns the names.
func (l *headerList) String() string {
	var list []string
	for i, names := range headerListNames {
		if *l&(0x80>>i) != 0 {
			list = append(list, names[0])
		}
	}
	return strings.Join(list, ",")
}

func (*ipv6headerMatch) Name() string { return "ipv6header" }

func (m *ipv6headerMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("header", &m.Headers, iptables.Required|iptables.Invertible),
		iptables.Bind("soft", &m.Soft, 0),
	}
}

func (m *ipv6headerMatch) Meaning(iptables.Context) predicate.Meaning {
	set := predicate.Field{ID: predicate.HeaderSet}
	list := uint64(m.Headers.Value)
	test := negatedIf(m.Headers.Negated, predicate.Equal(set, predicate.Number(list)))
	if m.Soft.Present {
		value := list
		if m.Headers.Negated {
			value = 0
		}
		test = predicate.Masked{Field: set, Mask: predicate.Number(list), Value: predicate.Number(value)}
	}
	const most = 1 << 16
	return predicate.Meaning{
		Match: predicate.All{predicate.Present{Field: set}, test},
		Unproven: predicate.Not{P: predicate.Between{
			Field: predicate.Field{ID: predicate.TransportBytes}, Low: predicate.Number(2), High: predicate.Number(most),
		}},
	}
}

// Translate tests each header by itself. The last three exclude one another.
func (m *ipv6headerMatch) Translate(r *translate.Rule) error {
	r.Declare(translate.Deviation{
		Code: "ipv6-header-end",
		Detail: "iptables takes a packet that ends within its headers for one without, or for one with another protocol, and reads the data " +
			"of later fragments as further headers; nftables does neither.",
	})
	const upper = 0x07
	list := m.Headers.Value
	if m.Soft.Present {
		if !m.Headers.Negated && bits.OnesCount8(uint8(list&upper)) > 1 || m.Headers.Negated && list&upper == upper {
			r.Never()
			return nil
		}
		for i := range headerListNames {
			if list&(0x80>>i) == 0 {
				continue
			}
			if upperExcluded(r, i, !m.Headers.Negated) {
				r.Never()
				return nil
			}
			r.Add(headerTests(i, !m.Headers.Negated)...)
		}
		return nil
	}
	possible := bits.OnesCount8(uint8(list&upper)) == 1
	switch {
	case !possible && !m.Headers.Negated:
		r.Never()
	case !possible:
	case m.Headers.Negated:
		var differ [][]nftgen.Stmt
		for i := range headerListNames {
			there := list&(0x80>>i) != 0
			if 0x80>>i&upper == 0 || there {
				differ = append(differ, headerAlternatives(i, !there)...)
			}
		}
		addAlternatives(r, differ)
	default:
		for i := range headerListNames {
			there := list&(0x80>>i) != 0
			if there && upperExcluded(r, i, true) {
				r.Never()
				return nil
			}
			if 0x80>>i&upper == 0 || there {
				r.Add(headerTests(i, there)...)
			}
		}
	}
	return nil
}

// upperExcluded reports whether "-p" of the rule contradicts that one of the
// last three of headerListNames is there, or is not. Such a rule would test two
// protocols, behind which nft takes no ports.
func upperExcluded(r *translate.Rule, place int, there bool) bool {
	const esp, ah, none = 50, 51, 59
	proto, known := r.ProtocolNumber()
	if !known || proto == 0 || proto == ah {
		return false
	}
	switch place {
	case 5:
		return there != (proto == esp)
	case 6:
		return there != (proto == none)
	case 7:
		return there != (proto != esp && proto != none)
	}
	return false
}

// headerAlternatives are tests of which one holds when a header is there, or is
// not.
func headerAlternatives(place int, there bool) [][]nftgen.Stmt {
	const other = 7
	if place == other && !there {
		return [][]nftgen.Stmt{{upperTest(50, nftgen.Eq)}, {upperTest(59, nftgen.Eq)}}
	}
	return [][]nftgen.Stmt{headerTests(place, there)}
}

// headerTests are the tests that a header of headerListNames is there, or is not.
func headerTests(place int, there bool) []nftgen.Stmt {
	extension := func(f nftgen.Field) []nftgen.Stmt { return []nftgen.Stmt{nftgen.Exists{Field: f, Missing: !there}} }
	switch place {
	case 0:
		return extension(nftgen.IP6HopByHop)
	case 1:
		return extension(nftgen.IP6DestOpts)
	case 2:
		return extension(nftgen.IP6Routing)
	case 3:
		return extension(nftgen.IP6Frag)
	case 7:
		if there {
			return []nftgen.Stmt{upperTest(50, nftgen.Ne), upperTest(59, nftgen.Ne)}
		}
		return []nftgen.Stmt{nftgen.OneOf{Field: nftgen.MetaL4Proto, Intervals: []nftgen.Interval{
			{Low: nftgen.Value{50}, High: nftgen.Value{50}}, {Low: nftgen.Value{59}, High: nftgen.Value{59}},
		}}}
	}
	return []nftgen.Stmt{upperTest([...]byte{4: 51, 5: 50, 6: 59}[place], comparison(!there))}
}

func upperTest(proto byte, op nftgen.Op) nftgen.Stmt {
	return nftgen.Compare{Field: nftgen.MetaL4Proto, Op: op, Value: nftgen.Value{proto}}
}
