package iptsim

import (
	"fmt"
	"math"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
)

// setTests turns tests of ipsets into tests of fields. Several machines may
// share it.
type setTests struct {
	sets  *ipset.Sets
	trees map[treeKey]*tree
	// changed are the sets that rules change, by name, each with the protocols of
	// those rules; 0 is any.
	changed map[string]map[uint8]bool
}

// A treeKey names a part of a set: its elements of one protocol, where the type
// has ports, by members or by exceptions.
type treeKey struct {
	set        *ipset.Set
	proto      int
	exceptions bool
	// carries is what its elements carry that count, where valued.
	carries carried
	valued  bool
}

func newSetTests(sets *ipset.Sets) *setTests {
	return &setTests{sets: sets, trees: make(map[treeKey]*tree)}
}

// resolve puts what a test means in the place of each test of a set.
func (t *setTests) resolve(p predicate.Predicate, family iptables.Family) predicate.Predicate {
	switch p := p.(type) {
	case predicate.All:
		parts := make(predicate.All, len(p))
		for i, part := range p {
			parts[i] = t.resolve(part, family)
		}
		return parts
	case predicate.Any:
		parts := make(predicate.Any, len(p))
		for i, part := range p {
			parts[i] = t.resolve(part, family)
		}
		return parts
	case predicate.Not:
		return predicate.Not{P: t.resolve(p.P, family)}
	case predicate.NamedSet:
		set := t.sets.Set(p.Name)
		if set == nil {
			return predicate.Unmodelled{What: fmt.Sprintf("set %s, which no file gives", p.Name)}
		}
		return t.test(set, p, family)
	}
	return p
}

// test is whether a packet makes an element of a set.
//
// A test with fewer directions than the type has dimensions is false, and so is
// one of a set of the other family. A list holds what any of its sets does.
//
// Kernel: net/netfilter/ipset/ip_set_core.c, ip_set_test; ip_set_list_set.c,
// list_set_ktest.
func (t *setTests) test(set *ipset.Set, p predicate.NamedSet, family iptables.Family) predicate.Predicate {
	return t.testOf(set, p, family, nil)
}

// testOf is test of the elements that carry something, nil for all.
func (t *setTests) testOf(set *ipset.Set, p predicate.NamedSet, family iptables.Family, carries *carried) predicate.Predicate {
	if set.Type.IsList() {
		any := predicate.Any{}
		set.Elements(func(_ int, e *ipset.Element) bool {
			if e.Extra != nil && set.Options.HasTimeout && e.Extra.Timeout != 0 {
				any = append(any, predicate.Unmodelled{What: "an element of list " + set.Name + " that expires"})
				return true
			}
			any = append(any, t.test(e.Member, p, family))
			return true
		})
		return any
	}
	o := &set.Options
	if len(p.Source) < len(set.Type.Parts) || o.Family != 0 && o.Family != uint8(family) ||
		set.Type.Bitmap && set.Type.Parts[0] == ipset.IP && family != iptables.IPv4 {
		return predicate.Const(false)
	}
	exceptions := p.ReturnNomatch && set.Type.Nomatch()
	if why := unmodelledSet(set); why != "" {
		return predicate.Unmodelled{What: why}
	}
	key := treeKey{set: set, proto: -1, exceptions: exceptions}
	if carries != nil {
		key.carries, key.valued = *carries, true
	}
	if !ported(set) {
		return t.member(key, p.Source)
	}
	any := predicate.Any{}
	for _, proto := range t.protocolsOf(set) {
		test := predicate.All{predicate.Equal(predicate.Field{ID: predicate.Protocol}, predicate.Number(uint64(proto)))}
		test = append(test, readable(proto, family)...)
		key.proto = int(proto)
		if set.Type.Bitmap {
			key.proto = 0
		}
		any = append(any, append(test, t.member(key, p.Source)))
	}
	return any
}

// readable is whether ipset reads the port of a packet of a protocol.
//
// Kernel: net/netfilter/ipset/ip_set_getport.c, ip_set_get_ip4_port and
// ip_set_get_ip6_port.
func readable(proto uint8, family iptables.Family) predicate.All {
	first := predicate.Equal(predicate.Field{ID: predicate.FragmentOffset}, predicate.Bits{})
	if size := headerBytes(proto); size > 0 {
		whole := predicate.Between{Field: predicate.Field{ID: predicate.TransportBytes}, Low: predicate.Number(size), High: predicate.Number(math.MaxUint32)}
		return predicate.All{first, whole}
	}
	if family == iptables.IPv6 {
		return predicate.All{first}
	}
	return nil
}

// headerBytes is how much of a transport header there must be for its ports, or
// its type and code, to be read; 0 for protocols without.
//
// Kernel: net/netfilter/ipset/ip_set_getport.c, get_port.
func headerBytes(proto uint8) uint64 {
	const udp, udplite, sctp = 17, 136, 132
	switch proto {
	case protoTCP:
		return 20
	case sctp:
		return 12
	case udp, udplite, protoICMP, protoICMPv6:
		return 8
	}
	return 0
}

// protocolsOf lists the protocols of which a set has elements. A bitmap:port is
// about TCP and UDP. Where ipset looks for the protocol behind extension headers
// of IPv6, it never finds one of those.
//
// Kernel: net/netfilter/ipset/ip_set_getport.c, ip_set_get_ip6_port and
// ip_set_get_ip_port; net/ipv6/exthdrs_core.c, ipv6_skip_exthdr.
func (t *setTests) protocolsOf(set *ipset.Set) []uint8 {
	if set.Type.Bitmap {
		return []uint8{protoTCP, 17}
	}
	var there [256]bool
	set.Elements(func(_ int, e *ipset.Element) bool {
		there[e.Proto] = true
		return true
	})
	for proto := range t.changed[set.Name] {
		there[proto] = there[proto] || headerBytes(proto) > 0
	}
	var list []uint8
	for proto, is := range there {
		if is && !(set.Options.Family == 6 && isExtension(uint8(proto))) {
			list = append(list, uint8(proto))
		}
	}
	return list
}

// member is whether a packet makes an element of a part of a set.
func (t *setTests) member(key treeKey, source []bool) predicate.Predicate {
	if !t.changing(key.set) {
		return t.staticMember(key, source)
	}
	if !exact(key.set) {
		return predicate.Unmodelled{What: "set " + key.set.Name + ", whose elements come or go"}
	}
	return predicate.Stateful{Instance: t.changingMember(key, source)}
}

// staticMember is member of a set that stays as the file has it.
func (t *setTests) staticMember(key treeKey, source []bool) predicate.Member {
	made := t.tree(key)
	set, o := key.set, &key.set.Options
	m := predicate.Member{
		Name: set.Name, Fields: memberFields(set, source, uint8(max(key.proto, 0))), Spans: made.spans,
		Devices: made.devices, Prefixes: made.prefixes,
	}
	if o.Bitmask.IsValid() || o.MarkMask != nil {
		m.Masks = make([]predicate.Bits, len(m.Fields))
		for i, f := range m.Fields {
			m.Masks[i] = predicate.Ones(128)
			switch {
			case f.ID == predicate.Mark && o.MarkMask != nil:
				m.Masks[i] = predicate.Number(uint64(*o.MarkMask))
			case (f.ID == predicate.SrcAddr || f.ID == predicate.DstAddr) && o.Bitmask.IsValid():
				m.Masks[i] = predicate.Addr(o.Bitmask)
			}
		}
	}
	return m
}

// memberFields are the fields that make an element: the port first, then the
// others in order.
func memberFields(set *ipset.Set, source []bool, proto uint8) []predicate.Field {
	side := func(i int, src, dst predicate.FieldID) predicate.Field {
		if source[i] {
			return predicate.Field{ID: src}
		}
		return predicate.Field{ID: dst}
	}
	var port, rest []predicate.Field
	for i, part := range set.Type.Parts {
		switch part {
		case ipset.IP, ipset.Net:
			rest = append(rest, side(i, predicate.SrcAddr, predicate.DstAddr))
		case ipset.Port:
			switch proto {
			case protoICMP, protoICMPv6:
				port = append(port, predicate.Field{ID: predicate.ICMPType}, predicate.Field{ID: predicate.ICMPCode})
			default:
				if set.Type.Bitmap || headerBytes(proto) > 0 {
					port = append(port, side(i, predicate.SrcPort, predicate.DstPort))
				}
			}
		case ipset.MAC:
			rest = append(rest, side(i, predicate.SrcMAC, predicate.DstMAC))
		case ipset.Mark:
			rest = append(rest, predicate.Field{ID: predicate.Mark})
		case ipset.Iface:
			rest = append(rest, side(i, predicate.InInterface, predicate.OutInterface))
		}
	}
	return append(port, rest...)
}

// unmodelledSet says what of a set is not modelled, or "".
func unmodelledSet(set *ipset.Set) string {
	why := ""
	wildcards, exceptions := false, false
	set.Elements(func(_ int, e *ipset.Element) bool {
		switch {
		case set.Type.Name == "bitmap:ip,mac" && !e.HasMAC:
			why = "set " + set.Name + " with elements that wait for an Ethernet address"
		}
		wildcards, exceptions = wildcards || e.Wildcard, exceptions || e.Nomatch
		return why == ""
	})
	if wildcards && exceptions {
		// Which of two elements of a network decides is up to the kernel's hash.
		why = "set " + set.Name + " with exceptions and beginnings of names"
	}
	return why
}
