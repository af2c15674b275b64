package nftgen

import (
	"fmt"

	"github.com/google/nftables/expr"
)

// NATMap is "dnat to f . g map @map": the address that new connections are translated
// to, or the address and port, is that of the element which holds the key. Where none
// does, the rule ends there.
type NATMap struct {
	Destination bool
	Fields      []Field
	Masks       []Value // nil, or one per field, nil for none
	Map         *Set    // to values of [NATData]
}

// NATData is the type of what a [NATMap] leads to: addresses of the width of one, with
// a port behind them, in four bytes, or without.
func NATData(addressBytes int, port bool) *Datatype { return natData[addressBytes == 16][port] }

// natData are the types, by whether the address is of IPv6 and has a port.
var natData = map[bool]map[bool]*Datatype{
	false: {false: ipv4Addr, true: withPort(ipv4Addr)},
	true:  {false: ipv6Addr, true: withPort(ipv6Addr)},
}

// portBytes is the room that a port takes in registers.
const portBytes = 4

func withPort(address *Datatype) *Datatype {
	return &Datatype{
		Name: address.Name + " . " + inetService.Name, Number: address.Number<<6 | inetService.Number,
		Bytes: address.Bytes + portBytes, Order: BigEndian, pair: true,
		format: func(text []byte, v Value) []byte {
			n := address.Bytes
			return inetService.format(append(address.format(text, v[:n]), " . "...), v[n:n+inetService.Bytes])
		},
	}
}

var _ action = NATMap{}

func (NATMap) stmt() {}

// terminal is true: a packet that is translated meets no rule behind.
func (NATMap) terminal() bool { return true }

func (s NATMap) family() Family {
	for _, t := range natData[true] {
		if s.Map.Data == t {
			return IP6
		}
	}
	return IP
}

func (s NATMap) port() bool {
	return s.Map.Data == natData[false][true] || s.Map.Data == natData[true][true]
}

func (s NATMap) check() error {
	if s.Map == nil || s.Map.Data == nil || s.Map.Bulk.Len() == 0 {
		return fmt.Errorf("write nat: there is no map, or it holds no values")
	}
	known := false
	for _, types := range natData {
		known = known || types[false] == s.Map.Data || types[true] == s.Map.Data
	}
	if !known {
		return fmt.Errorf("write nat: the map %s holds no addresses", s.Map.Name)
	}
	return checkKey(s.Fields, s.Masks, s.Map)
}

func (s NATMap) text(table Family) string {
	word := "snat"
	if s.Destination {
		word = "dnat"
	}
	if table == Inet {
		word += " " + s.family().String()
	}
	return word + " to " + keyText(s.Fields, s.Masks) + " map @" + s.Map.Name
}

func (s NATMap) compile(c *compiler) error {
	e := &expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(s.family()), RegAddrMin: 1}
	if s.Destination {
		e.Type = expr.NATTypeDestNAT
	}
	if c.l3 != 0 && c.l3 != s.family() {
		return fmt.Errorf("write nat: the rule is for family %s", c.l3)
	}
	if s.port() {
		if err := c.needPorts(s.text(c.table), portSpan{low: 1}); err != nil {
			return err
		}
		e.Specified = true
		e.RegProtoMin = register((s.Map.Data.Bytes - portBytes) / 4)
	}
	c.add(append(loadAll(s.Fields, s.Masks, s.Map.Interval), lookupInto(s.Map.Name, c.ids[s.Map], 1, 1), fromLibrary{e})...)
	return nil
}
