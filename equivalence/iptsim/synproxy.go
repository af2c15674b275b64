package iptsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// The flags of a segment that say what it is for: FIN, SYN, RST and ACK.
const (
	handshakeFlags = 0x17
	flagSYN        = 0x02
	flagACK        = 0x10
)

// synProxy takes the segments of a handshake. A segment without a whole header is
// dropped.
//
// Kernel: net/ipv4/netfilter/ipt_SYNPROXY.c, synproxy_tg4.
func synProxy(v *view, e predicate.SynProxy) predicate.Outcome {
	segment := v.headerOf(protoTCP)
	if _, ok := tcpOptions(segment); !ok {
		v.f.Hotdrop = true
		return predicate.Drop
	}
	switch segment[13] & handshakeFlags {
	case flagSYN, flagACK:
		v.f.Emit(packet.SynProxyEvent(e))
		return predicate.Drop
	}
	return 0
}

// synProxy is the function of it.
func (c *compiler) synProxy(e predicate.SynProxy) bdd.Ref {
	s := c.space
	flags := c.field(predicate.Field{ID: predicate.TCPFlags}).word
	is := func(value uint64) bdd.Ref {
		f := bdd.True
		for i, bit := range flags {
			place := len(flags) - 1 - i
			switch {
			case handshakeFlags>>place&1 == 0:
			case value>>place&1 == 1:
				f = s.And(f, bit)
			default:
				f = s.Diff(f, bit)
			}
		}
		return f
	}
	event := s.Event(symbolic.Token{Kind: "synproxy", Text: packet.SynProxyEvent(e).String()})
	taken := s.Leaf(symbolic.Leaf{Verdict: symbolic.Drop, Effect: event})
	cut := s.Leaf(symbolic.Leaf{Verdict: symbolic.Drop, Why: hotdropCode})
	whole := s.And(s.Number(s.Bits(symbolic.Fragment), 0), c.tcpHeader())
	return s.ITE(whole, s.ITE(s.Or(is(flagSYN), is(flagACK)), taken, s.Next()), cut)
}
