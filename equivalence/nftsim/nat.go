package nftsim

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// NAT flags.
//
// Kernel: include/uapi/linux/netfilter/nf_nat.h, NF_NAT_RANGE_*.
const (
	natMapIPs      = 1 << 0
	natPorts       = 1 << 1
	natRandom      = 1 << 2
	natPersistent  = 1 << 3
	natFullyRandom = 1 << 4
	natPortOffset  = 1 << 5
	natPrefix      = 1 << 6
	// natCompared are the flags that say how an address and a port are chosen;
	// the others follow from what the range holds.
	natCompared = natRandom | natPersistent | natFullyRandom
	natModelled = natMapIPs | natPorts | natCompared | natPrefix
)

// natPortRange are the registers of a range of ports: the verdict register
// stands for none.
type natPortRange struct{ MinPort, MaxPort Register }

// check refuses registers that do not hold a port.
func (r *natPortRange) check() error {
	for _, reg := range []Register{r.MinPort, r.MaxPort} {
		if reg == 0 {
			continue
		}
		if err := reg.span(2); err != nil {
			return err
		}
	}
	return nil
}

// orMin is the register of a maximum: without one, that of the minimum.
func orMin(high, low Register) Register {
	if high == 0 {
		return low
	}
	return high
}

// load fills in the ports of an event.
func (r *natPortRange) load(x *execution, e *packet.NATEvent) {
	if r.MinPort != 0 {
		e.MinPort = binary.BigEndian.Uint16(x.regs.load(r.MinPort, 2))
		e.MaxPort = binary.BigEndian.Uint16(x.regs.load(orMin(r.MaxPort, r.MinPort), 2))
		e.FromZero = e.MinPort == 0
	}
}

func (r *natPortRange) String() string {
	s := ""
	if r.MinPort != 0 {
		s = fmt.Sprintf("proto_min reg %s ", r.MinPort)
	}
	if r.MaxPort != 0 {
		s += fmt.Sprintf("proto_max reg %s ", r.MaxPort)
	}
	return s
}

// natFlagText spells the flags of a nat statement.
func natFlagText(flags uint32) string {
	if flags == 0 {
		return ""
	}
	return fmt.Sprintf("flags 0x%x ", flags)
}

// checkNATFlags refuses what is not modelled.
func checkNATFlags(flags uint32) error {
	if rest := flags &^ natModelled; rest != 0 {
		return notModelled{fmt.Sprintf("nat flag %#x", rest)}
	}
	return nil
}

// translate asks for a translation and accepts the packet. A packet without an
// entry leaves the machine undecided: the kernel sends none to nat chains.
func (x *execution) translate(e packet.NATEvent, flags uint32) result {
	if x.flight.Tracking.Entry == nil {
		return x.unknown("a packet without connection in a nat chain is not modelled")
	}
	e.Flags = flags & natCompared
	x.flight.NAT = &e
	return x.decide(Verdict{Code: VerdictAccept})
}

// source and destination read the addresses of the packet. The header has been
// found complete when a chain runs.
func (x *execution) source() netip.Addr      { return x.address(12, 8) }
func (x *execution) destination() netip.Addr { return x.address(16, 24) }

func (x *execution) address(at4, at6 int) netip.Addr {
	if x.header.version == 4 {
		return netip.AddrFrom4([4]byte(x.flight.Data[at4:]))
	}
	return netip.AddrFrom16([16]byte(x.flight.Data[at6:]))
}

// outgoingAddress chooses the source address of packets that leave by a device,
// or the zero Addr when there is none.
//
// Kernel: net/netfilter/nf_nat_masquerade.c.
func (x *execution) outgoingAddress(d *packet.Device) netip.Addr {
	to := x.destination()
	if to.Is4() {
		next := to
		if r, ok := lookupRoute(x.flight.Host, to, d.Name); ok && r.via.IsValid() {
			next = r.via
		}
		return select4(x.flight.Host, d, next)
	}
	return select6(x.flight.Host, d, to)
}

// select4 prefers an address on the next hop's network, then takes the first
// of the device, then the first of any device. Addresses of the loopback
// network are not good enough for others.
//
// Kernel: net/ipv4/devinet.c, inet_select_addr with RT_SCOPE_UNIVERSE.
func select4(h *packet.Host, d *packet.Device, next netip.Addr) netip.Addr {
	var first netip.Addr
	for _, p := range d.Addrs {
		a := p.Addr()
		if !a.Is4() || a.IsLoopback() {
			continue
		}
		if p.Contains(next) {
			return a
		}
		if !first.IsValid() {
			first = a
		}
	}
	for n := 0; n < len(h.Devices) && !first.IsValid(); n++ {
		for _, p := range h.Devices[n].Addrs {
			if a := p.Addr(); a.Is4() && !a.IsLoopback() && !first.IsValid() {
				first = a
			}
		}
	}
	return first
}

// select6 compares the addresses of all devices; for a destination on the link,
// only those of the device.
//
// Kernel: net/ipv6/addrconf.c, ipv6_dev_get_saddr (RFC 6724, section 5).
func select6(h *packet.Host, d *packet.Device, to netip.Addr) netip.Addr {
	var best netip.Prefix
	var bestHere bool
	for n := range h.Devices {
		here := h.Devices[n].Name == d.Name
		if !here && (to.IsMulticast() || to.IsLinkLocalUnicast()) {
			continue
		}
		// The kernel puts the address that was added last first.
		for _, p := range slices.Backward(h.Devices[n].Addrs) {
			if !p.Addr().Is4() && (!best.IsValid() || closer6(to, p, best, here, bestHere)) {
				best, bestHere = p, here
			}
		}
	}
	return best.Addr()
}

// closer6 says whether an IPv6 address is a better source for a destination
// than another: rules 1, 2, 5, 6 and 8.
func closer6(to netip.Addr, aNet, bNet netip.Prefix, aHere, bHere bool) bool {
	a, b := aNet.Addr(), bNet.Addr()
	switch {
	case (a == to) != (b == to):
		return a == to
	case (scope6(a) == scope6(to)) != (scope6(b) == scope6(to)):
		return scope6(a) == scope6(to)
	case aHere != bHere:
		return aHere
	case (label(a) == label(to)) != (label(b) == label(to)):
		return label(a) == label(to)
	}
	// Bits behind the network do not count.
	return min(commonBits(to, a), aNet.Bits()) > min(commonBits(to, b), bNet.Bits())
}

// scope6 orders scopes of IPv6 addresses as far as sources differ by them.
func scope6(a netip.Addr) int {
	switch {
	case a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast():
		return 2
	}
	return 14
}

// label is the label of the kernel's policy table, by the longest prefix.
//
// Kernel: net/ipv6/addrlabel.c.
func label(a netip.Addr) int {
	b := a.As16()
	switch high := binary.BigEndian.Uint32(b[:]); {
	case a.IsLoopback():
		return 0
	case a.Is4In6():
		return 4
	case high == 0 && binary.BigEndian.Uint64(b[4:]) == 0:
		return 3
	case high>>4 == 0x2001001:
		return 7
	case high == 0x20010000:
		return 6
	case high>>16 == 0x2002:
		return 2
	case high>>16 == 0x3ffe:
		return 12
	case high>>22 == 0xfec0>>6:
		return 11
	case high>>25 == 0xfc>>1:
		return 5
	}
	return 1
}

func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for k := range x {
		if d := x[k] ^ y[k]; d != 0 {
			return 8*k + bits.LeadingZeros8(d)
		}
	}
	return 128
}

// firstAddress is the first address in the kernel's list of a device, which for
// IPv6 begins with the one added last.
func firstAddress(d *packet.Device, v4 bool) (first netip.Addr) {
	for _, p := range d.Addrs {
		if p.Addr().Is4() == v4 && !(v4 && first.IsValid()) {
			first = p.Addr()
		}
	}
	return first
}

// translate asks for a translation and accepts the packet. A packet without an
// entry is undecided, as in the execution.
func (x *symbolicRun) translate(kind, text string, addresses symbolic.Word, ports *natPortRange) {
	w := addresses
	if ports.MinPort != 0 {
		low, ok := x.load(ports.MinPort, 2)
		high, ok2 := x.load(orMin(ports.MaxPort, ports.MinPort), 2)
		if !ok || !ok2 {
			return
		}
		w = append(append(w, low...), high...)
	}
	x.undecidedWhere(x.space.Not(x.space.HasEntry()), "a packet without connection in a nat chain")
	if x.ended {
		return
	}
	x.rest = nil
	x.cells(w, func(y *symbolicRun, cells []symbolic.Cell) {
		y.emit(symbolic.Token{Kind: kind, Text: text, Cells: cells})
		y.decide(Verdict{Code: VerdictAccept})
	})
}
