package nftgen

import "math/big"

// The datatypes, with the numbers by which nft names them in sets.
//
// Source: nftables include/datatype.h, enum datatypes (values are part of the
// userdata format that "nft list" reads back).
var (
	integer8    = &Datatype{Name: "integer", Number: 4, Bytes: 1, Order: BigEndian, format: decimal}
	integer16   = &Datatype{Name: "integer", Number: 4, Bytes: 2, Order: BigEndian, format: decimal}
	integer32   = &Datatype{Name: "integer", Number: 4, Bytes: 4, Order: HostEndian, format: decimal}
	integer64   = &Datatype{Name: "integer", Number: 4, Bytes: 8, Order: HostEndian, format: decimal}
	nfProto     = &Datatype{Name: "nf_proto", Number: 2, Bytes: 1, Order: HostEndian, format: named(nfProtoNames, decimal), ends: decimal}
	ipv4Addr    = &Datatype{Name: "ipv4_addr", Number: 7, Bytes: 4, Order: BigEndian, format: address, prefixes: true}
	ipv6Addr    = &Datatype{Name: "ipv6_addr", Number: 8, Bytes: 16, Order: BigEndian, format: address, prefixes: true}
	etherAddr   = &Datatype{Name: "ether_addr", Number: 9, Bytes: 6, Order: BigEndian, format: hardware}
	inetProto   = &Datatype{Name: "inet_proto", Number: 12, Bytes: 1, Order: BigEndian, format: named(protocolNames, decimal), ends: decimal}
	inetService = &Datatype{Name: "inet_service", Number: 13, Bytes: 2, Order: BigEndian, format: decimal}
	icmpType    = &Datatype{Name: "icmp_type", Number: 14, Bytes: 1, Order: BigEndian, format: named(icmpTypeNames, decimal), ends: decimal}
	tcpFlag     = &Datatype{Name: "tcp_flag", Number: 15, Bytes: 1, Order: BigEndian, format: flags(tcpFlagNames), bits: tcpFlagNames}
	mark        = &Datatype{Name: "mark", Number: 19, Bytes: 4, Order: HostEndian, format: hex}
	classID     = &Datatype{Name: "classid", Number: 23, Bytes: 4, Order: HostEndian, format: class}
	ctState     = &Datatype{Name: "ct_state", Number: 26, Bytes: 4, Order: HostEndian, format: flags(ctStateNames), bits: ctStateNames}
	ctDir       = &Datatype{Name: "ct_dir", Number: 27, Bytes: 1, Order: HostEndian, format: named(ctDirNames, decimal), ends: decimal}
	ctStatus    = &Datatype{Name: "ct_status", Number: 28, Bytes: 4, Order: HostEndian, format: flags(ctStatusNames), bits: ctStatusNames}
	icmpv6Type  = &Datatype{Name: "icmpv6_type", Number: 29, Bytes: 1, Order: BigEndian, format: named(icmpv6TypeNames, decimal), ends: decimal}
	icmpCode    = &Datatype{Name: "icmp_code", Number: 32, Bytes: 1, Order: BigEndian, format: decimal}
	icmpv6Code  = &Datatype{Name: "icmpv6_code", Number: 33, Bytes: 1, Order: BigEndian, format: decimal}
	pktType     = &Datatype{Name: "pkt_type", Number: 31, Bytes: 1, Order: HostEndian, format: named(pktTypeNames, decimal), ends: decimal}
	uid         = &Datatype{Name: "uid", Number: 24, Bytes: 4, Order: HostEndian, format: decimal}
	gid         = &Datatype{Name: "gid", Number: 25, Bytes: 4, Order: HostEndian, format: decimal}
	ifname      = &Datatype{Name: "ifname", Number: 41, Bytes: 16, Order: HostEndian, format: quotedName, text: true}
	timeType    = &Datatype{Name: "time", Number: 18, Bytes: 4, Order: HostEndian, format: milliseconds}
	fibAddrType = &Datatype{Name: "fib_addrtype", Number: 38, Bytes: 4, Order: HostEndian, format: named(routeTypeNames, decimal), ends: decimal}
	boolean     = &Datatype{Name: "boolean", Number: 34, Bytes: 1, Order: HostEndian, format: decimal}

	mobilityType = &Datatype{Name: "mh_type", Number: 17, Bytes: 1, Order: BigEndian, format: decimal}
	network32    = &Datatype{Name: "integer", Number: 4, Bytes: 4, Order: BigEndian, format: decimal}
	dscp         = &Datatype{Name: "dscp", Number: 36, Bytes: 1, Order: BigEndian, format: hex}
	ecn          = &Datatype{Name: "ecn", Number: 37, Bytes: 1, Order: BigEndian, format: named(ecnNames, decimal), ends: decimal}
	dccpType     = &Datatype{Name: "dccp_pkttype", Number: 16, Bytes: 1, Order: BigEndian, format: named(dccpTypeNames, decimal), ends: decimal}
	realm        = &Datatype{Name: "realm", Number: 22, Bytes: 4, Order: HostEndian, format: decimal}
	deviceGroup  = &Datatype{Name: "devgroup", Number: 35, Bytes: 4, Order: HostEndian, format: decimal}

	clock       = &Datatype{Name: "time", Number: 43, Bytes: 8, Order: HostEndian, format: wholeSeconds}
	helperName  = &Datatype{Name: "string", Number: 5, Bytes: 16, Order: HostEndian, format: quotedName, text: true}
	secondOfDay = &Datatype{Name: "hour", Number: 44, Bytes: 4, Order: HostEndian, format: decimal}
	weekday     = &Datatype{Name: "day", Number: 45, Bytes: 1, Order: HostEndian, format: decimal}
	deviceType  = &Datatype{Name: "iface_type", Number: 21, Bytes: 2, Order: HostEndian, format: named(deviceTypeNames, decimal), ends: decimal}

	// Bytes of a header that nft knows by place only.
	raw8  = raw(1)
	raw16 = raw(2)

	// hostProto is the protocol that the kernel found, in the order of the host
	// by name; it is one byte.
	hostProto = &Datatype{Name: "inet_proto", Number: 12, Bytes: 1, Order: HostEndian, format: named(protocolNames, decimal), ends: decimal}

	// randomNumber is "meta random", which nft reads as if it stood in network
	// byte order.
	randomNumber = &Datatype{Name: "integer", Number: 4, Bytes: 4, Order: BigEndian, format: decimal}
)

// A symbol is a number that nft knows by name.
type symbol struct {
	name  string
	value uint64
}

// The names below are those that nft 1.0.6 knows without asking the files of
// the host, such as /etc/protocols.
var (
	nfProtoNames = []symbol{{"ipv4", 2}, {"ipv6", 10}}

	protocolNames = []symbol{
		{"icmp", 1}, {"igmp", 2}, {"tcp", 6}, {"udp", 17}, {"dccp", 33}, {"esp", 50}, {"ah", 51}, {"icmpv6", 58},
		{"comp", 108}, {"sctp", 132}, {"udplite", 136},
	}

	icmpTypeNames = []symbol{
		{"echo-reply", 0}, {"destination-unreachable", 3}, {"source-quench", 4}, {"redirect", 5}, {"echo-request", 8},
		{"router-advertisement", 9}, {"router-solicitation", 10}, {"time-exceeded", 11}, {"parameter-problem", 12},
		{"timestamp-request", 13}, {"timestamp-reply", 14}, {"info-request", 15}, {"info-reply", 16},
		{"address-mask-request", 17}, {"address-mask-reply", 18},
	}

	icmpv6TypeNames = []symbol{
		{"destination-unreachable", 1}, {"packet-too-big", 2}, {"time-exceeded", 3}, {"parameter-problem", 4},
		{"echo-request", 128}, {"echo-reply", 129}, {"mld-listener-query", 130}, {"mld-listener-report", 131},
		{"mld-listener-done", 132}, {"nd-router-solicit", 133}, {"nd-router-advert", 134}, {"nd-neighbor-solicit", 135},
		{"nd-neighbor-advert", 136}, {"nd-redirect", 137},
	}

	tcpFlagNames = []symbol{
		{"fin", 0x01}, {"syn", 0x02}, {"rst", 0x04}, {"psh", 0x08}, {"ack", 0x10}, {"urg", 0x20}, {"ecn", 0x40}, {"cwr", 0x80},
	}

	ctStateNames = []symbol{{"invalid", 1}, {"established", 2}, {"related", 4}, {"new", 8}, {"untracked", 64}}

	ctStatusNames = []symbol{
		{"expected", 1}, {"seen-reply", 2}, {"assured", 4}, {"confirmed", 8}, {"snat", 16}, {"dnat", 32}, {"dying", 512},
	}

	ecnNames = []symbol{{"not-ect", 0}, {"ect1", 1}, {"ect0", 2}, {"ce", 3}}

	dccpTypeNames = []symbol{
		{"request", 0}, {"response", 1}, {"data", 2}, {"ack", 3}, {"dataack", 4}, {"closereq", 5}, {"close", 6}, {"reset", 7},
		{"sync", 8}, {"syncack", 9},
	}

	ctDirNames = []symbol{{"original", 0}, {"reply", 1}}

	pktTypeNames = []symbol{{"host", 0}, {"broadcast", 1}, {"multicast", 2}, {"other", 3}}

	deviceTypeNames = []symbol{{"ether", 1}, {"ppp", 512}, {"ipip", 768}, {"ipip6", 769}, {"loopback", 772}, {"sit", 776}, {"ipgre", 778}}

	routeTypeNames = []symbol{
		{"unspec", 0}, {"unicast", 1}, {"local", 2}, {"broadcast", 3}, {"anycast", 4}, {"multicast", 5}, {"blackhole", 6},
		{"unreachable", 7}, {"prohibit", 8},
	}
)

// raw is the type of n bytes that nft knows by place only.
func raw(n int) *Datatype {
	t := &Datatype{Name: "integer", Number: 4, Bytes: n, Order: BigEndian, format: hex}
	if n > 8 {
		t.format = func(text []byte, v Value) []byte { return new(big.Int).SetBytes(v).Append(append(text, "0x"...), 16) }
	}
	return t
}
