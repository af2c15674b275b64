package extension

import (
	"fmt"
	"net/netip"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("rpfilter", func() iptables.Match { return new(rpfilterMatch) }) }

var (
	_ iptsim.Meaning       = (*rpfilterMatch)(nil)
	_ translate.Translator = (*rpfilterMatch)(nil)
	_ iptables.Validator   = (*rpfilterMatch)(nil)
)

// rpfilterMatch is "-m rpfilter": an answer to the packet would leave by the
// device that it came from. Of the route to its source, Loose looks at no device,
// AcceptLocal takes addresses of the host too, and ValidMark lets the packet's
// mark choose the table.
//
// Loopback traffic always passes, and so does the source 0.0.0.0 to
// 255.255.255.255 or 224.0.0.0/24, and ::.
//
// Kernel: net/ipv4/netfilter/ipt_rpfilter.c, net/ipv6/netfilter/ip6t_rpfilter.c.
type rpfilterMatch struct {
	Loose, ValidMark, AcceptLocal, Invert iptables.Opt[iptables.Flag]
}

func (*rpfilterMatch) Name() string { return "rpfilter" }

func (m *rpfilterMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("loose", &m.Loose, 0),
		iptables.Bind("validmark", &m.ValidMark, 0),
		iptables.Bind("accept-local", &m.AcceptLocal, 0),
		iptables.Bind("invert", &m.Invert, 0),
	}
}

// Validate refuses tables and chains in which the kernel has no such match.
func (*rpfilterMatch) Validate(c iptables.Context) []iptables.Problem {
	if c.Table != "raw" && c.Table != "mangle" {
		return []iptables.Problem{{
			Code:    "invalid-table",
			Summary: fmt.Sprintf("match rpfilter is not valid in table %s", c.Table),
			Detail:  "The kernel accepts it in tables raw and mangle only.",
		}}
	}
	if outside := c.Hooks &^ iptables.Prerouting; outside != 0 {
		return []iptables.Problem{{
			Code:    "invalid-hook",
			Summary: "match rpfilter is not valid in this chain",
			Detail:  fmt.Sprintf("The kernel takes it in PREROUTING; chain %s is also reached from %s.", c.Chain, hookList(c.Table, outside)),
		}}
	}
	return nil
}

func (m *rpfilterMatch) Meaning(c iptables.Context) predicate.Meaning {
	field := func(id predicate.FieldID) predicate.Field { return predicate.Field{ID: id} }
	way := uint32(0)
	if m.ValidMark.Present {
		way |= predicate.BackByMark
	}
	if !m.Loose.Present {
		way |= predicate.BackByDevice
	}
	route := func(kind uint64) predicate.Predicate {
		return predicate.Equal(predicate.Field{ID: predicate.BackType, Arg: way}, predicate.Number(kind))
	}
	const unicast, local = 1, 2 // RTN_UNICAST, RTN_LOCAL
	byDevice := predicate.Equal(predicate.Field{ID: predicate.BackByIn, Arg: way}, predicate.Number(1))

	sound := predicate.Any{predicate.Equal(field(predicate.LoopedBack), predicate.Number(1))}
	if c.Family == iptables.IPv4 {
		to := func(a, b string) predicate.Predicate {
			return predicate.Between{
				Field: field(predicate.DstAddr),
				Low:   predicate.Addr(netip.MustParseAddr(a)), High: predicate.Addr(netip.MustParseAddr(b)),
			}
		}
		sound = append(sound, predicate.All{
			predicate.Equal(field(predicate.SrcAddr), predicate.Bits{}),
			predicate.Any{to("255.255.255.255", "255.255.255.255"), to("224.0.0.0", "224.0.0.255")},
		})
		types := predicate.Any{route(unicast)}
		if m.AcceptLocal.Present {
			types = append(types, route(local))
		}
		back := predicate.All{types}
		if !m.Loose.Present {
			back = append(back, byDevice)
		}
		sound = append(sound, back)
	} else {
		sound = append(sound, predicate.Equal(field(predicate.SrcAddr), predicate.Bits{}))
		back := predicate.All{route(unicast)}
		if !m.Loose.Present {
			back = append(back, byDevice)
		}
		sound = append(sound, back)
		if m.AcceptLocal.Present {
			sound = append(sound, route(local)) // by whatever device
		}
	}
	return predicate.Meaning{Match: negatedIf(m.Invert.Present, sound)}
}

// Translate asks for the route to the source. A fib expression takes the same
// traffic as sound, but :: only in neighbour discovery, and of IPv4 any route that
// is not local.
//
// Kernel: net/ipv4/netfilter/nft_fib_ipv4.c, net/ipv6/netfilter/nft_fib_ipv6.c.
func (m *rpfilterMatch) Translate(r *translate.Rule) error {
	passes, fails := translate.Match, translate.Fail
	if m.Invert.Present {
		passes, fails = fails, passes
	}
	iface := "iif"
	if m.Loose.Present {
		iface = ""
	}
	way := nftgen.FibRoute(m.ValidMark.Present, iface)
	row := func(then translate.Outcome, stmts ...nftgen.Stmt) translate.Row {
		return translate.Row{Stmts: stmts, Then: then}
	}
	const local = 2
	if r.NFProto() == nftgen.IP6 {
		b := translate.Branch{Otherwise: fails, Rows: []translate.Row{
			row(passes, nftgen.Compare{Field: nftgen.IP6Saddr, Op: nftgen.Eq, Value: make(nftgen.Value, 16)}),
		}}
		if m.AcceptLocal.Present {
			own := nftgen.FibTypeByMark(m.ValidMark.Present)
			b.Rows = append(b.Rows, row(passes, nftgen.Compare{Field: own, Op: nftgen.Eq, Value: wide32(local)}))
		}
		b.Rows = append(b.Rows, row(passes, nftgen.Exists{Field: way}))
		if !m.Loose.Present {
			r.Declare(translate.Deviation{
				Code: "rpfilter-several-routes",
				Detail: "Where IPv6 routes to one network go by several devices, rpfilter takes packets from each of them, " +
					"and nftables only those from the device that a lookup gives first. A host with one route to each network has no such packets.",
			})
		}
		r.Branch(b)
		return nil
	}
	b := translate.Branch{Otherwise: passes}
	if m.AcceptLocal.Present {
		b.Rows = append(b.Rows, row(passes, nftgen.Compare{Field: nftgen.FibType(true, iface), Op: nftgen.Eq, Value: wide32(local)}))
	}
	const broadcast, anycast = 3, 4
	address := func(a string) nftgen.Interval {
		v := nftgen.Value(netip.MustParseAddr(a).AsSlice())
		return nftgen.Interval{Low: v, High: v}
	}
	types := nftgen.OneOf{Field: nftgen.FibType(true, "")}
	for _, t := range []uint32{broadcast, anycast} {
		types.Intervals = append(types.Intervals, nftgen.Interval{Low: wide32(t), High: wide32(t)})
	}
	b.Rows = append(b.Rows,
		row(fails, nftgen.Exists{Field: way, Missing: true}),
		// 0.0.0.0 and 255.255.255.255 are broadcast addresses to the one and
		// ordinary ones to the other, which looks at the routes.
		row(fails,
			nftgen.Compare{Field: nftgen.MetaIiftype, Op: nftgen.Ne, Value: nftgen.Value{772 >> 8, 772 & 0xff}},
			nftgen.OneOf{Field: nftgen.IPSaddr, Not: true, Intervals: []nftgen.Interval{
				address("0.0.0.0"), address("255.255.255.255"),
			}},
			types))
	r.Branch(b)
	return nil
}
