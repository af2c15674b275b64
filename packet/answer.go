package packet

import (
	"encoding/binary"
	"net/netip"
)

// Answers reports whether the kernel's stack sends the answer that a rule asks
// for. data is the packet as the rule saw it, device the one it arrived on (or,
// when it is local, leaves by), and kind its packet type. Both
// engines call the same functions of the stack, so that this is no part of a
// comparison of rules, only of what can be observed.
//
// A later fragment, a packet whose checksum is wrong, and one to many hosts are
// never answered, nor is a reset by a reset or an ICMP error by another. Limits
// of rate (net.ipv4.icmp_ratelimit and its kin) are not modelled.
//
// Kernel: nf_reject_ipv4.c and nf_reject_ipv6.c; net/ipv4/icmp.c, __icmp_send;
// net/ipv6/icmp.c, icmp6_send.
func (h *Host) Answers(data []byte, device string, kind uint8, e RejectEvent) bool {
	if e == invalid6 {
		return h.answersInvalid(data, device, kind)
	}
	l, ok := locate(data)
	if !ok || l.offset != 0 {
		return false
	}
	src, dst, _ := addresses(data)
	many := dst.IsMulticast()
	if dst.Is4() {
		r, _ := h.Lookup(dst)
		many = many || r.Type == Broadcast
		// What arrives from 0.0.0.0 for 0.0.0.0 is routed as a broadcast.
		many = many || src == dst && src == netip.IPv4Unspecified()
		// Nothing is sent from a loopback address by another device.
		back, _ := h.Output(src)
		many = many || dst.IsLoopback() && back != "lo"
	} else {
		many = many || src.IsMulticast() || src.IsUnspecified() || dst.IsUnspecified()
	}
	segment := data[l.start:]
	if e.Reset {
		many = many || src.Is4In6() || dst.Is4In6() // no unicast addresses, says ipv6_addr_type
		return !many && l.proto == TCP && len(segment) >= 20 && segment[13]&RST == 0 && checksumRight(data, l)
	}
	if many || kind != TypeHost || dst.Is6() && (len(segment) == 0 || l.proto == NoNext) {
		return false
	}
	if src.Is6() && !h.returns(src, h.receiver(dst, device)) {
		return false
	}
	if verified(l.proto, segment) && !checksumRight(data, l) {
		return false
	}
	switch {
	case l.proto == ICMP && dst.Is4():
		return len(segment) > 0 && answerable[segment[0]]
	case l.proto == ICMPv6 && dst.Is6():
		return segment[0]&0x80 != 0
	}
	return true
}

// invalid6 is the error about a field of an IPv6 header (RFC 4443, section 3.4). No
// rule of iptables or nftables names it; the translation of prefixes sends it.
var invalid6 = RejectEvent{Type: 4, Code: 0}

// answersInvalid reports whether that error is sent, which no checksum stands
// against, nor that the packet is a fragment or ends early, but an error does.
//
// Kernel: net/ipv6/icmp.c, icmp6_send and is_ineligible; net/ipv6/exthdrs_core.c,
// ipv6_skip_exthdr.
func (h *Host) answersInvalid(data []byte, device string, kind uint8) bool {
	src, dst, ok := addresses(data)
	if !ok || kind != TypeHost || dst.IsMulticast() || src.IsMulticast() || src.IsUnspecified() || !h.returns(src, h.receiver(dst, device)) {
		return false
	}
	next, at, fragment := data[6], 40, uint16(0)
	for isExtension(next) {
		if len(data) < at+2 || next == Fragment && len(data) < at+4 {
			return true
		}
		size := (int(data[at+1]) + 1) * 8
		switch next {
		case Fragment:
			if fragment = binary.BigEndian.Uint16(data[at+2:]); fragment>>3 != 0 {
				return true
			}
			size = 8
		case AH:
			size = (int(data[at+1]) + 2) * 4
		}
		next, at = data[at], at+size
	}
	switch {
	case next != ICMPv6:
		return true
	case at >= len(data):
		return fragment != 0
	}
	return data[at]&0x80 != 0
}

// receiver is the device that a packet counts as received by when an error about
// it is sent: behind the loopback device, that of the route to its destination,
// which is the device that has the address.
//
// Kernel: net/ipv6/icmp.c, icmp6_dev.
func (h *Host) receiver(dst netip.Addr, device string) string {
	if d := h.Device(device); d == nil || !d.Loopback {
		return device
	}
	for _, d := range h.Devices {
		for _, a := range d.Addrs {
			if a.Addr() == dst || dst.Is6() && h.Forwarding && a.Bits() < 127 && a.Masked().Addr() == dst {
				return d.Name
			}
		}
	}
	if route, ok := h.Lookup(dst); ok {
		return route.Device
	}
	return device
}

// returns reports whether an ICMPv6 error finds its way back: a link-local
// address is looked for on the device alone, and an address that every router of
// a network has is not answered.
//
// Kernel: net/ipv6/icmp.c, icmpv6_route_lookup; include/net/ip6_route.h,
// ipv6_anycast_destination.
func (h *Host) returns(src netip.Addr, device string) bool {
	route, ok := h.Lookup(src)
	if src.IsLinkLocalUnicast() {
		route, ok = h.LookupBy(src, device)
	}
	everyRouter := route.To.Bits() < 127 && !route.Via.IsValid() && route.To.Addr() == src
	return ok && route.Type != Anycast && !everyRouter
}

// answerable are the types of ICMP that the stack does not take for errors,
// among which it counts those that it does not know.
//
// Kernel: net/ipv4/icmp.c, icmp_pointers.
var answerable = map[uint8]bool{0: true, 8: true, 13: true, 14: true, 15: true, 16: true, 17: true, 18: true}

// verified reports whether the stack checks the checksum before it answers. It
// does for every protocol of which it does not know that the checksum is
// optional, partial or of another kind.
//
// Kernel: include/net/netfilter/nf_reject.h, nf_reject_verify_csum.
func verified(proto uint8, segment []byte) bool {
	const gre = 47
	switch proto {
	case UDP:
		return len(segment) < 8 || binary.BigEndian.Uint16(segment[6:]) != 0
	case gre, ESP, AH, SCTP, UDPLite: // not DCCP, as of Linux 6.18
		return false
	}
	return true
}

// checksumRight sums a segment as the stack does: with the pseudo header for
// TCP and UDP, and in IPv6 for everything.
//
// Kernel: net/netfilter/utils.c, nf_ip_checksum and nf_ip6_checksum.
func checksumRight(data []byte, l location) bool {
	sum := uint32(0)
	if data[0]>>4 == 6 || l.proto == TCP || l.proto == UDP {
		sum = pseudo(data, l)
	}
	total := fold(sumWords(sum, data[l.start:]))
	return total == 0xffff || total == 0
}
