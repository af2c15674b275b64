package nftgen

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The catalogue of fields. A field is added by a line here; its loader says
// which expression reads it.

// Fields of the network header.
var (
	IPSaddr       = payloadField("ip saddr", fieldID{headerIP, 11}, ipv4Addr, networkHeader, 12, 4, need{l3: IP})
	IPDaddr       = payloadField("ip daddr", fieldID{headerIP, 12}, ipv4Addr, networkHeader, 16, 4, need{l3: IP})
	IPProtocol    = payloadField("ip protocol", fieldID{headerIP, 9}, inetProto, networkHeader, 9, 1, need{l3: IP})
	IPTTL         = payloadField("ip ttl", fieldID{headerIP, 8}, integer8, networkHeader, 8, 1, need{l3: IP})
	IPFragOff     = payloadField("ip frag-off", fieldID{headerIP, 7}, integer16, networkHeader, 6, 2, need{l3: IP})
	IP6Saddr      = payloadField("ip6 saddr", fieldID{headerIP6, 8}, ipv6Addr, networkHeader, 8, 16, need{l3: IP6})
	IP6Daddr      = payloadField("ip6 daddr", fieldID{headerIP6, 9}, ipv6Addr, networkHeader, 24, 16, need{l3: IP6})
	IP6NextHeader = payloadField("ip6 nexthdr", fieldID{headerIP6, 6}, inetProto, networkHeader, 6, 1, need{l3: IP6})
	IP6Hoplimit   = payloadField("ip6 hoplimit", fieldID{headerIP6, 7}, integer8, networkHeader, 7, 1, need{l3: IP6})
)

// NetworkBytes are n bytes, at most 16, at an offset from the network header of a
// family on: nft knows them by place only.
func NetworkBytes(family Family, offset, n int) Field {
	return rawField(fmt.Sprintf("@nh,%d,%d", 8*offset, 8*n), raw(n), networkHeader, uint32(offset), family)
}

// TransportBytes are such bytes from the transport header on.
func TransportBytes(family Family, offset, n int) Field {
	return rawField(fmt.Sprintf("@th,%d,%d", 8*offset, 8*n), raw(n), transportHeader, uint32(offset), family)
}

// NetworkBits are the first n bits, fewer than 8, of the byte at such an offset.
func NetworkBits(family Family, offset, n int) Field {
	return leadingBits(fmt.Sprintf("@nh,%d,%d", 8*offset, n), networkHeader, family, offset, n)
}

// TransportBits are such bits from the transport header on.
func TransportBits(family Family, offset, n int) Field {
	return leadingBits(fmt.Sprintf("@th,%d,%d", 8*offset, n), transportHeader, family, offset, n)
}

func leadingBits(text string, base uint32, family Family, offset, n int) Field {
	f := bitField(text, raw8, base, uint32(offset), Value{^byte(0xff >> n)})
	f.family = family
	return f
}

// Fields that are some of the bits of the type of service or traffic class: the
// first six, and the last two (RFC 2474, RFC 3168).
var (
	IPDSCP  = bitField("ip dscp", dscp, networkHeader, 1, Value{0xfc}, need{l3: IP})
	IPECN   = bitField("ip ecn", ecn, networkHeader, 1, Value{0x03}, need{l3: IP})
	IP6DSCP = bitField("ip6 dscp", dscp, networkHeader, 0, Value{0x0f, 0xc0}, need{l3: IP6})
	IP6ECN  = bitField("ip6 ecn", ecn, networkHeader, 1, Value{0x30}, need{l3: IP6})
	// IPTOS is the whole type of service, and IP6First the 16 bits of which the
	// middle eight are the traffic class: nft has no names for them.
	IPTOS    = rawField("@nh,8,8", raw8, networkHeader, 1, IP)
	IP6First = rawField("@nh,0,16", raw16, networkHeader, 0, IP6)
)

// Fields of the fragment header of IPv6 (RFC 8200, section 4.5).
var (
	// IP6Frag is whether there is one, for [Exists].
	IP6Frag = ipv6Header("exthdr frag", unix.IPPROTO_FRAGMENT)
	// IP6FragOff is the offset of the fragment; it can be compared with 0.
	IP6FragOff = ipv6HeaderField("frag frag-off", unix.IPPROTO_FRAGMENT, 2, integer16, Value{0xff, 0xf8})
)

// Other fields of the extension headers of IPv6: whether there is one, and what is
// in it (RFC 8200, section 4, and RFC 6275, section 6.1).
var (
	IP6HopByHop     = ipv6Header("exthdr hbh", unix.IPPROTO_HOPOPTS)
	IP6Routing      = ipv6Header("exthdr rt", unix.IPPROTO_ROUTING)
	IP6DestOpts     = ipv6Header("exthdr dst", unix.IPPROTO_DSTOPTS)
	IP6Mobility     = ipv6Header("exthdr mh", unix.IPPROTO_MH)
	IP6FragID       = ipv6HeaderField("frag id", unix.IPPROTO_FRAGMENT, 4, network32, nil)
	IP6FragReserved = ipv6HeaderField("frag reserved", unix.IPPROTO_FRAGMENT, 1, integer8, nil)
	// IP6FragReserved2 is the two bits before the last one.
	IP6FragReserved2 = ipv6HeaderField("frag reserved2", unix.IPPROTO_FRAGMENT, 3, integer8, Value{0x06})
	IP6FragMore      = ipv6HeaderBits("frag more-fragments", unix.IPPROTO_FRAGMENT, 3, integer8, Value{0x01})
	IP6RoutingType   = ipv6HeaderField("rt type", unix.IPPROTO_ROUTING, 2, integer8, nil)
	IP6SegmentsLeft  = ipv6HeaderField("rt seg-left", unix.IPPROTO_ROUTING, 3, integer8, nil)
	// Lengths are in units of 8 bytes, without the first.
	IP6RoutingLength  = ipv6HeaderField("rt hdrlength", unix.IPPROTO_ROUTING, 1, integer8, nil)
	IP6HopByHopLength = ipv6HeaderField("hbh hdrlength", unix.IPPROTO_HOPOPTS, 1, integer8, nil)
	IP6DestOptsLength = ipv6HeaderField("dst hdrlength", unix.IPPROTO_DSTOPTS, 1, integer8, nil)
	IP6MobilityType   = ipv6HeaderField("mh type", unix.IPPROTO_MH, 2, mobilityType, nil)
)

// Fields of the routing header of IPv6, of type 4 (RFC 8754, section 2). Of type 0,
// the first three are one field that is reserved (RFC 2460, section 4.4).
var (
	IP6RoutingNext      = ipv6HeaderField("rt nexthdr", unix.IPPROTO_ROUTING, 0, inetProto, nil)
	IP6SegmentLastEntry = ipv6HeaderField("srh last-entry", unix.IPPROTO_ROUTING, 4, integer8, nil)
	IP6SegmentFlags     = ipv6HeaderField("srh flags", unix.IPPROTO_ROUTING, 5, integer8, nil)
	IP6SegmentTag       = ipv6HeaderField("srh tag", unix.IPPROTO_ROUTING, 6, integer16, nil)
)

// MostSegments is how many addresses of a routing header nft 1.0.6 has names for.
const MostSegments = 2

// IP6RoutingAddress is the n-th address of a routing header of type 0, from 1 to
// [MostSegments].
func IP6RoutingAddress(n int) Field { return routingAddress("rt0 addr", n) }

// IP6Segment is such an address of one of type 4.
func IP6Segment(n int) Field { return routingAddress("srh sid", n) }

func routingAddress(name string, n int) Field {
	return ipv6HeaderField(fmt.Sprintf("%s[%d]", name, n), unix.IPPROTO_ROUTING, uint32(8+16*(n-1)), ipv6Addr, nil)
}

// Fields of the link header.
var (
	EtherDaddr = payloadField("ether daddr", fieldID{headerEther, 1}, etherAddr, linkHeader, 0, 6, need{ether: true})
	EtherSaddr = payloadField("ether saddr", fieldID{headerEther, 2}, etherAddr, linkHeader, 6, 6, need{ether: true})
)

// Fields of the transport header.
var (
	TCPFlags = payloadField("tcp flags", fieldID{headerTCP, 7}, tcpFlag, transportHeader, 13, 1, need{l4: 6})
	// TCPUrgent is the last field of a header without options.
	TCPUrgent  = payloadField("tcp urgptr", fieldID{headerTCP, 10}, integer16, transportHeader, 18, 2, need{l4: 6})
	ICMPType   = payloadField("icmp type", fieldID{headerICMP, 1}, icmpType, transportHeader, 0, 1, need{l4: 1, of: IP})
	ICMPCode   = payloadField("icmp code", fieldID{headerICMP, 2}, icmpCode, transportHeader, 1, 1, need{l4: 1, of: IP})
	ICMPv6Type = payloadField("icmpv6 type", fieldID{headerICMPv6, 1}, icmpv6Type, transportHeader, 0, 1, need{l4: 58, of: IP6})
	ICMPv6Code = payloadField("icmpv6 code", fieldID{headerICMPv6, 2}, icmpv6Code, transportHeader, 1, 1, need{l4: 58, of: IP6})
)

// Fields of the headers of ESP, AH, IPComp and DCCP.
var (
	ESPSPI     = payloadField("esp spi", fieldID{headerESP, 1}, network32, transportHeader, 0, 4, need{l4: unix.IPPROTO_ESP})
	AHSPI      = payloadField("ah spi", fieldID{headerAH, 4}, network32, transportHeader, 4, 4, need{l4: unix.IPPROTO_AH})
	AHLength   = payloadField("ah hdrlength", fieldID{headerAH, 2}, integer8, transportHeader, 1, 1, need{l4: unix.IPPROTO_AH})
	AHReserved = payloadField("ah reserved", fieldID{headerAH, 3}, integer16, transportHeader, 2, 2, need{l4: unix.IPPROTO_AH})
	// IPCompIndex is of the compression header.
	IPCompIndex = payloadField("comp cpi", fieldID{headerComp, 3}, integer16, transportHeader, 2, 2, need{l4: unix.IPPROTO_COMP})
	DCCPType    = bitField("dccp type", dccpType, transportHeader, 8, Value{0x1e}, need{l4: unix.IPPROTO_DCCP})
)

// TCPMaxSeg is the value of the TCP option of the maximum segment size. nft tests
// for no protocol before it.
var TCPMaxSeg = Field{
	Text: "tcp option maxseg size", Type: integer16,
	access: &access{load: loader{kind: loadTCPValue, key: 2, offset: 2, length: 2}},
}

// TransportByte7 and TransportByte11 are the last bytes of transport headers of 8
// and 12 bytes, whatever the protocol.
var (
	TransportByte7  = rawField("@th,56,8", raw8, transportHeader, 7, 0)
	TransportByte11 = rawField("@th,88,8", raw8, transportHeader, 11, 0)
)

// transports are the protocols whose headers begin with two ports.
var transports = map[uint8]struct {
	name string
	id   headerID
}{6: {"tcp", headerTCP}, 17: {"udp", headerUDP}, 33: {"dccp", headerDCCP}, 132: {"sctp", headerSCTP}, 136: {"udplite", headerUDPLite}}

// portPairs are the fields of the two ports of each of these protocols, and of 0, which
// stands for any.
var portPairs = func() map[uint8][2]Field {
	m := map[uint8][2]Field{0: {
		payloadField("th sport", fieldID{headerTransport, 1}, inetService, transportHeader, 0, 2),
		payloadField("th dport", fieldID{headerTransport, 2}, inetService, transportHeader, 2, 2),
	}}
	for proto, header := range transports {
		m[proto] = [2]Field{
			payloadField(header.name+" sport", fieldID{header.id, 1}, inetService, transportHeader, 0, 2, need{l4: proto}),
			payloadField(header.name+" dport", fieldID{header.id, 2}, inetService, transportHeader, 2, 2, need{l4: proto}),
		}
	}
	return m
}()

// Sport returns the source port of a protocol: "tcp sport". Protocol 0 is "th
// sport", which needs no protocol test and has none added.
func Sport(proto uint8) Field { return port(proto)[0] }

// Dport returns the destination port likewise.
func Dport(proto uint8) Field { return port(proto)[1] }

func port(proto uint8) [2]Field {
	if p, ok := portPairs[proto]; ok {
		return p
	}
	return portPairs[0]
}

// NoPort is the number 0 where a key has a port, beside other fields.
var NoPort = Field{Text: "0", Type: inetService, access: &access{load: loader{kind: loadConstant, length: 2}}}

// TCPOption returns the option of a kind, for [Exists].
func TCPOption(kind uint8) Field { return tcpOptionField(kind) }

// Fields of the packet's circumstances.
var (
	MetaMark = metaField("meta mark", mark, unix.NFT_META_MARK)
	// MetaPriority is the packet's class of traffic control.
	MetaPriority = metaField("meta priority", classID, unix.NFT_META_PRIORITY)
	// MetaSecmark is the packet's security mark, of a connection [CTSecmark].
	MetaSecmark = metaField("meta secmark", integer32, unix.NFT_META_SECMARK)
	MetaLength  = metaField("meta length", integer32, unix.NFT_META_LEN)
	MetaL4Proto = metaField("meta l4proto", hostProto, unix.NFT_META_L4PROTO)
	MetaNFProto = metaField("meta nfproto", nfProto, unix.NFT_META_NFPROTO)
	MetaIifname = metaField("iifname", ifname, unix.NFT_META_IIFNAME)
	MetaIiftype = metaField("iiftype", deviceType, unix.NFT_META_IIFTYPE)
	MetaOifname = metaField("oifname", ifname, unix.NFT_META_OIFNAME)
	MetaPktType = metaField("meta pkttype", pktType, unix.NFT_META_PKTTYPE)
	MetaSKUID   = metaField("meta skuid", uid, unix.NFT_META_SKUID)
	MetaSKGID   = metaField("meta skgid", gid, unix.NFT_META_SKGID)
	MetaCPU     = metaField("meta cpu", integer32, unix.NFT_META_CPU)
	// MetaClass is the class that the socket's control group has for traffic control.
	MetaClass = metaField("meta cgroup", integer32, unix.NFT_META_CGROUP)
	MetaRealm = metaField("meta rtclassid", realm, unix.NFT_META_RTCLASSID)
	// MetaIifgroup and MetaOifgroup are the groups of the devices.
	MetaIifgroup = metaField("iifgroup", deviceGroup, unix.NFT_META_IIFGROUP)
	MetaOifgroup = metaField("oifgroup", deviceGroup, unix.NFT_META_OIFGROUP)
	// MetaTime is nanoseconds since 1970, of which the text has whole seconds; MetaHour is
	// the second of the day, and MetaDay the day of the week from Sunday.
	MetaTime   = metaField("meta time", clock, 30)
	MetaHour   = metaField("meta hour", secondOfDay, 32)
	MetaDay    = metaField("meta day", weekday, 31)
	MetaRandom = metaField("meta random", randomNumber, unix.NFT_META_PRANDOM)
)

// Fields of the connection. CTHelper is the name of the helper that expected it, of
// that of the connection that it belongs to. Values of CTExpiration are in milliseconds.
var (
	CTState      = ctField("ct state", ctState, unix.NFT_CT_STATE)
	CTStatus     = ctField("ct status", ctStatus, unix.NFT_CT_STATUS)
	CTSecmark    = ctField("ct secmark", integer32, unix.NFT_CT_SECMARK)
	CTMark       = ctField("ct mark", mark, unix.NFT_CT_MARK)
	CTDirection  = ctField("ct direction", ctDir, unix.NFT_CT_DIRECTION)
	CTHelper     = ctField("ct helper", helperName, unix.NFT_CT_HELPER)
	CTExpiration = ctField("ct expiration", timeType, unix.NFT_CT_EXPIRATION)
)

// CTProtocol is the protocol of the connection's original tuple.
var CTProtocol = ctDirField("ct original protocol", inetProto, unix.NFT_CT_PROTOCOL, false)

// CTSaddr and its kin are fields of one direction of the connection. l3 is IP
// or IP6.
func CTSaddr(reply bool, l3 Family) Field { return ctAddr(reply, l3, "saddr", false) }

// CTDaddr is the destination address of a direction.
func CTDaddr(reply bool, l3 Family) Field { return ctAddr(reply, l3, "daddr", true) }

// CTSport is the source port of a direction.
func CTSport(reply bool) Field {
	return ctDirField("ct "+direction(reply)+" proto-src", inetService, unix.NFT_CT_PROTO_SRC, reply)
}

// CTDport is the destination port of a direction.
func CTDport(reply bool) Field {
	return ctDirField("ct "+direction(reply)+" proto-dst", inetService, unix.NFT_CT_PROTO_DST, reply)
}

// A CTCounterDir selects whose traffic a connection counter counts.
type CTCounterDir uint8

// The directions of connection counters.
const (
	CTOriginal CTCounterDir = iota
	CTReply
	CTBoth
)

// CTPackets, CTBytes and CTAvgPkt are the connection's counters.
func CTPackets(d CTCounterDir) Field { return ctCounter("packets", unix.NFT_CT_PKTS, d) }

// CTBytes counts bytes.
func CTBytes(d CTCounterDir) Field { return ctCounter("bytes", unix.NFT_CT_BYTES, d) }

// CTAvgPkt is bytes per packet.
func CTAvgPkt(d CTCounterDir) Field { return ctCounter("avgpkt", unix.NFT_CT_AVGPKT, d) }

// FibType is the route type of the packet's source or destination address:
// "fib daddr type". iface is "", "iif" or "oif".
func FibType(source bool, iface string) Field { return fibTypeField(source, iface) }

// FibRoute is whether there is a route to the packet's source that is not one to
// the host itself, for [Exists]: "fib saddr . iif oif". iface is "" or "iif"; with
// mark the packet's mark is looked up too.
func FibRoute(mark bool, iface string) Field { return fibRouteField(mark, iface) }

// FibTypeByMark is the route type of the packet's source, looked up by its mark or
// without.
func FibTypeByMark(mark bool) Field {
	f := fibTypeField(true, "")
	if mark {
		f.Text, f.load.marked = "fib saddr . mark type", true
	}
	return f
}

// NumgenInc is "numgen inc mod N": a counter that goes round.
func NumgenInc(mod uint32) Field { return numgenField(mod) }
