package iptsim

import (
	"net/netip"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// offeredHeader is how many bytes of a header the kernel asks for, of TCP too.
const offeredHeader = 8

// offer gives the packet to a transparent socket. Fragments have been put
// together before.
//
// Kernel: net/netfilter/xt_TPROXY.c, tproxy_tg4 and tproxy_tg6_v1.
func offer(v *view, e predicate.Offer) predicate.Outcome {
	if len(v.header()) < offeredHeader {
		return predicate.Drop
	}
	v.f.Emit(offerEvent(e.Socket))
	if e.Socket.Ask(v, "") != predicate.Yes {
		return predicate.Drop
	}
	v.f.Mark = v.f.Mark&e.Keep ^ e.Xor
	return predicate.Accept
}

func offerEvent(s predicate.TransparentSocket) packet.OfferEvent {
	if s.Address.IsUnspecified() {
		s.Address = netip.Addr{}
	}
	return packet.OfferEvent(s)
}

// offer is the function of it, whoever listens.
func (c *compiler) offer(e predicate.Offer) bdd.Ref {
	s := c.space
	slot := c.slots[scoped{c.rule, c.asked}]
	c.asked++
	answer, asked := s.Ask(slot)
	effect := s.Then(s.Event(symbolic.Token{Kind: "offer", Text: offerEvent(e.Socket).String()}), asked)
	mark := s.Bits(symbolic.Mark)
	value := make(symbolic.Word, len(mark))
	for i := range value {
		place := len(value) - 1 - i
		value[i] = bdd.False
		if e.Keep>>place&1 == 1 {
			value[i] = mark[i]
		}
		if e.Xor>>place&1 == 1 {
			value[i] = s.Not(value[i])
		}
	}
	taken := s.Cells(value, func(cells []symbolic.Cell) bdd.Ref {
		return s.Leaf(symbolic.Leaf{Verdict: symbolic.Accept, Effect: s.Then(effect, s.Write(s.Levels(symbolic.Mark), cells))})
	})
	whole := s.And(s.Number(s.Bits(symbolic.Fragment), 0), c.reaches(offeredHeader))
	missed := s.Leaf(symbolic.Leaf{Verdict: symbolic.Drop, Effect: effect})
	return s.ITE(whole, s.ITE(answer[0], taken, missed), s.Leaf(symbolic.Leaf{Verdict: symbolic.Drop}))
}
