package iptsim

import (
	"net/netip"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

// Where addresses are in an IPv6 header, and its size.
const (
	sourceAt      = 8
	destinationAt = 24
	wholeHeader   = 40
)

// prefixUnmapped is the code of the difference that no error is sent.
const prefixUnmapped = "npt-no-error"

// addressInvalid is the error that points to an address (RFC 4443, section 3.4).
var addressInvalid = packet.RejectEvent{Type: 4, Code: 0}

// translatePrefix replaces the prefix of an address, and in an ICMPv6 error that of
// the opposite address of the packet that it is about. There is no error about a
// local packet in the output hook, where it does not have a device yet.
//
// An ICMPv6 error of a socket that writes the IPv6 header itself is not taken for one,
// as it is not known where its ICMPv6 header is. Other local errors cannot be sent at
// will, so both kinds are in doubt.
//
// Kernel: net/ipv6/netfilter/ip6t_NPT.c; net/ipv6/icmp.c, icmp6_send; net/ipv6/raw.c,
// rawv6_send_hdrinc.
func translatePrefix(v *view, e predicate.TranslatePrefix) predicate.Outcome {
	own, other := sourceAt, destinationAt
	if e.Destination {
		own, other = other, own
	}
	data := v.f.Data
	fresh, ok := e.Map([16]byte(data[own : own+16]))
	if !ok {
		copy(data[own:], fresh[:]) // the error goes to the new source
		if v.f.Hook != packet.Output {
			v.f.Emit(addressInvalid)
			v.Declare(prefixUnmapped)
		}
		return predicate.Drop
	}
	copy(data[own:], fresh[:])
	v.addresses()
	const quoted = wholeHeader + 8
	if data[6] != protoICMPv6 || len(data) < quoted+wholeHeader || data[wholeHeader] < 1 || data[wholeHeader] > 4 {
		return 0
	}
	inner := data[quoted+other : quoted+other+16]
	if from := netip.AddrFrom16([16]byte(inner)); e.From.Contains(from) {
		if v.f.Packet.Path == packet.Leaving {
			v.Doubt()
		}
		fresh, _ := e.Map([16]byte(inner))
		copy(inner, fresh[:])
	}
	return 0
}
