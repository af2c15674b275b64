package extension

import (
	"encoding/binary"
	"net/netip"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// Translate asks the same routes with fib, and for IPv6 the same ranges of
// addresses.
func (m *addrtypeMatch) Translate(r *translate.Rule) error {
	iface := ""
	switch {
	case m.In.Present:
		iface = "iif"
	case m.Out.Present:
		iface = "oif"
	}
	for _, o := range []struct {
		opt    iptables.Opt[addrTypes]
		source bool
		addr6  nftgen.Field
	}{{m.Source, true, nftgen.IP6Saddr}, {m.Destination, false, nftgen.IP6Daddr}} {
		if !o.opt.Present {
			continue
		}
		route := nftgen.FibType(o.source, iface)
		if r.NFProto() == nftgen.IP {
			r.Add(fibTest(route, o.opt.Value, o.opt.Negated))
			continue
		}
		if iface != "" && o.opt.Value&(typeAnycast|typeUnreachable) != 0 {
			return &translate.Untranslatable{
				Summary: "type of an IPv6 address by way of one device",
				Detail: "iptables looks ANYCAST and UNREACHABLE up among the routes by way of the device, nftables among all routes. " +
					"Leave out --limit-iface-in and --limit-iface-out, or test the device with -i or -o.",
				Range: o.opt.Range,
			}
		}
		addTypes6(r, o.addr6, route, o.opt)
	}
	return nil
}

// fibTest is "fib saddr type { … }".
func fibTest(route nftgen.Field, types addrTypes, negated bool) nftgen.Stmt {
	set := nftgen.OneOf{Field: route, Not: negated}
	for number := uint32(0); types>>number != 0; number++ {
		if types>>number&1 != 0 {
			v := nftgen.Value(binary.BigEndian.AppendUint32(nil, number))
			set.Intervals = append(set.Intervals, nftgen.Interval{Low: v, High: v})
		}
	}
	if len(set.Intervals) == 1 {
		return nftgen.Compare{Field: route, Op: comparison(negated), Value: set.Intervals[0].Low}
	}
	return set
}

// addTypes6 adds the conditions of the listed types. Negated, one of them fails.
func addTypes6(r *translate.Rule, addr, route nftgen.Field, o iptables.Opt[addrTypes]) {
	not := o.Negated
	unspecified := netip.IPv6Unspecified().AsSlice()
	multicast := netip.MustParsePrefix("ff00::/8")
	mapped := netip.MustParsePrefix("::ffff:0:0/96")

	var tests []nftgen.Stmt
	if o.Value&typeMulticast != 0 {
		tests = append(tests, nftgen.InPrefix{Field: addr, Addr: multicast.Addr().AsSlice(), Bits: multicast.Bits(), Not: not})
	}
	if o.Value&typeUnicast != 0 {
		tests = append(tests, nftgen.OneOf{Field: addr, Not: !not, Intervals: []nftgen.Interval{
			{Low: unspecified, High: unspecified},
			{Low: mapped.Addr().AsSlice(), High: netip.MustParseAddr("::ffff:255.255.255.255").AsSlice()},
			{Low: multicast.Addr().AsSlice(), High: lastAddr(multicast.Addr()).AsSlice()},
		}})
	}
	if o.Value&typeUnspec != 0 {
		tests = append(tests, nftgen.Compare{Field: addr, Op: comparison(not), Value: unspecified})
	}
	if routes := o.Value & typesOfRoutes6; routes != 0 {
		if routes&typeUnreachable != 0 {
			routes |= typeBlackhole | typeProhibit | typeThrow
		}
		tests = append(tests, fibTest(route, routes, not))
	}
	if !not {
		r.Add(tests...)
		return
	}
	var alternatives [][]nftgen.Stmt
	for _, t := range tests {
		alternatives = append(alternatives, []nftgen.Stmt{t})
	}
	addAlternatives(r, alternatives)
}
