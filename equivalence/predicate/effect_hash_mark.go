package predicate

// HashMark sets the mark to a hash of a flow: of its addresses, of its ports or the
// index of IPsec, and of its protocol. The lower of two comes first, so that both
// directions have one mark. An error of ICMP is of the flow of the packet that it
// quotes.
//
// Kernel: net/netfilter/xt_HMARK.c.
type HashMark struct {
	// Source and Destination are the bits of the addresses that count. Of IPv6 the four
	// words are then xored.
	Source, Destination Bits
	// Keep and Set are for the source port above the destination port, or the index.
	Keep, Set uint32
	Protocol  uint8 // bits of it that count
	Seed      uint32
	Modulus   uint32
	Offset    uint32
	// Connection takes the source of the connection and that of its replies. A packet
	// without a connection keeps its mark.
	Connection bool
	IPv6       bool
}

func (HashMark) effect() {}

// Mark is the mark of a flow, of which the ports stand above one another, and are 0
// where Ported is false.
func (h HashMark) Mark(source, destination Bits, protocol uint8, ports uint32, ported bool) uint32 {
	first, second := h.fold(source.And(h.Source)), h.fold(destination.And(h.Destination))
	if ported {
		ports = ports&h.Keep | h.Set
		if low, high := ports>>16, ports&0xffff; high > low {
			ports = high<<16 | low
		}
	} else {
		ports = 0
	}
	hash := jenkins(h.Seed, min(first, second), max(first, second), ports)
	return scaled(hash^uint32(protocol&h.Protocol), h.Modulus) + h.Offset
}

// fold makes 32 bits of an address.
func (h HashMark) fold(a Bits) uint32 {
	if !h.IPv6 {
		return uint32(a.Lo)
	}
	return uint32(a.Hi>>32) ^ uint32(a.Hi) ^ uint32(a.Lo>>32) ^ uint32(a.Lo)
}
