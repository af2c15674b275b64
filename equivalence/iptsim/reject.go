package iptsim

import (
	"encoding/binary"

	"nftmigrate/packet"
)

// ICMP types of errors: destination unreachable.
const (
	unreachable4 = 3
	unreachable6 = 1
)

// unreachable are the codes of ICMP and ICMPv6 destination unreachable.
//
// Kernel: net/ipv4/netfilter/ipt_REJECT.c, net/ipv6/netfilter/ip6t_REJECT.c.
var unreachable = map[string]uint8{
	"icmp-net-unreachable":   0,
	"icmp-host-unreachable":  1,
	"icmp-proto-unreachable": 2,
	"icmp-port-unreachable":  3,
	"icmp-net-prohibited":    9,
	"icmp-host-prohibited":   10,
	"icmp-admin-prohibited":  13,
	"icmp6-no-route":         0,
	"icmp6-adm-prohibited":   1,
	"icmp6-addr-unreachable": 3,
	"icmp6-port-unreachable": 4,
	"icmp6-policy-fail":      5,
	"icmp6-reject-route":     6,
}

// reject answers the sender, where the kernel would.
func reject(v *view, with string) (unknown string) {
	code, icmp := unreachable[with]
	switch {
	case with == "tcp-reset":
		if v.resets() {
			v.f.Emit(packet.RejectEvent{Reset: true})
		}
	case !icmp:
		return "answer " + with
	case v.version == 4:
		if v.answers4() {
			v.f.Emit(packet.RejectEvent{Type: unreachable4, Code: code})
		}
	default:
		if v.answers6() {
			v.f.Emit(packet.RejectEvent{Type: unreachable6, Code: code})
		}
	}
	return ""
}

// resets reports whether the packet is answered by a reset: a whole TCP header
// with a right checksum and without RST, sent to one host.
//
// Kernel: nf_send_reset and nf_send_reset6.
func (v *view) resets() bool {
	segment := v.headerOf(protoTCP)
	if len(segment) < 20 || segment[13]&4 != 0 || !v.checksumRight() {
		return false
	}
	src, dst := v.address(false), v.address(true)
	if v.version == 6 {
		return !src.IsMulticast() && !dst.IsMulticast() && !src.IsUnspecified() && !dst.IsUnspecified()
	}
	return !v.toMany()
}

// answers4 reports whether the packet is answered by an ICMP error: not a later
// fragment, not wrong by its checksum, sent to one host, and not an error
// itself.
//
// Kernel: nf_send_unreach; net/ipv4/icmp.c, __icmp_send.
func (v *view) answers4() bool {
	if v.offset != 0 || v.f.Packet.Type != packet.TypeHost || v.toMany() {
		return false
	}
	if v.verified() && !v.checksumRight() {
		return false
	}
	if v.proto != protoICMP {
		return true
	}
	segment := v.header()
	return len(segment) > 0 && segment[0] <= 18 && !icmpErrors[segment[0]]
}

// icmpErrors are the types of ICMP that report errors.
//
// Kernel: net/ipv4/icmp.c, icmp_pointers.
var icmpErrors = map[uint8]bool{3: true, 4: true, 5: true, 11: true, 12: true}

// answers6 is answers4 for IPv6.
//
// Kernel: nf_send_unreach6; net/ipv6/icmp.c, icmp6_send and is_ineligible.
func (v *view) answers6() bool {
	segment := v.header()
	if len(segment) == 0 || v.proto == protoNone || v.f.Packet.Type != packet.TypeHost {
		return false
	}
	src, dst := v.address(false), v.address(true)
	if dst.IsMulticast() || src.IsMulticast() || src.IsUnspecified() {
		return false
	}
	if v.verified() && !v.checksumRight() {
		return false
	}
	return v.proto != protoICMPv6 || segment[0]&0x80 != 0
}

// toMany reports whether the destination is a broadcast or multicast address.
func (v *view) toMany() bool {
	if v.f.Host == nil {
		return v.address(true).IsMulticast()
	}
	kind := type4(v.f.Host, v.address(true), "")
	return kind == packet.Broadcast || kind == packet.Multicast
}

// verified reports whether the checksum of the packet's protocol covers all of
// it, so that the kernel looks at it before it answers. It does for protocols
// that it does not know.
//
// Kernel: include/net/netfilter/nf_reject.h, nf_reject_verify_csum.
func (v *view) verified() bool {
	if v.proto == protoUDP {
		sum, ok := word(v.header(), 6)
		return !ok || sum.Lo != 0
	}
	return !unverified[v.proto]
}

// unverified are GRE, ESP, AH, SCTP, UDP-Lite and DCCP.
var unverified = map[uint8]bool{47: true, 50: true, 51: true, 132: true, 136: true, 33: true}

// checksumRight sums the packet from the transport header on, with a pseudo
// header for TCP and UDP and for everything of IPv6.
//
// Kernel: net/netfilter/utils.c, nf_ip_checksum and nf_ip6_checksum.
func (v *view) checksumRight() bool {
	segment := v.header()
	sum := uint64(0)
	if v.version == 6 || v.proto == protoTCP || v.proto == protoUDP {
		sum = uint64(v.proto) + uint64(len(segment)) + addSum(v.address(false).AsSlice()) + addSum(v.address(true).AsSlice())
	}
	sum += addSum(segment)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum == 0xffff || sum == 0
}

func addSum(b []byte) (sum uint64) {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}
