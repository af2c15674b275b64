package predicate

import (
	"encoding/binary"
	"fmt"
)

// A Cluster asks whether a connection is one of the nodes' that are counted as
// local: the first four bytes of the address that opened it, hashed, say the node.
// Of IPv6 the other twelve do not count. A connection that another one expected is
// where that one is, which no machine knows. A packet without a connection does
// not match, negated or not.
//
// The kernel also makes a packet one for the host that was sent to a group on the
// link and to a single address, which a [Retyper] is told. A proof does not follow
// that, so that such a packet is undecided.
//
// Kernel: net/netfilter/xt_cluster.c, xt_cluster_mt.
type Cluster struct {
	Nodes uint32
	Local uint32 // a bit for each node
	Seed  uint32
	Not   bool
	IPv6  bool
}

// A Retyper is a [Reader] that wants to know when a test makes the packet one for
// the host.
type Retyper interface{ ForHost() }

var _ Content = Cluster{}

// Content marks the type.
func (Cluster) Content() {}

// Identity is "": there is no state.
func (Cluster) Identity() string { return "" }

// Describe says the nodes.
func (c Cluster) Describe() string {
	not := ""
	if c.Not {
		not = "not "
	}
	return fmt.Sprintf("%sthe nodes %#x of %d by seed %#x", not, c.Local, c.Nodes, c.Seed)
}

// Keys are what is looked at.
func (Cluster) Keys() []Field {
	return []Field{{ID: CTOrigSrc}, {ID: CTStatus}, {ID: PktType}, {ID: DstAddr}}
}

// Ask hashes.
func (c Cluster) Ask(r Reader, _ string) Truth {
	const expected, multicast = 1, 2
	source, there := r.Field(Field{ID: CTOrigSrc})
	kind, typed := r.Field(Field{ID: PktType})
	destination, addressed := r.Field(Field{ID: DstAddr})
	if typed != Yes || addressed != Yes {
		return Unknown
	}
	if kind.Lo == multicast && !c.group(destination) {
		if p, ok := r.(Retyper); ok {
			p.ForHost()
		}
		return Unknown
	}
	if there != Yes {
		return there
	}
	if status, known := r.Field(Field{ID: CTStatus}); known != Yes || status.Lo&expected != 0 {
		return Unknown
	}
	first := uint32(source.Lo)
	if c.IPv6 {
		first = uint32(source.Hi >> 32)
	}
	// The kernel takes the bytes of the address for a number of the host.
	wire := binary.BigEndian.AppendUint32(nil, first)
	node := scaled(jenkins(c.Seed, binary.NativeEndian.Uint32(wire)), c.Nodes)
	return Of(c.Local>>node&1 != 0 != c.Not)
}

// group reports whether an address is one of a group.
func (c Cluster) group(a Bits) bool {
	if c.IPv6 {
		return a.Hi>>56 == 0xff
	}
	return a.Lo>>28 == 0xe
}
