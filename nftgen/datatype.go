package nftgen

// The datatypes, with the numbers by which nft names them in sets.
//
// Source: nftables include/datatype.h, enum datatypes (values are part of the
// userdata format that "nft list" reads back).
var (
	integer8    = &Datatype{Name: "integer", Number: 4, Bytes: 1, Order: BigEndian}
	integer16   = &Datatype{Name: "integer", Number: 4, Bytes: 2, Order: BigEndian}
	integer32   = &Datatype{Name: "integer", Number: 4, Bytes: 4, Order: HostEndian}
	integer64   = &Datatype{Name: "integer", Number: 4, Bytes: 8, Order: HostEndian}
	nfProto     = &Datatype{Name: "nf_proto", Number: 2, Bytes: 1, Order: HostEndian}
	ipv4Addr    = &Datatype{Name: "ipv4_addr", Number: 7, Bytes: 4, Order: BigEndian}
	ipv6Addr    = &Datatype{Name: "ipv6_addr", Number: 8, Bytes: 16, Order: BigEndian}
	etherAddr   = &Datatype{Name: "ether_addr", Number: 9, Bytes: 6, Order: BigEndian}
	inetProto   = &Datatype{Name: "inet_proto", Number: 12, Bytes: 1, Order: BigEndian}
	inetService = &Datatype{Name: "inet_service", Number: 13, Bytes: 2, Order: BigEndian}
	icmpType    = &Datatype{Name: "icmp_type", Number: 14, Bytes: 1, Order: BigEndian}
	tcpFlag     = &Datatype{Name: "tcp_flag", Number: 15, Bytes: 1, Order: BigEndian}
	mark        = &Datatype{Name: "mark", Number: 19, Bytes: 4, Order: HostEndian}
	ctState     = &Datatype{Name: "ct_state", Number: 26, Bytes: 4, Order: HostEndian}
	ctDir       = &Datatype{Name: "ct_dir", Number: 27, Bytes: 1, Order: HostEndian}
	ctStatus    = &Datatype{Name: "ct_status", Number: 28, Bytes: 4, Order: HostEndian}
	icmpv6Type  = &Datatype{Name: "icmpv6_type", Number: 29, Bytes: 1, Order: BigEndian}
	icmpCode    = &Datatype{Name: "icmp_code", Number: 32, Bytes: 1, Order: BigEndian}
	icmpv6Code  = &Datatype{Name: "icmpv6_code", Number: 33, Bytes: 1, Order: BigEndian}
	pktType     = &Datatype{Name: "pkt_type", Number: 31, Bytes: 1, Order: HostEndian}
	uid         = &Datatype{Name: "uid", Number: 24, Bytes: 4, Order: HostEndian}
	gid         = &Datatype{Name: "gid", Number: 25, Bytes: 4, Order: HostEndian}
	ifname      = &Datatype{Name: "ifname", Number: 41, Bytes: 16, Order: HostEndian}
	timeType    = &Datatype{Name: "time", Number: 30, Bytes: 4, Order: HostEndian}
	fibAddrType = &Datatype{Name: "fib_addrtype", Number: 39, Bytes: 4, Order: HostEndian}
	boolean     = &Datatype{Name: "boolean", Number: 34, Bytes: 1, Order: HostEndian}
)
