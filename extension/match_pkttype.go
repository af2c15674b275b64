package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("pkttype", func() iptables.Match { return new(pkttypeMatch) }) }

var (
	_ iptsim.Meaning       = (*pkttypeMatch)(nil)
	_ translate.Translator = (*pkttypeMatch)(nil)
)

// pkttypeMatch is "-m pkttype": to whom the packet was addressed on the link.
//
// Copies of broadcasts and multicasts that the host loops back to itself count
// as broadcast or multicast by their IP destination.
//
// Kernel: net/netfilter/xt_pkttype.c.
type pkttypeMatch struct {
	Type iptables.Opt[packetType]
}

// A packetType is PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST or
// PACKET_OTHERHOST.
//
// Kernel: include/uapi/linux/if_packet.h.
type packetType uint8

// packetTypeNames are the names that are printed, by number, and behind them
// other spellings.
var packetTypeNames = []struct {
	name string
	kind packetType
}{
	{"unicast", 0}, {"broadcast", 1}, {"multicast", 2}, {"otherhost", 3},
	{"host", 0}, {"bcast", 1}, {"mcast", 2},
}

// Set reads a name in any case.
func (t *packetType) Set(arg string) error {
	for _, n := range packetTypeNames {
		if strings.EqualFold(n.name, arg) {
			*t = n.kind
			return nil
		}
	}
	return fmt.Errorf("%q is none of unicast, broadcast, multicast and otherhost", arg)
}

// String returns the name.
func (t *packetType) String() string { return packetTypeNames[*t].name }

func (*pkttypeMatch) Name() string { return "pkttype" }

func (m *pkttypeMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("pkt-type", &m.Type, iptables.Required|iptables.Invertible),
	}
}

func (m *pkttypeMatch) Meaning(c iptables.Context) predicate.Meaning {
	const (
		broadcast = 1
		multicast = 2
		loopback  = 5
	)
	pktType := predicate.Field{ID: predicate.PktType}
	test := predicate.Any{predicate.Equal(pktType, predicate.Number(uint64(m.Type.Value)))}
	looped := predicate.Equal(pktType, predicate.Number(loopback))
	// The multicast addresses of IPv4 are 224.0.0.0/4.
	toGroup := predicate.Masked{
		Field: predicate.Field{ID: predicate.DstAddr}, Mask: predicate.Number(0xf0000000), Value: predicate.Number(0xe0000000),
	}
	switch six := c.Family == iptables.IPv6; {
	case m.Type.Value == multicast && six:
		test = append(test, looped)
	case m.Type.Value == multicast:
		test = append(test, predicate.All{looped, toGroup})
	case m.Type.Value == broadcast && !six:
		test = append(test, predicate.All{looped, predicate.Not{P: toGroup}})
	}
	return predicate.Meaning{Match: negatedIf(m.Type.Negated, test)}
}

func (m *pkttypeMatch) Translate(r *translate.Rule) error {
	r.Add(nftgen.Compare{Field: nftgen.MetaPktType, Op: comparison(m.Type.Negated), Value: nftgen.Value{byte(m.Type.Value)}})
	return nil
}
