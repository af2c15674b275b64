package iptsim

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// namedOf lists what a predicate asks that no variable of a packet tells and that
// is the same for all who ask: headers of IPv6, routes.
func namedOf(p predicate.Predicate, version int) []symbolic.Instance {
	var list []symbolic.Instance
	if version == 6 {
		for _, kind := range extensionsOf(p) {
			list = append(list, extensionInstance(kind))
		}
	}
	for _, f := range predicate.FieldsOf(p) {
		if f.ID == predicate.BackType || f.ID == predicate.BackByIn {
			list = append(list, wayBack(f.Arg, version))
		}
	}
	return list
}

// wayBack is the route to the source of a packet, by the argument of a field. Of
// IPv4 the device has no say in the choice.
//
// Kernel: net/ipv4/netfilter/ipt_rpfilter.c, rpfilter_lookup_reverse;
// net/ipv6/netfilter/ip6t_rpfilter.c, rpfilter_lookup_reverse6.
func wayBack(arg uint32, version int) symbolic.Instance {
	return symbolic.WayBack(arg&predicate.BackByMark != 0, version == 6 && arg&predicate.BackByDevice != 0)
}

// back is the answer of a way back.
func (c *compiler) back(arg uint32) (symbolic.Word, bool) {
	slot, ok := c.named[wayBack(arg, c.space.Version).Identity.(string)]
	if !ok {
		return nil, false
	}
	return c.space.Peek(slot), true
}

func (c *compiler) backType(arg uint32) symbolicField {
	w, ok := c.back(arg)
	if !ok {
		return symbolicField{}
	}
	kind := w[:symbolic.WayBackType]
	return symbolicField{word: kind, present: c.space.Not(c.space.Number(kind, 0)), known: true}
}

func (c *compiler) backByIn(arg uint32) symbolicField {
	w, ok := c.back(arg)
	if !ok {
		return symbolicField{}
	}
	return symbolicField{word: symbolic.Constant(1, 1), present: w[symbolic.WayBackType], known: true}
}

// loopedBack is a packet that came from the loopback device, or that the host hears
// because it sent it to a group.
func (c *compiler) loopedBack() symbolicField {
	const loopback, heard = 772, 5 // ARPHRD_LOOPBACK, PACKET_LOOPBACK
	s := c.space
	own := s.Number(s.Bits(symbolic.PacketType), heard)
	by := s.And(s.HasDevice(symbolic.InName), s.Number(s.Bits(symbolic.InType), loopback))
	return symbolicField{word: symbolic.Constant(1, 1), present: s.Or(own, by)}
}
