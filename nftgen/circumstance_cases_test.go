package nftgen

// circumstanceCases are rules about the route, the device, the clock and the
// socket of a packet.
var circumstanceCases = []ruleCase{
	at(inPrerouting, Exists{Field: FibRoute(false, "iif")}), at(inPrerouting, Exists{Field: FibRoute(true, "iif"), Missing: true}),
	at(inPrerouting, Exists{Field: FibRoute(true, "")}), at(inPrerouting, eq(FibTypeByMark(true), u32(2))), at(inPrerouting, eq(FibTypeByMark(false), u32(2))),
	at(inPrerouting, ne(MetaIiftype, u16(772)), eq(IPSaddr, ip("192.0.2.7"))), at(inPrerouting, ne(MetaIiftype, u16(1))), at(inPrerouting, ne(MetaIiftype, u16(65534))),
}
