package nftsim

import (
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

func (i *PayloadLoad) symbolic(x *symbolicRun) {
	switch i.Base {
	case unix.NFT_PAYLOAD_LL_HEADER:
		i.symbolicLink(x)
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		x.loadNetwork(i.Offset, i.Len, i.To)
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		x.require(x.hasProto())
		if x.ended {
			return
		}
		switch {
		case !i.fast():
			x.require(x.space.Not(x.later()))
			x.loadTransport(i.Offset, i.Len, i.To)
		case x.space.Version == 4:
			x.loadTransport(i.Offset, i.Len, i.To)
		default:
			// The short way takes the offset of the transport header, which is 0
			// for a later fragment.
			x.split(x.later(), func(y *symbolicRun) { y.loadNetwork(i.Offset, i.Len, i.To) },
				func(y *symbolicRun) { y.loadTransport(i.Offset, i.Len, i.To) })
		}
	default:
		i.symbolicInner(x)
	}
}

// symbolicLink is loadLink.
func (i *PayloadLoad) symbolicLink(x *symbolicRun) {
	s := x.space
	x.require(s.Bit(symbolic.HasLink))
	inside := min(max(ethernetLen-i.Offset, 0), i.Len)
	w, _ := s.Bytes(symbolic.Link, min(i.Offset, ethernetLen), inside)
	const typeAt = 12
	kind := symbolic.Constant(uint64(etherTypes[s.Version]), 16)
	for bit := range w {
		if at := 8*i.Offset + bit - 8*typeAt; at >= 0 {
			w[bit] = kind[at]
		}
	}
	behind, ok := s.Network(max(i.Offset-ethernetLen, 0), i.Len-inside)
	if !ok {
		x.undecided(beyond)
		return
	}
	x.store(i.To, append(w, x.now(behind)...))
}

// symbolicInner loads from behind the transport header.
func (i *PayloadLoad) symbolicInner(x *symbolicRun) {
	s := x.space
	x.require(s.Diff(x.hasProto(), x.later()))
	for _, n := range []uint8{unix.IPPROTO_GRE, unix.IPPROTO_IPIP} {
		x.undecidedWhere(x.isProto(n), "the inner header of a tunnel")
	}
	x.require(s.Or(x.isProto(protoUDP), x.isProto(protoTCP)))
	if x.ended {
		return
	}
	x.split(x.isProto(protoUDP), func(y *symbolicRun) { y.loadTransport(udpLen+i.Offset, i.Len, i.To) }, func(y *symbolicRun) {
		y.require(y.reaches(tcpLen))
		i.behindTCP(y, 0)
	})
}

// behindTCP loads from behind a TCP header of a claimed length of at least n
// words.
func (i *PayloadLoad) behindTCP(x *symbolicRun, n int) {
	claimed := func(x *symbolicRun) bdd.Ref {
		w, _ := x.space.Bytes(symbolic.Transport, 12, 1)
		return x.space.Number(x.now(w)[:4], uint64(n))
	}
	load := func(y *symbolicRun) { y.loadTransport(4*n+i.Offset, i.Len, i.To) }
	if const15 := 15; n == const15 {
		load(x)
		return
	}
	x.split(claimed(x), load, func(y *symbolicRun) { i.behindTCP(y, n+1) })
}

func (i *PayloadWrite) symbolic(x *symbolicRun) {
	w, ok := x.load(i.From, i.Len)
	if !ok {
		return
	}
	switch i.Base {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		i.network(x, w)
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		i.transport(x, w)
	default:
		x.undecided("writing behind the transport header")
	}
}

// network writes bytes of the network header. What headers are found by must
// stay as it is, and so must checksums, which are right by themselves.
func (i *PayloadWrite) network(x *symbolicRun, w symbolic.Word) {
	s := x.space
	levels, ok := s.NetworkLevels(i.Offset, i.Len)
	if !ok {
		x.undecided("writing behind the network header without options")
		return
	}
	changed := map[symbolic.Group]bool{}
	for k, l := range levels {
		if w[k] == x.now(symbolic.Word{s.Var(l)})[0] {
			continue
		}
		g, bit, _ := symbolic.GroupOf(l)
		if frozen(s.Version, g, bit) {
			x.undecided("writing what the headers are found by, or a checksum")
			return
		}
		changed[g] = true
	}
	if x.routes && (changed[symbolic.Source] || changed[symbolic.Destination]) {
		x.undecided("writing an address that the routing tables are asked for")
		return
	}
	if (changed[symbolic.Source] || changed[symbolic.Destination]) && s.Version == 6 && i.Len < ipv6AddressLen {
		// With words that follow from others, which are sums.
		x.undecided("writing a part of an address")
		return
	}
	i.checksums(x)
	if !x.ended {
		x.write(levels, w)
	}
}

// ipv6AddressLen is the size of an address.
const ipv6AddressLen = 16

// frozen reports whether a bit of the network header must not be written.
func frozen(version int, g symbolic.Group, bit int) bool {
	switch g {
	case symbolic.TOS, symbolic.TTL, symbolic.Source, symbolic.Destination:
		return false
	case symbolic.NetworkRest:
		if version == 6 { // all but the flow label
			return bit < 12 || bit >= 32
		}
		identification := bit >= 32 && bit < 48
		flags := bit >= 48 && bit < 50
		return !identification && !flags
	}
	return true
}

// checksums breaks the rule where there is no room for a checksum that must be
// corrected.
func (i *PayloadWrite) checksums(x *symbolicRun) {
	s := x.space
	if i.ChecksumType == unix.NFT_PAYLOAD_CSUM_INET {
		if i.Base == unix.NFT_PAYLOAD_TRANSPORT_HEADER {
			x.require(x.reaches(i.ChecksumOffset + 2))
		} else if _, ok := s.Network(i.ChecksumOffset, 2); !ok {
			x.undecided(beyond)
		}
	}
	if i.ChecksumFlags == 0 {
		return
	}
	for proto, at := range transportSums {
		if proto != protoUDP { // a short UDP header is taken for one without
			short := s.Diff(s.Diff(x.isProto(proto), x.later()), x.reaches(at+2))
			x.require(s.Not(short))
		}
	}
}

// sums are where the checksums of transport headers are: behind which byte, by
// protocol.
var sums = []struct{ proto, at, n int }{
	{1, 2, 2}, {2, 2, 2}, {protoTCP, 16, 2}, {protoUDP, 6, 2}, {33, 6, 2}, {protoICMPv6, 2, 2}, {132, 8, 4}, {protoUDPLite, 6, 2},
}

// transport writes bytes of the transport header.
func (i *PayloadWrite) transport(x *symbolicRun, w symbolic.Word) {
	s := x.space
	x.require(s.Diff(x.hasProto(), x.later()))
	x.undecidedWhere(x.behindAuth(), "writing an authentication header")
	x.require(x.reaches(i.Offset + i.Len))
	if x.ended {
		return
	}
	old, ok := s.Bytes(symbolic.Transport, i.Offset, i.Len)
	if !ok {
		x.undecided("writing " + beyond)
		return
	}
	levels := make([]bdd.Level, len(old))
	for k, v := range old {
		levels[k] = s.Level(v)
	}
	for k, v := range x.now(old) {
		if w[k] == v {
			continue
		}
		at := i.Offset + k/8
		for _, sum := range sums {
			if at >= sum.at && at < sum.at+sum.n {
				x.undecidedWhere(x.isProto(uint8(sum.proto)), "writing a checksum")
			}
		}
		if at >= tcpLen || at == 12 && k%8 < 4 {
			x.undecidedWhere(x.isProto(protoTCP), "writing the options of TCP")
		}
	}
	i.checksums(x)
	if !x.ended {
		x.write(levels, w)
	}
}
