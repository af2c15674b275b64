package extension

import (
	"slices"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A hashField is a part of a key.
type hashField struct {
	field nftgen.Field
	mask  nftgen.Value
}

// hashPorted says of what protocols the kernel takes ports into a key: "th sport"
// and "th dport" of them are the first four bytes. The first four of ESP are those
// of its index.
//
// Kernel: include/linux/in.h, proto_ports_offset.
var hashPorted = map[uint8]bool{6: true, 17: true, 33: true, protocolESP: true, 132: true, 136: true}

// hashPorts is what is known of the ports of a rule's packets.
type hashPorts uint8

const (
	hashAnyPorts hashPorts = iota // it depends on the packet
	hashHasPorts                  // but for later fragments of IPv6
	hashNoPorts                   // they count as 0
)

// ports says what is known from -p.
func (m *hashlimitMatch) ports(c iptables.Context) hashPorts {
	proto, known := c.ProtocolNumber()
	switch {
	case !known || proto == 0:
		return hashAnyPorts
	case hashPorted[proto]:
		return hashHasPorts
	}
	return hashNoPorts
}

// key returns the fields that tell packets apart. Ports are those of any
// protocol, when there are some.
func (m *hashlimitMatch) key(c iptables.Context) (fields []hashField) {
	source, destination, width := nftgen.IPSaddr, nftgen.IPDaddr, 32
	if c.Family == iptables.IPv6 {
		source, destination, width = nftgen.IP6Saddr, nftgen.IP6Daddr, 128
	}
	address := func(mode hashMode, f nftgen.Field, bits uint8) {
		if m.Mode.Value&mode == 0 || bits == 0 {
			return
		}
		h := hashField{field: f}
		if int(bits) < width {
			h.mask = make(nftgen.Value, width/8)
			for i := range int(bits) {
				h.mask[i/8] |= 0x80 >> (i % 8)
			}
		}
		fields = append(fields, h)
	}
	port := func(mode hashMode, f nftgen.Field) {
		if m.Mode.Value&mode != 0 {
			fields = append(fields, hashField{field: f})
		}
	}
	address(hashSrcIP, source, m.SrcMask.Value.bits)
	port(hashSrcPort, nftgen.Sport(0))
	address(hashDstIP, destination, m.DstMask.Value.bits)
	port(hashDstPort, nftgen.Dport(0))
	addressed := slices.ContainsFunc(fields, func(f hashField) bool { return f.field.Text == source.Text || f.field.Text == destination.Text })
	if len(fields) > 0 && !addressed {
		// nft does not read again a key that is nothing but numbers.
		fields = append(hashPlain(c), fields...)
	}
	return fields
}

// hashPlain is the key of a table that does not tell packets apart: the source
// address without any of its bits.
func hashPlain(c iptables.Context) []hashField {
	if c.Family == iptables.IPv6 {
		return []hashField{{nftgen.IP6Saddr, make(nftgen.Value, 16)}}
	}
	return []hashField{{nftgen.IPSaddr, make(nftgen.Value, 4)}}
}

// A hashWay is a class of packets of a rule and the key of each.
type hashWay struct {
	guard []nftgen.Stmt
	key   []hashField
	// last says that no other way is tried for the packets of the guard.
	last bool
}

// ways returns the classes of packets of which the ports are found unlike. One
// without a guard is alone.
func (m *hashlimitMatch) ways(r *translate.Rule, key []hashField) []hashWay {
	ports := m.ports(r.Context)
	proto, _ := r.ProtocolNumber()
	switch ported := withPorts(key, nftgen.Sport(0), nftgen.Dport(0)); {
	case !ported, ports == hashNoPorts:
		return []hashWay{{key: zeroPorts(key)}}
	case ports == hashHasPorts && proto != protocolESP && !(r.Family == iptables.IPv6 && r.LaterFragments()):
		return []hashWay{{key: renamedPorts(key, nftgen.Sport(proto), nftgen.Dport(proto))}}
	}
	with := nftgen.OneOf{Field: nftgen.MetaL4Proto}
	for n := range 256 {
		if hashPorted[uint8(n)] {
			v := nftgen.Value{byte(n)}
			with.Intervals = append(with.Intervals, nftgen.Interval{Low: v, High: v})
		}
	}
	without := with
	without.Not = true
	var list []hashWay
	if r.Family == iptables.IPv6 && r.LaterFragments() {
		later := nftgen.Compare{Field: nftgen.IP6FragOff, Op: nftgen.Ne, Value: nftgen.Value{0, 0}}
		list = append(list, hashWay{[]nftgen.Stmt{later}, zeroPorts(key), true})
	}
	if ports == hashHasPorts && proto != protocolESP {
		// The other protocols do not come here, and what stands behind may want one.
		only := nftgen.Compare{Field: nftgen.MetaL4Proto, Op: nftgen.Eq, Value: nftgen.Value{proto}}
		return append(list, hashWay{[]nftgen.Stmt{only}, renamedPorts(key, nftgen.Sport(proto), nftgen.Dport(proto)), false})
	}
	list = append(list, hashWay{[]nftgen.Stmt{with}, key, ports == hashAnyPorts})
	if ports == hashAnyPorts {
		list = append(list, hashWay{[]nftgen.Stmt{without}, zeroPorts(key), false})
	}
	return list
}

func withPorts(key []hashField, names ...nftgen.Field) bool {
	for _, f := range key {
		for _, n := range names {
			if f.field.Text == n.Text {
				return true
			}
		}
	}
	return false
}

// renamedPorts puts other fields where a key has ports.
func renamedPorts(key []hashField, source, destination nftgen.Field) []hashField {
	out := make([]hashField, len(key))
	for i, f := range key {
		switch f.field.Text {
		case nftgen.Sport(0).Text:
			f.field = source
		case nftgen.Dport(0).Text:
			f.field = destination
		}
		out[i] = f
	}
	return out
}

func zeroPorts(key []hashField) []hashField { return renamedPorts(key, nftgen.NoPort, nftgen.NoPort) }
