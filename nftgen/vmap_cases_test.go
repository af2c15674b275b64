package nftgen

import "slices"

var (
	drop     = VerdictStmt{Kind: Drop}
	jumpUser = VerdictStmt{Kind: Jump, Chain: "user"}
	gotoUser = VerdictStmt{Kind: Goto, Chain: "user"}
)

// Maps to verdicts.
var (
	portMap = verdictMap("port_map", []*Datatype{inetService}, false, func(b *Bulk) {
		b.AddVerdict(u16(22), nil, ElementExtra{}, accept)
		b.AddVerdict(u16(80), nil, ElementExtra{Comment: "web"}, jumpUser)
		b.AddVerdict(u16(443), nil, ElementExtra{}, gotoUser)
	})
	netMap = verdictMap("net_map", []*Datatype{ipv4Addr}, true, func(b *Bulk) {
		b.AddVerdict(ip("10.0.0.0"), ip("10.255.255.255"), ElementExtra{}, drop)
		b.AddVerdict(ip("11.0.0.0"), ip("11.0.0.5"), ElementExtra{}, jumpUser) // touches
		b.AddVerdict(ip("224.0.0.0"), ip("255.255.255.255"), ElementExtra{}, VerdictStmt{Kind: Return})
	})
	serviceMap = verdictMap("service_map", []*Datatype{ipv4Addr, inetProto, inetService}, false, func(b *Bulk) {
		b.AddVerdict(slices.Concat(ip("10.0.0.1"), u8(6), u16(80)), nil, ElementExtra{}, gotoUser)
		b.AddVerdict(slices.Concat(ip("10.0.0.1"), u8(17), u16(53)), nil, ElementExtra{}, VerdictStmt{Kind: Continue})
	})
	rangeMap = verdictMap("range_map", []*Datatype{ipv4Addr, inetService}, true, func(b *Bulk) {
		b.AddVerdict(slices.Concat(ip("10.0.0.0"), u16(80)), slices.Concat(ip("10.255.255.255"), u16(90)), ElementExtra{}, drop)
		b.AddVerdict(slices.Concat(ip("11.0.0.1"), u16(1)), slices.Concat(ip("11.0.0.1"), u16(1)), ElementExtra{}, accept)
	})
	countedMap = func() *Set {
		s := verdictMap("counted_map", []*Datatype{ipv4Addr}, false, func(b *Bulk) {
			b.AddVerdict(ip("10.0.0.1"), nil, ElementExtra{Packets: 3, Bytes: 100}, drop)
			b.AddVerdict(ip("10.0.0.2"), nil, ElementExtra{}, accept)
		})
		s.Counter, s.Size = true, 2
		return s
	}()
	inlineMap   = func(name string) *Set { s := *portMap; s.Name = name; return &s }("")
	inlinePairs = func() *Set { s := *serviceMap; s.Name = ""; return &s }()
)

func verdictMap(name string, key []*Datatype, interval bool, fill func(*Bulk)) *Set {
	s := bulkSet(name, key, interval, fill)
	s.Verdicts = true
	return s
}

// Maps to values.
var (
	markMap = valueMap("mark_map", []*Datatype{ipv4Addr}, false, mark, func(b *Bulk) {
		b.AddValue(ip("10.0.0.1"), nil, ElementExtra{}, u32(0x10203))
		b.AddValue(ip("10.0.0.2"), nil, ElementExtra{Comment: "two"}, u32(2))
	})
	classMap = valueMap("class_map", []*Datatype{ipv4Addr}, true, classID, func(b *Bulk) {
		b.AddValue(ip("10.0.0.0"), ip("10.0.0.255"), ElementExtra{}, u32(0x10010))
		b.AddValue(ip("10.0.1.0"), ip("10.0.1.255"), ElementExtra{}, u32(0)) // touches
		b.AddValue(ip("224.0.0.0"), ip("255.255.255.255"), ElementExtra{}, u32(0xffff0001))
	})
	portMarkMap = valueMap("port_mark_map", []*Datatype{ipv4Addr, inetService}, false, mark, func(b *Bulk) {
		b.AddValue(slices.Concat(ip("10.0.0.1"), u16(80)), nil, ElementExtra{}, u32(1<<31))
	})
)

// Maps to addresses and ports.
var (
	natMap4 = valueMap("nat_map", []*Datatype{inetService}, false, NATData(4, false), func(b *Bulk) {
		b.AddValue(u16(80), nil, ElementExtra{}, ip("10.0.0.1"))
		b.AddValue(u16(443), nil, ElementExtra{Comment: "two"}, ip("10.0.0.2"))
	})
	natMap6 = valueMap("nat_map6", []*Datatype{ipv6Addr}, false, NATData(16, false), func(b *Bulk) {
		b.AddValue(ip("2001:db8::1"), nil, ElementExtra{}, ip("fd00::1"))
	})
	natAddressMap = valueMap("nat_address_map", []*Datatype{ipv4Addr}, false, NATData(4, false), func(b *Bulk) {
		b.AddValue(ip("192.0.2.0"), nil, ElementExtra{}, ip("10.0.0.1"))
	})
	natPortMap4 = valueMap("nat_port_map", []*Datatype{ipv4Addr, inetService}, false, NATData(4, true), func(b *Bulk) {
		b.AddValue(slices.Concat(ip("192.0.2.1"), u16(80)), nil, ElementExtra{}, slices.Concat(ip("10.0.0.1"), u16(8080), u16(0)))
		b.AddValue(slices.Concat(ip("192.0.2.1"), u16(81)), nil, ElementExtra{}, slices.Concat(ip("10.0.0.2"), u16(1), u16(0)))
	})
	natPortMap6 = valueMap("nat_port_map6", []*Datatype{inetService}, true, NATData(16, true), func(b *Bulk) {
		b.AddValue(u16(80), u16(90), ElementExtra{}, slices.Concat(ip("fd00::1"), u16(8080), u16(0)))
	})
)

func valueMap(name string, key []*Datatype, interval bool, data *Datatype, fill func(*Bulk)) *Set {
	s := bulkSet(name, key, interval, fill)
	s.Data = data
	return s
}

// mapCases are rules that look verdicts and values up.
var mapCases = []ruleCase{
	c(set(MetaIiftype, only(u16(1)), only(u16(772)))),
	c(MapAssign{Field: MetaMark, Fields: []Field{IPSaddr}, Map: markMap}),
	c(MapAssign{Field: MetaPriority, Fields: []Field{IPDaddr}, Map: classMap}),
	c(MapAssign{Field: MetaMark, Fields: []Field{IPSaddr}, Masks: []Value{ip("255.255.255.0")}, Map: markMap}, counter),
	c(MapAssign{Field: MetaMark, Fields: []Field{IPSaddr, Dport(6)}, Map: portMarkMap}),
	at(inDstnat, NATMap{Destination: true, Fields: []Field{Dport(6)}, Map: natMap4}),
	at(inSrcnat, NATMap{Fields: []Field{IP6Saddr}, Map: natMap6}),
	at(inDstnat, NATMap{Destination: true, Fields: []Field{IPDaddr, Dport(17)}, Map: natPortMap4}),
	at(inDstnat, NATMap{Destination: true, Fields: []Field{Dport(6)}, Map: natPortMap6}),
	at(inDstnat, NATMap{Destination: true, Fields: []Field{IPDaddr}, Masks: []Value{ip("255.255.255.0")}, Map: natAddressMap}),
	c(Vmap{Fields: []Field{Dport(6)}, Map: portMap}),
	c(tcpOrUDP, Vmap{Fields: []Field{Dport(0)}, Map: portMap}),
	c(Vmap{Fields: []Field{IPSaddr}, Map: netMap}),
	c(Vmap{Fields: []Field{IPDaddr, MetaL4Proto, Dport(0)}, Map: serviceMap}),
	c(Vmap{Fields: []Field{IPSaddr, Dport(6)}, Map: rangeMap}),
	c(Vmap{Fields: []Field{IPSaddr}, Masks: []Value{ip("255.255.255.0")}, Map: countedMap}),
	c(Vmap{Fields: []Field{Dport(6)}, Map: inlineMap}),
	c(counter, Vmap{Fields: []Field{IPDaddr, MetaL4Proto, Dport(0)}, Map: inlinePairs}),
}
