package predicate

import "fmt"

// A Field names something about a packet that xtables can see. Arg selects
// among several of one kind (the kind of a TCP option); it is 0 for most.
//
// A field can be absent (no TCP header, no conntrack entry, no socket). A test
// of an absent field is false, so its negation is true; where the kernel
// treats absence otherwise, the meaning says so with [Present].
type Field struct {
	ID  FieldID
	Arg uint32
}

// A FieldID is the kind of a field.
type FieldID uint16

// The fields. Numbers have the value that a person reads in the header, not
// the byte order of the machine.
const (
	// Protocol is the protocol as "-p" sees it: the protocol field of the IPv4
	// header; for IPv6 the upper-layer protocol found behind the extension
	// headers that ip6tables looks through.
	Protocol FieldID = iota + 1
	SrcAddr          // 32 or 128 bits, by family
	DstAddr
	InInterface    // 16 bytes, zero padded; the empty name when there is no device
	OutInterface   // likewise
	FragmentOffset // in units of 8 bytes; IPv6: of the fragment header, 0 without one
	MoreFragments  // 1 bit
	TotalLength    // as the IP header claims it, the IPv6 header's 40 bytes included
	TTL            // IPv4 TTL or IPv6 hop limit
	TOS            // IPv4 TOS or IPv6 traffic class, 8 bits

	// TransportBytes is the number of bytes present from the transport header on.
	TransportBytes
	SrcPort       // the first 16 bits of the transport header, when present in a first fragment
	DstPort       // the second 16 bits
	TCPFlags      // byte 13 of the TCP header
	TCPDataOffset // header length in units of 4 bytes
	TCPOption     // 1 when the option of kind Arg is there, else absent
	TCPMSS        // value of option 2
	// TransportByte and TransportWord are the byte, and the four bytes, at Arg from
	// where the kernel takes the transport header to begin. It does so for a later
	// fragment too: of IPv4 that is its data, of IPv6 the whole packet.
	TransportByte
	TransportWord
	// SegmentMSS is TCPMSS by that reckoning, and SegmentCut is 1 when what begins there
	// is no whole TCP header, else absent.
	SegmentMSS
	SegmentCut
	// PacketByte and PacketWord are the byte, and the four bytes, at Arg from the
	// network header on.
	PacketByte
	PacketWord
	// FlowPort is the source port, or with Arg 1 the destination port, as rate limits
	// by key see it: 0 of protocols without ports and of later fragments of IPv6, and
	// absent where the packet ends before.
	FlowPort
	ICMPType // type of ICMP or ICMPv6
	ICMPCode

	// Extension headers of IPv6. Arg is [Header] of a number and an offset.
	HeaderThere // 1 when there is one of the number
	HeaderByte  // the byte at the offset in the first of them
	HeaderWord  // four bytes
	HeaderWhole // 1 when it ends within the packet
	HeaderLost  // 1 when the packet ends before that can be said
	// HeaderSet are the headers on the way to the upper protocol, a bit each: 128
	// hop-by-hop options, 64 destination options, 32 routing, 16 fragment, 8
	// authentication, 4 encapsulated payload, 2 no next header, 1 any other protocol.
	HeaderSet

	Mark     // packet mark
	PktType  // PACKET_HOST 0, BROADCAST 1, MULTICAST 2, OTHERHOST 3, LOOPBACK 5
	SrcMAC   // absent when the incoming device is not Ethernet
	DstMAC   // likewise
	Priority // skb priority
	CPU      // on which the packet is handled
	InGroup  // of the incoming device, absent without one
	OutGroup // likewise
	Realm    // of the route, 32 bits
	Secmark  // security mark, 32 bits

	// Conntrack. All but CTState are absent when the packet has no entry.
	CTState     // one of the StateXxx bits
	CTStatus    // IPS_* bits, enum ip_conntrack_status
	CTMark      // connection mark
	CTSecmark   // security mark of the connection
	CTDirection // 0 original, 1 reply
	CTProtocol
	CTExpire  // seconds
	CTOrigSrc // addresses and ports of the original and the reply tuple
	CTOrigDst
	CTReplSrc
	CTReplDst
	CTOrigSrcPort
	CTOrigDstPort
	CTReplSrcPort
	CTReplDstPort
	CTPackets // Arg: 0 original, 1 reply, 2 both
	CTBytes   // likewise
	CTAvgPkt  // likewise: bytes / packets
	CTLabel   // 1 when the connection has the label of number Arg, else absent
	CTHelper  // name of the helper that expected the connection, 16 bytes; absent when none did

	// Socket. Absent when the packet belongs to no local socket.
	SocketUID
	SocketGID
	SocketGroup  // Arg: the how manieth supplementary group, from 0
	SocketExists // 1

	// Routing: the kernel's route type (RTN_*) of an address, looked up over
	// all interfaces or restricted to one.
	// BackType is the kernel's route type of the way back to the source, absent when
	// there is no way; BackByIn is 1 when it is by the incoming device, else absent. Arg
	// is what chooses the way besides: BackByMark, BackByDevice.
	BackType
	BackByIn
	LoopedBack // 1 for what the host sent to itself, else absent
	SrcType
	DstType
	SrcTypeIn // restricted to the incoming interface
	DstTypeIn
	SrcTypeOut // restricted to the outgoing interface
	DstTypeOut

	SocketClass // of the socket's control group, absent without a socket

	// The host's socket that an arriving packet is for: 1 when there is one; when it takes
	// packets to foreign addresses; when it is whole, and takes those to any address;
	// else absent. TakerMark is the mark of a whole one.
	Taker
	TakerTransparent
	TakerWildcard
	TakerMark
	Protected  // 1 when IPsec protects the packet on its way in (Arg 0) or out (1), else absent
	Transforms // likewise: how many transforms there are
	// TransformRequest is the number of the request of a transform, absent when there are
	// fewer. Arg is [Transform].
	TransformRequest

	// The wall clock in UTC.
	ClockTime   // seconds since 1970
	ClockSecond // of the day
	ClockDay    // of the week, 0 is Sunday

	Random // a fresh number of 32 bits each time it is read

	lastField
)

// Header is the Arg of a field of an extension header of IPv6.
func Header(number uint8, offset int) uint32 { return uint32(number)<<16 | uint32(offset) }

// HeaderPlace returns what [Header] was given.
func HeaderPlace(arg uint32) (number uint8, offset int) { return uint8(arg >> 16), int(arg & 0xffff) }

// Transform is the Arg of a field of the n-th transform of IPsec of a packet, in the
// order in which the kernel lists them.
func Transform(out bool, n int) uint32 {
	if out {
		return uint32(n)<<1 | 1
	}
	return uint32(n) << 1
}

// TransformPlace returns what [Transform] was given.
func TransformPlace(arg uint32) (out bool, n int) { return arg&1 == 1, int(arg >> 1) }

// What chooses the way back besides the source: the packet's mark, and in IPv6 the
// device that it came from.
const (
	BackByMark   = 1
	BackByDevice = 2
)

// The values of CTState.
//
// Kernel: include/uapi/linux/netfilter/xt_conntrack.h.
const (
	StateInvalid     = 1 << 0
	StateEstablished = 1 << 1
	StateRelated     = 1 << 2
	StateNew         = 1 << 3
	StateUntracked   = 1 << 6
)

var fieldNames = [...]string{
	Protocol: "protocol", SrcAddr: "source", DstAddr: "destination",
	InInterface: "in-interface", OutInterface: "out-interface",
	FragmentOffset: "fragment-offset", MoreFragments: "more-fragments",
	TotalLength: "length", TTL: "ttl", TOS: "tos",
	TransportBytes: "transport-bytes", SrcPort: "source-port", DstPort: "destination-port",
	TCPFlags: "tcp-flags", TCPDataOffset: "tcp-data-offset", TCPOption: "tcp-option", TCPMSS: "tcp-mss",
	TransportByte: "transport-byte", TransportWord: "transport-word", SegmentMSS: "segment-mss", SegmentCut: "segment-cut",
	FlowPort:    "flow-port",
	HeaderThere: "header", HeaderByte: "header-byte", HeaderWord: "header-word", HeaderWhole: "header-whole",
	HeaderLost: "header-lost", HeaderSet: "headers",
	ICMPType: "icmp-type", ICMPCode: "icmp-code",
	Mark: "mark", PktType: "packet-type", SrcMAC: "source-mac", DstMAC: "destination-mac", Priority: "priority",
	CPU: "cpu", InGroup: "in-group", OutGroup: "out-group", Realm: "realm", Secmark: "security-mark",
	CTState: "ct-state", CTStatus: "ct-status", CTMark: "ct-mark", CTSecmark: "ct-security-mark", CTDirection: "ct-direction",
	CTProtocol: "ct-protocol", CTExpire: "ct-expire",
	CTOrigSrc: "ct-original-source", CTOrigDst: "ct-original-destination",
	CTReplSrc: "ct-reply-source", CTReplDst: "ct-reply-destination",
	CTOrigSrcPort: "ct-original-source-port", CTOrigDstPort: "ct-original-destination-port",
	CTReplSrcPort: "ct-reply-source-port", CTReplDstPort: "ct-reply-destination-port",
	CTPackets: "ct-packets", CTBytes: "ct-bytes", CTAvgPkt: "ct-average-packet",
	CTLabel: "ct-label", CTHelper: "ct-helper",
	SocketUID: "socket-uid", SocketGID: "socket-gid", SocketGroup: "socket-group", SocketExists: "socket",
	SrcType: "source-type", DstType: "destination-type",
	SrcTypeIn: "source-type-in", DstTypeIn: "destination-type-in",
	SrcTypeOut: "source-type-out", DstTypeOut: "destination-type-out",
	BackType: "back-type", BackByIn: "back-by-in", LoopedBack: "looped-back",
	ClockTime: "time", ClockSecond: "second-of-day", ClockDay: "weekday",
	Taker: "local-socket", TakerTransparent: "local-socket-transparent", TakerWildcard: "local-socket-wildcard", TakerMark: "local-socket-mark",
	SocketClass: "socket-class", Protected: "protected", Transforms: "transforms", TransformRequest: "transform-request",
	Random: "random",
}

// String returns the name of the field.
func (f Field) String() string {
	name := "field"
	if int(f.ID) < len(fieldNames) && fieldNames[f.ID] != "" {
		name = fieldNames[f.ID]
	}
	switch f.ID {
	case HeaderThere, HeaderByte, HeaderWord, HeaderWhole, HeaderLost:
		number, offset := HeaderPlace(f.Arg)
		return fmt.Sprintf("%s(%d+%d)", name, number, offset)
	case TransformRequest:
		out, n := TransformPlace(f.Arg)
		return fmt.Sprintf("%s(%s %d)", name, map[bool]string{false: "in", true: "out"}[out], n)
	case CTLabel, TCPOption, TransportByte, TransportWord, FlowPort, PacketByte, PacketWord:
		return fmt.Sprintf("%s(%d)", name, f.Arg)
	case CTPackets, CTBytes, CTAvgPkt:
		return name + [...]string{"(original)", "(reply)", "(both)"}[min(f.Arg, 2)]
	}
	return name
}
