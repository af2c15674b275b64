package equivalence

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"nftmigrate/packet"
)

// refused says why the kernel drops an arriving packet before the first hook, or
// is "".
//
// Kernel: net/ipv4/ip_input.c, ip_rcv_core; net/ipv6/ip6_input.c, ip6_rcv_core.
func (w *Walker) refused(f *packet.Flight) string {
	switch {
	case f.Packet.Type == packet.TypeOtherHost:
		return "the frame was for another host"
	case misaddressed6(f.Data, w.loopback(f.In)):
		return "an address that no packet may have"
	case misoptioned6(f.Data):
		return "options for every hop that cannot be read"
	}
	return ""
}

// departure is the device of a local packet behind the output hook. A second
// routing decision sends what goes to many hosts by the device that has the
// source address, which the first did not know.
//
// Kernel: net/ipv4/netfilter.c, ip_route_me_harder; net/ipv4/route.c,
// ip_route_output_key_hash_rcu.
func (w *Walker) departure(f *packet.Flight) string {
	t := packet.Endpoints(f.Data)
	out, _ := w.host.Output(t.Dst)
	if !t.Dst.Is4() || !many(t.Dst) || !slices.Contains(f.Events, packet.Event(packet.RerouteEvent{})) {
		return out
	}
	for i := range w.host.Devices {
		for _, a := range w.host.Devices[i].Addrs {
			if a.Addr() == t.Src {
				return w.host.Devices[i].Name
			}
		}
	}
	return out
}

// astray reports whether the second routing decision about a local packet finds
// no route: IPv4 sends to many hosts by the device of the source, so that there
// is none for the address of another host. The first decision did not know the
// source.
//
// Kernel: as of departure.
func (w *Walker) astray(f *packet.Flight) bool {
	t := packet.Endpoints(f.Data)
	if !t.Dst.Is4() || !many(t.Dst) || t.Src.As4()[0] == 0 || many(t.Src) {
		return false
	}
	source, _ := w.host.Lookup(t.Src)
	return source.Type != packet.Local && source.Type != packet.Broadcast
}

// stays reports whether a local IPv4 packet for many hosts, of which the host is
// one, has no TTL left that leads beyond it. The host is a member of every group.
//
// Kernel: net/ipv4/ip_output.c, ip_mc_output; net/ipv4/route.c,
// __mkroute_output.
func (w *Walker) stays(f *packet.Flight) bool {
	dst := packet.Endpoints(f.Data).Dst
	return dst.Is4() && dst.IsMulticast() && f.Data[8] == 0 && !w.loopback(f.Out)
}

// misaddressed6 reports whether an arriving IPv6 packet has an address that it
// may not have.
func misaddressed6(data []byte, loopback bool) bool {
	t := packet.Endpoints(data)
	if !t.Src.Is6() {
		return false
	}
	const reserved, interfaceLocal = 0, 1 // RFC 4291 section 2.7
	scope := t.Dst.As16()[1] & 15
	return (t.Src.IsLoopback() || t.Dst.IsLoopback()) && !loopback ||
		t.Src.IsMulticast() ||
		t.Dst.IsMulticast() && (scope == reserved || scope == interfaceLocal && !loopback)
}

// misoptioned6 reports whether the kernel drops an arriving IPv6 packet for its
// hop-by-hop options.
//
// Kernel: net/ipv6/exthdrs.c, ipv6_parse_hopopts, ip6_parse_tlv and
// ip6_tlvopt_unknown (RFC 8200 section 4.2).
func misoptioned6(data []byte) bool {
	if len(data) < 40 || data[0]>>4 != 6 || data[6] != packet.HopByHop {
		return false
	}
	b := data[40:]
	if len(b) < 8 || len(b) < (int(b[1])+1)*8 {
		return true
	}
	const pad1, padN, routerAlert, mostPadding = 0, 1, 5, 7
	padding := 0
	for b = b[2 : (int(b[1])+1)*8]; len(b) > 0; {
		size := 1
		if b[0] != pad1 {
			if len(b) < 2 || len(b) < 2+int(b[1]) {
				return true
			}
			size = 2 + int(b[1])
		}
		switch kind := b[0]; {
		case kind == pad1, kind == padN:
			if padding += size; padding > mostPadding || !zero(b[min(2, size):size]) {
				return true
			}
		case kind == routerAlert && size == 4, kind>>6 == 0 && kind != routerAlert:
			padding = 0 // known, or to be skipped
		default:
			return true
		}
		b = b[size:]
	}
	return false
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// route decides where an arriving packet goes behind the prerouting hook, and
// takes one off its TTL when it is forwarded. refusal says why the stack drops
// it, and is "" when it does not.
//
// Kernel: net/ipv4/route.c, ip_route_input_slow; net/ipv4/ip_forward.c;
// net/ipv6/ip6_output.c, ip6_forward.
func (w *Walker) route(f *packet.Flight) (route packet.Route, refusal string) {
	t := packet.Endpoints(f.Data)
	if !t.Src.IsValid() || t.Dst.Is4() && w.martian(t.Src, t.Dst, f.Data[9], f.In) {
		return route, "an address that cannot arrive there"
	}
	route, ok := w.host.Lookup(t.Dst)
	if t.Dst.Is6() && t.Dst.IsLinkLocalUnicast() && route.Type == packet.Unicast {
		route, ok = w.host.LookupBy(t.Dst, f.In)
	}
	if t.Dst == netip.IPv4Unspecified() {
		route, ok = packet.Route{Type: packet.Broadcast}, true
	}
	switch {
	case ok && (route.Type == packet.Local || route.Type == packet.Broadcast || route.Type == packet.Multicast || route.Type == packet.Anycast):
		if t.Dst.Is4() && packet.IsFragment(f.Data) {
			// IPv4 puts together what it delivers before the input hook, IPv6
			// behind it (net/ipv4/ip_input.c, ip_local_deliver).
			return route, "the rest of the datagram is missing"
		}
		return route, ""
	case !ok || !w.host.Forwarding || route.Device == "" || route.Type != packet.Unicast:
		return route, "no route to " + t.Dst.String()
	case f.Type() != packet.TypeHost:
		return route, "the frame was not for this host alone"
	case !decrementTTL(f.Data):
		return route, "TTL has run out"
	case t.Src.Is6() && route.Device != f.In && (t.Src.IsUnspecified() || t.Src.IsLinkLocalUnicast() || t.Src.IsLoopback()):
		return route, "an address that is not forwarded"
	case w.tooLong(f.Data, route.Device):
		return route, "it is longer than " + route.Device + " takes"
	}
	return route, ""
}

// martian reports whether routing drops an IPv4 packet for its addresses. The
// host filters no reverse paths and accepts its own addresses, so that sources
// that are broadcast addresses of a network pass. A host without an address may
// report its groups (RFC 3376 section 4.2.13).
//
// Kernel: net/ipv4/route.c, ip_route_input_rcu, ip_route_input_slow and
// ip_mc_validate_source.
func (w *Walker) martian(src, dst netip.Addr, protocol uint8, device string) bool {
	const igmp = 2
	nowhere := src == netip.IPv4Unspecified()
	switch {
	case src.IsMulticast(), src == broadcast4:
		return true
	case dst == broadcast4:
		return false
	case (src.IsLoopback() || dst.IsLoopback()) && !w.loopback(device):
		return true
	case dst.IsMulticast():
		return nowhere && !dst.IsLinkLocalMulticast() && protocol != igmp
	}
	return nowhere != (dst == netip.IPv4Unspecified())
}

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// tooLong reports whether a packet is not forwarded for its length: IPv4 cuts
// it up behind the last hook unless it forbids that.
func (w *Walker) tooLong(data []byte, device string) bool {
	d := w.host.Device(device)
	if d == nil || d.MTU == 0 || len(data) <= d.MTU {
		return false
	}
	const dontFragment = 0x40
	return data[0]>>4 == 6 || data[6]&dontFragment != 0
}

// tosPriority is the priority that IPv4 forwarding gives a packet, by the TOS
// bits of RFC 1349.
//
// Kernel: net/ipv4/route.c, ip_tos2prio.
var tosPriority = [16]uint32{4: 2, 5: 2, 6: 2, 7: 2, 8: 6, 9: 6, 10: 6, 11: 6, 12: 4, 13: 4, 14: 4, 15: 4}

// routingKey is what a routing decision of a local packet depends on.
func routingKey(f *packet.Flight) [40]byte {
	var k [40]byte
	binary.BigEndian.PutUint32(k[:], f.Mark)
	switch {
	case len(f.Data) >= 20 && f.Data[0]>>4 == 4:
		copy(k[4:], f.Data[12:20])
		k[36] = f.Data[1]
	case len(f.Data) >= 40 && f.Data[0]>>4 == 6:
		copy(k[4:], f.Data[8:40])
		copy(k[36:], f.Data[0:4])
	}
	return k
}

// decrementTTL takes one off the TTL or hop limit before the forward hook; it
// returns false when there is none left.
func decrementTTL(data []byte) bool {
	at := 0
	switch {
	case len(data) >= 20 && data[0]>>4 == 4:
		at = 8
	case len(data) >= 40 && data[0]>>4 == 6:
		at = 7
	default:
		return false
	}
	if data[at] <= 1 {
		return false
	}
	data[at]--
	if at == 8 {
		// RFC 1141: the checksum grows by the 0x100 that the word lost.
		sum := uint32(binary.BigEndian.Uint16(data[10:])) + 0x100
		binary.BigEndian.PutUint16(data[10:], uint16(sum+sum>>16))
	}
	return true
}
