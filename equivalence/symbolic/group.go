package symbolic

import (
	"fmt"

	"nftmigrate/equivalence/bdd"
)

// A Group is a number that rules can see, as a group of variables: a field of a
// header, or something that the kernel keeps beside the packet. Bits are
// counted from the most significant.
type Group uint16

// The groups. Numbers have the value that a person reads, whatever the order of
// bytes in which a machine holds them.
const (
	_ Group = iota

	// Hook is the netfilter hook (packet.Hook) at which the packet is.
	Hook
	// TransportFound: the protocol behind the IP headers was found. It always is
	// in IPv4.
	TransportFound
	// BehindAuth: an IPv6 authentication header stands before Protocol.
	BehindAuth
	// Protocol is the protocol behind all extension headers, RFC 8200 section 4.
	Protocol

	// HeaderWords is the length of the IPv4 header in units of 4 bytes, NextHeader the
	// number of what follows the IPv6 header.
	HeaderWords
	NextHeader

	// Tracking is what connection tracking found (packet.State), 0 before it
	// has looked.
	Tracking
	Notrack  // a rule exempted the packet from tracking
	Template // a rule told tracking how to treat the packet
	Given    // what the template says of a new connection, see [Space.GivenNumber]
	Helped   // the connection has been given a helper
	CTDirection
	CTStatus // IPS_*, include/uapi/linux/netfilter/nf_conntrack_common.h

	// InName and OutName are numbers of classes of device names, see [Names].
	InName
	OutName

	Source
	Destination
	Fragment // offset in units of 8 bytes
	MoreFragments

	// TransportBytes is how many bytes there are from the transport header on,
	// 511 when there are more.
	TransportBytes
	TCPOption // bit n: the options of the TCP header have one of kind n
	MSS       // value of TCP option 2
	// Chunk tells which types of chunks a walk over an SCTP packet finds, a bit each,
	// and ChunksCut whether it ends at bytes that are no chunk.
	Chunk
	ChunksCut
	PathMSS // the largest segment that fits both ways of the packet

	TTL
	TOS    // traffic class in IPv6
	Length // of the whole packet in bytes
	Mark
	CTMark
	// Secmark and CTSecmark are the security marks of the packet and of its connection.
	Secmark
	CTSecmark
	Priority
	PacketType // PACKET_*, include/uapi/linux/if_packet.h
	HasLink    // the packet came with an Ethernet header
	// TransformsIn and TransformsOut are how many transforms of IPsec the packet went or
	// will go through, RequestsIn and RequestsOut the number of the request of each, 32
	// bits, in the order of the kernel's lists.
	TransformsIn
	TransformsOut
	RequestsIn
	RequestsOut
	// Taker is whether a socket of the host takes the packet that arrives, TakerWhole
	// whether it is neither being made nor waiting for its end; TakerTransparent whether it
	// takes packets to foreign addresses, TakerWildcard to any.
	Taker
	TakerWhole
	TakerTransparent
	TakerWildcard
	TakerMark
	HasSocket
	HasFile // the socket has an owner
	UID
	GID
	SocketClass // of the socket's control group
	InType      // ARPHRD_* of the device that the packet is at
	OutType
	InGroup
	OutGroup
	CPU   // that handles the packet
	Realm // of the route
	// The wall clock: nanoseconds since 1970 in UTC, the second of the day, and the day
	// of the week from Sunday.
	Clock
	ClockSecond
	ClockDay

	// Route types (RTN_*) of addresses, over all devices or by one.
	SourceType
	DestinationType
	SourceTypeIn
	DestinationTypeIn
	SourceTypeOut
	DestinationTypeOut

	CTAccounting // the entry has counters
	CTProtocol
	CTExpires // milliseconds
	CTOrigSrc
	CTOrigDst
	CTReplSrc
	CTReplDst
	CTOrigSrcPort
	CTOrigDstPort
	CTReplSrcPort
	CTReplDstPort
	CTPacketsOrig
	CTPacketsRepl
	CTPacketsBoth
	CTBytesOrig
	CTBytesRepl
	CTBytesBoth
	CTAverageOrig
	CTAverageRepl
	CTAverageBoth
	CTLabels
	CTZone
	CTHasHelper
	CTHelper

	// NetworkRest and the following are bytes of headers, bit 0 the first bit of
	// the header. NetworkRest is used only where no group above names the bits.
	NetworkRest
	Transport
	// PacketBytes are those of the whole packet, used only behind the network header and
	// where no group above names the bits.
	PacketBytes
	Auth // the authentication header of BehindAuth
	Link

	lastGroup
)

const (
	// TransportSize is how many bytes of the transport header are modelled.
	TransportSize = 64
	authSize      = 64
	// MostTransforms is how many transforms a packet can have.
	//
	// Kernel: include/net/xfrm.h, XFRM_MAX_DEPTH.
	MostTransforms = 6
	linkSize       = 14
	networkSize    = 40
	packetSize     = 320
	addressBits    = 128
	maxNameBits    = 12
	// MostTransportBytes is the largest value of TransportBytes.
	MostTransportBytes = 511
)

// groups are name and width of each group; the order is that of the variables,
// chosen so that what selects among rules is decided first. The bits of Mark and
// CTMark alternate, because one is copied to the other, and those of MSS and
// PathMSS, which are compared: that takes exponentially many nodes when the bits
// stand apart.
var groups = []struct {
	group Group
	name  string
	width int
}{
	{Hook, "hook", 3},
	{TransportFound, "transport found", 1},
	{BehindAuth, "behind an authentication header", 1},
	{HeaderWords, "header words", 4},
	{NextHeader, "next header", 8},
	{Protocol, "protocol", 8},
	{TransportBytes, "transport bytes", 9},
	{Tracking, "ct state", 3},
	{Notrack, "notrack", 1},
	{Template, "template", 1},
	{Given, "given by the template", 8},
	{Helped, "given a helper", 1},
	{CTDirection, "ct direction", 1},
	{CTStatus, "ct status", 32},
	{Fragment, "fragment offset", 13},
	{MoreFragments, "more fragments", 1},
	{InName, "in-interface", maxNameBits},
	{HasLink, "link header", 1},
	{InType, "device type", 16},
	{Source, "source", addressBits},
	{Link, "link header bytes", 8 * linkSize},
	{OutName, "out-interface", maxNameBits},
	{Destination, "destination", addressBits},
	{Transport, "transport header", 8 * TransportSize},
	{TCPOption, "tcp option", 256},
	{Chunk, "sctp chunk", 256},
	{ChunksCut, "sctp chunks cut", 1},
	{PathMSS, "path mss", 16},
	{MSS, "tcp mss", 16},
	{TTL, "ttl", 8},
	{TOS, "tos", 8},
	{Length, "length", 32},
	{Mark, "mark", 32},
	{CTMark, "ct mark", 32},
	{Secmark, "security mark", 32},
	{CTSecmark, "ct security mark", 32},
	{Priority, "priority", 32},
	{PacketType, "packet type", 3},
	{TransformsIn, "transforms in", 3},
	{TransformsOut, "transforms out", 3},
	{RequestsIn, "requests of transforms in", 32 * MostTransforms},
	{RequestsOut, "requests of transforms out", 32 * MostTransforms},
	{Taker, "local socket", 1},
	{TakerWhole, "whole local socket", 1},
	{TakerTransparent, "transparent local socket", 1},
	{TakerWildcard, "local socket of any address", 1},
	{TakerMark, "mark of the local socket", 32},
	{HasSocket, "socket", 1},
	{HasFile, "socket owner", 1},
	{UID, "uid", 32},
	{GID, "gid", 32},
	{SocketClass, "class of the control group", 32},
	{OutType, "out device type", 16},
	{InGroup, "in device group", 32},
	{OutGroup, "out device group", 32},
	{CPU, "cpu", 32},
	{Realm, "realm", 32},
	{Clock, "clock", 64},
	{ClockSecond, "second of the day", 32},
	{ClockDay, "day of the week", 8},
	{SourceType, "source type", 4},
	{DestinationType, "destination type", 4},
	{SourceTypeIn, "source type by in-interface", 4},
	{DestinationTypeIn, "destination type by in-interface", 4},
	{SourceTypeOut, "source type by out-interface", 4},
	{DestinationTypeOut, "destination type by out-interface", 4},
	{CTAccounting, "ct accounting", 1},
	{CTProtocol, "ct protocol", 8},
	{CTExpires, "ct expires", 32},
	{CTOrigSrc, "ct original source", addressBits},
	{CTOrigDst, "ct original destination", addressBits},
	{CTReplSrc, "ct reply source", addressBits},
	{CTReplDst, "ct reply destination", addressBits},
	{CTOrigSrcPort, "ct original source port", 16},
	{CTOrigDstPort, "ct original destination port", 16},
	{CTReplSrcPort, "ct reply source port", 16},
	{CTReplDstPort, "ct reply destination port", 16},
	{CTPacketsOrig, "ct original packets", 64},
	{CTPacketsRepl, "ct reply packets", 64},
	{CTPacketsBoth, "ct packets", 64},
	{CTBytesOrig, "ct original bytes", 64},
	{CTBytesRepl, "ct reply bytes", 64},
	{CTBytesBoth, "ct bytes", 64},
	{CTAverageOrig, "ct original average", 64},
	{CTAverageRepl, "ct reply average", 64},
	{CTAverageBoth, "ct average", 64},
	{CTLabels, "ct labels", 128},
	{CTZone, "ct zone", 16},
	{CTHasHelper, "ct helper", 1},
	{CTHelper, "ct helper name", 128},
	{NetworkRest, "network header", 8 * networkSize},
	{Auth, "authentication header", 8 * authSize},
	{PacketBytes, "packet bytes", 8 * packetSize},
}

// alternating are the groups of which the bits alternate with those of another.
var alternating = map[Group]Group{Mark: CTMark, CTMark: Mark, Secmark: CTSecmark, CTSecmark: Secmark, MSS: PathMSS, PathMSS: MSS}

// transportOrder puts the bytes of the transport header that rules select by
// before the others: destination port, TCP flags, source port or ICMP type and
// code.
var transportOrder = transportPlaces(2, 3, 13, 0, 1, 12)

func transportPlaces(first ...int) (place [TransportSize]int) {
	seen := make(map[int]bool)
	at := 0
	put := func(b int) {
		if !seen[b] {
			seen[b] = true
			place[b] = at
			at++
		}
	}
	for _, b := range first {
		put(b)
	}
	for b := range place {
		put(b)
	}
	return place
}

// layout is the first level and width of each group.
var layout [lastGroup]struct {
	name         string
	first, width int
}

// instanceLevels is where the variables of instances begin.
var instanceLevels int

func init() {
	at := 0
	for _, g := range groups {
		layout[g.group].name, layout[g.group].first, layout[g.group].width = g.name, at, g.width
		switch other := alternating[g.group]; {
		case other == 0:
			at += g.width
		case layout[other].width == 0: // the first of two
			at += 2 * g.width
		default:
			layout[g.group].first = layout[other].first + 1
		}
	}
	instanceLevels = at
}

// Width is the number of bits of the group. Addresses have 128, of which IPv4
// uses the last 32.
func (g Group) Width() int { return layout[g].width }

func (g Group) String() string {
	if g > 0 && g < lastGroup {
		return layout[g].name
	}
	return fmt.Sprintf("group %d", uint16(g))
}

// Level is the place of a bit of the group in the order of variables.
func (g Group) Level(bit int) bdd.Level {
	if g == Transport {
		bit = transportOrder[bit/8]*8 + bit%8
	} else if alternating[g] != 0 {
		bit *= 2
	}
	return bdd.Level(layout[g].first + bit)
}

// GroupOf returns the group and the bit of a level; ok is false for variables
// of instances.
func GroupOf(l bdd.Level) (g Group, bit int, ok bool) {
	if int(l) >= instanceLevels {
		return 0, 0, false
	}
	lo, hi := 0, len(groups)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; layout[groups[mid].group].first <= int(l) {
			lo = mid
		} else {
			hi = mid
		}
	}
	g = groups[lo].group
	bit = int(l) - layout[g].first
	if other := alternating[g]; other != 0 {
		if bit%2 != 0 {
			g = other
		}
		return g, (int(l) - layout[g].first) / 2, true
	}
	if g == Transport {
		for b, place := range transportOrder {
			if place == bit/8 {
				return g, b*8 + bit%8, true
			}
		}
	}
	return g, bit, true
}
