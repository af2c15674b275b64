package predicate

import "fmt"

// Nth is "-m statistic --mode nth": true for one packet in Every of those that
// reach it, the first time for the packet of number Packet, counted from 0.
//
// Kernel: net/netfilter/xt_statistic.c; iptables hands it every-1, and a
// counter that starts at every-1-packet.
type Nth struct {
	Every  uint32 // at least 1
	Packet uint32 // below Every
}

var _ Instance = Nth{}

// Identity is "": each rule has its own counter.
func (Nth) Identity() string { return "" }

// Describe says the parameters.
func (n Nth) Describe() string { return fmt.Sprintf("packet %d of every %d", n.Packet, n.Every) }

// Keys is none: the counter is one for all packets.
func (Nth) Keys() []Field { return nil }

// Ask counts the packet.
func (n Nth) Ask(r Reader, scope string) Truth {
	last := n.Every - 1
	count := Get(r.States(), scope, func() *uint32 {
		start := last - n.Packet
		return &start
	})
	if *count >= last {
		*count = 0
		return Yes
	}
	*count++
	return No
}
