package nftsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// What [parseHeader] finds, as functions of the variables. No rule can change
// it: writing what it depends on is undecided.

// behindAuth is where the walk over IPv6 headers ended at an authentication
// header.
func (c *compiler) behindAuth() bdd.Ref {
	if c.space.Version == 4 {
		return bdd.False
	}
	return c.space.Bit(symbolic.BehindAuth)
}

// hasProto is where the transport protocol was found. Of an IPv6 fragment that
// is not the first, an extension header is not the protocol.
func (c *compiler) hasProto() bdd.Ref {
	s := c.space
	if s.Version == 4 {
		return bdd.True
	}
	extension := bdd.False
	for header, is := range extension6 {
		if is && header != protoNone {
			extension = s.Or(extension, s.Number(s.Bits(symbolic.Protocol), uint64(header)))
		}
	}
	later := s.Not(s.Number(s.Bits(symbolic.Fragment), 0))
	return s.Or(c.behindAuth(), s.Diff(s.Bit(symbolic.TransportFound), s.And(later, extension)))
}

// later is where the packet is a fragment that is not the first, as far as
// nf_tables sees it.
func (c *compiler) later() bdd.Ref {
	s := c.space
	return s.Diff(s.Not(s.Number(s.Bits(symbolic.Fragment), 0)), c.behindAuth())
}

// proto is the transport protocol, where it was found.
func (c *compiler) proto() symbolic.Word {
	return c.choice(c.behindAuth(), symbolic.Constant(protoAH, 8), c.space.Bits(symbolic.Protocol))
}

// isProto is where the transport protocol was found to be one.
func (c *compiler) isProto(n uint8) bdd.Ref {
	return c.space.And(c.hasProto(), c.space.Number(c.proto(), uint64(n)))
}

// reaches is where there are so many bytes from the transport header on. It does
// not speak of packets behind an authentication header.
func (c *compiler) reaches(n int) bdd.Ref {
	return c.atLeast(c.space.Bits(symbolic.TransportBytes), uint64(n))
}

const beyond = "bytes behind those of the headers that are modelled"

// loadNetwork loads bytes from the network header on.
func (x *symbolicRun) loadNetwork(offset, n int, to Register) {
	w, there, ok := x.space.Packet(offset, n)
	if !ok {
		x.undecided(beyond)
		return
	}
	x.require(there)
	if !x.ended {
		x.store(to, x.now(w))
	}
}

// loadTransport loads bytes of the transport header of a packet that is no
// later fragment, or is one of IPv4 and not looked at as such.
func (x *symbolicRun) loadTransport(offset, n int, to Register) {
	x.split(x.behindAuth(), func(y *symbolicRun) { y.loadAuth(offset, n, to) }, func(y *symbolicRun) {
		y.require(y.reaches(offset + n))
		w, ok := y.space.Bytes(symbolic.Transport, offset, n)
		switch {
		case y.ended:
		case !ok:
			y.undecided(beyond)
		default:
			y.store(to, y.now(w))
		}
	})
}

// loadAuth loads bytes from an IPv6 authentication header on. How many there are
// follows from its length and what is behind it, as far as they can be told.
func (x *symbolicRun) loadAuth(offset, n int, to Register) {
	s, need := x.space, offset+n
	const least = 2 // there were so many when the header was found
	if need > least {
		length, _ := s.Bytes(symbolic.Auth, 1, 1)
		x.require(x.atLeast(s.Bits(symbolic.Length), uint64(ipv6Len+need)))
		behind := s.Bits(symbolic.TransportBytes)
		there := x.atLeast(behind, 1)
		for size := 0; need > 4*(size+2)+1; size++ {
			more := x.atLeast(behind, uint64(need-4*(size+2)))
			there = s.ITE(s.Number(length, uint64(size)), more, there)
		}
		x.undecidedWhere(s.Not(there), "an authentication header that may be cut off")
	}
	w, ok := s.Bytes(symbolic.Auth, offset, n)
	switch {
	case x.ended:
	case !ok:
		x.undecided(beyond)
	default:
		x.store(to, x.now(w))
	}
}

// atOut is where the device that the packet is at is the outgoing one.
func (c *compiler) atOut() bdd.Ref {
	return c.space.Number(c.space.Bits(symbolic.Hook), uint64(packet.Postrouting))
}
