package extension

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
)

// Meaning states the two families apart, as the kernel does.
func (m *addrtypeMatch) Meaning(c iptables.Context) predicate.Meaning {
	source, destination := predicate.SrcType, predicate.DstType
	switch {
	case m.In.Present:
		source, destination = predicate.SrcTypeIn, predicate.DstTypeIn
	case m.Out.Present:
		source, destination = predicate.SrcTypeOut, predicate.DstTypeOut
	}
	if m.byDevice(c) {
		return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Outside{Words: m.words()}}}
	}
	var all predicate.All
	for _, o := range []struct {
		opt         iptables.Opt[addrTypes]
		addr, route predicate.FieldID
	}{
		{m.Source, predicate.SrcAddr, source},
		{m.Destination, predicate.DstAddr, destination},
	} {
		if !o.opt.Present {
			continue
		}
		var p predicate.Predicate
		if c.Family == iptables.IPv6 {
			p = type6(o.opt.Value, predicate.Field{ID: o.addr}, predicate.Field{ID: o.route})
		} else {
			p = type4(o.opt.Value, predicate.Field{ID: o.route})
		}
		all = append(all, negatedIf(o.opt.Negated, p))
	}
	return predicate.Meaning{Match: all}
}

// byDevice reports whether IPv6 routes by way of one device decide that no model has.
func (m *addrtypeMatch) byDevice(c iptables.Context) bool {
	limited := m.In.Present || m.Out.Present
	return c.Family == iptables.IPv6 && limited && (m.Source.Value|m.Destination.Value)&(typeAnycast|typeUnreachable) != 0
}

// type4 holds when the route type is one of the listed.
func type4(types addrTypes, route predicate.Field) predicate.Predicate {
	in := predicate.In{Field: route}
	for number := uint64(0); types != 0; number++ {
		if types&1 != 0 {
			in.Spans = append(in.Spans, predicate.Span{Low: predicate.Number(number), High: predicate.Number(number)})
		}
		types >>= 1
	}
	return in
}

// type6 is match_type6 of the kernel.
func type6(types addrTypes, addr, route predicate.Field) predicate.Predicate {
	unspecified := predicate.Equal(addr, predicate.Number(0))
	// ff00::/8 and ::ffff:0:0/96.
	multicast := predicate.Masked{Field: addr, Mask: predicate.Number(0xff).Shift(120), Value: predicate.Number(0xff).Shift(120)}
	mapped := predicate.Masked{Field: addr, Mask: predicate.Ones(32).Not(), Value: predicate.Number(0xffff).Shift(32)}

	var all predicate.All
	if types&typeMulticast != 0 {
		all = append(all, multicast)
	}
	if types&typeUnicast != 0 {
		all = append(all, predicate.Not{P: predicate.Any{unspecified, multicast, mapped}})
	}
	if types&typeUnspec != 0 {
		all = append(all, unspecified)
	}
	if types&typesOfRoutes6 == 0 {
		return all
	}
	in := predicate.In{Field: route}
	for _, t := range []struct {
		bit  addrTypes
		span predicate.Span
	}{
		{typeLocal, predicate.Span{Low: predicate.Number(2), High: predicate.Number(2)}},
		{typeAnycast, predicate.Span{Low: predicate.Number(4), High: predicate.Number(4)}},
		// Whatever route rejects: blackhole, unreachable, prohibit, throw.
		{typeUnreachable, predicate.Span{Low: predicate.Number(6), High: predicate.Number(9)}},
	} {
		if types&t.bit != 0 {
			in.Spans = append(in.Spans, t.span)
		}
	}
	return append(all, in)
}
