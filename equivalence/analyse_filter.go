package equivalence

import (
	"math/big"
	"net/netip"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A Filter describes packets by what a person would ask for. Zero values ask for
// nothing.
type Filter struct {
	Source, Destination netip.Prefix
	Protocol            uint8
	// SourcePort and DestinationPort are of TCP, UDP, UDP-Lite, SCTP and DCCP.
	SourcePort, DestinationPort Ports
	// In and Out are names of devices. A name that no rule tests stands for all
	// names that pass the same tests.
	In, Out string
	// States are what connection tracking found, any of them.
	States []packet.State
}

// Ports is a range of ports; the zero value is all.
type Ports struct{ First, Last uint16 }

var withPorts = []uint8{packet.TCP, packet.UDP, packet.UDPLite, packet.SCTP, packet.DCCP}

// Packets is the class of all packets that a filter describes at a stage.
func (s *StageFacts) Packets(f Filter) Class {
	return s.of.class(func() bounds {
		where := s.of.filter(f)
		// The filter may name what no rule reads.
		domain, _ := s.of.space.Domain(s.of.at, where)
		where = s.of.space.And(where, s.of.space.And(domain, s.of.domain))
		return bounds{where, where}
	})
}

// filter are the packets that a filter describes.
func (at *scope) filter(f Filter) bdd.Ref {
	s := at.space
	where := bdd.True
	require := func(g bdd.Ref) { where = s.And(where, g) }
	for _, p := range []struct {
		prefix netip.Prefix
		group  symbolic.Group
	}{{f.Source, symbolic.Source}, {f.Destination, symbolic.Destination}} {
		if p.prefix.IsValid() {
			require(at.network(p.group, p.prefix))
		}
	}
	if f.Protocol != 0 {
		require(s.Bit(symbolic.TransportFound))
		require(s.Number(s.Bits(symbolic.Protocol), uint64(f.Protocol)))
	}
	for _, p := range []struct {
		ports  Ports
		offset int
	}{{f.SourcePort, 0}, {f.DestinationPort, 2}} {
		if p.ports == (Ports{}) {
			continue
		}
		any := bdd.False
		for _, proto := range withPorts {
			any = s.Or(any, s.Number(s.Bits(symbolic.Protocol), uint64(proto)))
		}
		require(any)
		require(s.Number(s.Bits(symbolic.Fragment), 0))
		w, _ := s.Bytes(symbolic.Transport, p.offset, 2)
		require(between(s, w, big.NewInt(int64(p.ports.First)), big.NewInt(int64(p.ports.Last))))
	}
	for _, d := range []struct {
		name  string
		group symbolic.Group
	}{{f.In, symbolic.InName}, {f.Out, symbolic.OutName}} {
		if d.name != "" {
			require(s.Number(s.Bits(d.group), uint64(s.Names().Class(d.name, s.NameTests()))))
		}
	}
	if len(f.States) > 0 {
		any := bdd.False
		for _, state := range f.States {
			any = s.Or(any, s.Number(s.Variables(symbolic.Tracking), uint64(state)))
		}
		require(any)
	}
	return where
}

// network is where an address lies in a network; of the other IP version, none
// does.
func (at *scope) network(g symbolic.Group, p netip.Prefix) bdd.Ref {
	s := at.space
	levels := s.Levels(g)
	raw := p.Masked().Addr().AsSlice()
	if len(levels) != 8*len(raw) {
		return bdd.False
	}
	literals := make([]bdd.Literal, p.Bits())
	for i := range literals {
		literals[i] = bdd.Literal{Level: levels[i], Value: raw[i/8]>>(7-i%8)&1 == 1}
	}
	return s.Cube(literals)
}

// between is where a word is a number from low to high.
func between(s *symbolic.Space, w symbolic.Word, low, high *big.Int) bdd.Ref {
	atLeast, atMost := bdd.True, bdd.True
	for i, bit := range slices.Backward(w) {
		place := len(w) - 1 - i
		if low.Bit(place) == 1 {
			atLeast = s.And(bit, atLeast)
		} else {
			atLeast = s.Or(bit, atLeast)
		}
		if high.Bit(place) == 1 {
			atMost = s.Or(s.Not(bit), atMost)
		} else {
			atMost = s.Diff(atMost, bit)
		}
	}
	return s.And(atLeast, atMost)
}
