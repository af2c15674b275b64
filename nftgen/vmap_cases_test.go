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

// mapCases are rules that look verdicts up.
var mapCases = []ruleCase{
	c(Vmap{Fields: []Field{Dport(6)}, Map: portMap}),
	c(tcpOrUDP, Vmap{Fields: []Field{Dport(0)}, Map: portMap}),
	c(Vmap{Fields: []Field{IPSaddr}, Map: netMap}),
	c(Vmap{Fields: []Field{IPDaddr, MetaL4Proto, Dport(0)}, Map: serviceMap}),
	c(Vmap{Fields: []Field{IPSaddr, Dport(6)}, Map: rangeMap}),
	c(Vmap{Fields: []Field{IPSaddr}, Masks: []Value{ip("255.255.255.0")}, Map: countedMap}),
	c(Vmap{Fields: []Field{Dport(6)}, Map: inlineMap}),
	c(counter, Vmap{Fields: []Field{IPDaddr, MetaL4Proto, Dport(0)}, Map: inlinePairs}),
}
