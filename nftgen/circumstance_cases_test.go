package nftgen

// circumstanceCases are rules about the route, the device, the clock and the
// socket of a packet.
var circumstanceCases = []ruleCase{
	at(inPrerouting, Exists{Field: FibRoute(false, "iif")}), at(inPrerouting, Exists{Field: FibRoute(true, "iif"), Missing: true}),
	at(inPrerouting, Exists{Field: FibRoute(true, "")}), at(inPrerouting, eq(FibTypeByMark(true), u32(2))), at(inPrerouting, eq(FibTypeByMark(false), u32(2))),
	at(inPrerouting, ne(MetaIiftype, u16(772)), eq(IPSaddr, ip("192.0.2.7"))), at(inPrerouting, ne(MetaIiftype, u16(1))), at(inPrerouting, ne(MetaIiftype, u16(65534))),
	c(Compare{Field: MetaTime, Op: Ge, Value: u64(1577836800e9)}, Compare{Field: MetaTime, Op: Lt, Value: u64(2147483648e9)}),
	c(set(MetaTime, span(u64(0), u64(86400e9)), span(u64(5097600e9), u64(5184000e9)))), c(set(MetaTime, span(u64(86400e9), u64(172800e9)))),
	c(OneOf{Field: MetaTime, Intervals: []Interval{only(u64(86400e9)), only(u64(5184000e9))}, Not: true}), c(ne(MetaTime, u64(86400e9))),
	c(InSpan{Field: MetaHour, Low: u32(30600), High: u32(36000)}), c(InSpan{Field: MetaHour, Low: u32(3631), High: u32(82799), Not: true}), c(eq(MetaHour, u32(60))),
	c(set(MetaDay, only(u8(1)), only(u8(2)), only(u8(5)))), c(eq(MetaDay, u8(0))), c(ne(MetaHour, u32(43199))),
	c(HasLabel{5}), c(HasLabel{0}), c(HasLabel{127}), c(HasLabel{64}, SetLabel{64}, accept), c(SetLabel{127}), c(SetLabel{0}, HasLabel{0}),
	c(eq(CTHelper, Value("ftp"))), c(ne(CTHelper, Value("H.245"))), c(set(CTHelper, only(Value("ftp")), only(Value("ftp-2121")))),
	at(inPrerouting, eq(SocketWildcard, u8(1))), at(inPrerouting, Compare{Field: SocketTransparent, Op: Le, Value: u8(1)}), at(inPrerouting, eq(SocketTransparent, u8(1))),
	at(inPrerouting, Assign{Field: metaMark, From: &SocketMark}), c(Exists{Field: MetaIPsec}), c(Exists{Field: MetaIPsec, Missing: true}),
	at(inSrcnat, Exists{Field: RouteIPsec}), at(inSrcnat, Exists{Field: RouteIPsec, Missing: true}), c(eq(MetaClass, u32(5))), c(ne(MetaClass, u32(0x10001))),
	c(eq(IPsecRequest(false, 0), u32(5))), c(ne(IPsecRequest(false, 3), u32(0x100))), at(inSrcnat, Compare{Field: IPsecRequest(true, 1), Op: Ge, Value: u32(0)}), at(inSrcnat, eq(IPsecRequest(true, 0), u32(7))),
}
