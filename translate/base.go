package translate

import (
	"math/bits"
	"net/netip"
	"strings"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// translateBase adds the statements of the options that every rule has: -i, -o,
// -s, -d, -f and -p. None of them has side effects, so their order is free; it
// is that in which a person reads a packet's way.
func translateBase(r *Rule) {
	rule := r.Context.Rule
	translateInterface(r, nftgen.MetaIifname, rule.In)
	translateInterface(r, nftgen.MetaOifname, rule.Out)
	source, destination := nftgen.IPSaddr, nftgen.IPDaddr
	if r.Context.Family == iptables.IPv6 {
		source, destination = nftgen.IP6Saddr, nftgen.IP6Daddr
	}
	translateAddress(r, source, rule.Source)
	translateAddress(r, destination, rule.Destination)
	if rule.Fragment.Present {
		op := nftgen.Ne
		if rule.Fragment.Negated {
			op = nftgen.Eq
		}
		r.Add(nftgen.Compare{Field: nftgen.IPFragOff, Mask: nftgen.Value{0x1f, 0xff}, Op: op, Value: nftgen.Value{0, 0}})
	}
	translateProtocol(r, rule.Protocol)
}

// translateInterface adds a test of a device name. A trailing "+" is a prefix
// in iptables; the empty prefix matches every name, also that of no device. A
// trailing "*" is an ordinary character to iptables and a wildcard to the text
// of nft, which the printer escapes.
func translateInterface(r *Rule, field nftgen.Field, name iptables.Opt[iptables.Interface]) {
	if !name.Present {
		return
	}
	op := nftgen.Eq
	if name.Negated {
		op = nftgen.Ne
	}
	prefix, wildcard := strings.CutSuffix(string(name.Value), "+")
	if wildcard && prefix == "" {
		if name.Negated {
			r.Never()
		}
		return
	}
	r.Add(nftgen.IfName{Field: field, Name: prefix, Wildcard: wildcard, Op: op})
}

// translateAddress adds a test of an address. The mask need not be contiguous.
func translateAddress(r *Rule, field nftgen.Field, a iptables.Opt[iptables.Address]) {
	if !a.Present {
		return
	}
	op := nftgen.Eq
	if a.Negated {
		op = nftgen.Ne
	}
	addr := nftgen.Value(a.Value.Addr.AsSlice())
	switch length, contiguous := prefixLength(a.Value.Mask); {
	case contiguous && length == 0:
		if a.Negated {
			r.Never()
		}
	case contiguous && length == 8*len(addr):
		r.Add(nftgen.Compare{Field: field, Op: op, Value: addr})
	case contiguous:
		r.Add(nftgen.InPrefix{Field: field, Addr: addr, Bits: length, Not: a.Negated})
	default:
		r.Add(nftgen.Compare{Field: field, Mask: a.Value.Mask.AsSlice(), Op: op, Value: addr})
	}
}

// prefixLength returns the number of leading ones of a mask, and whether all
// others are zero.
func prefixLength(mask netip.Addr) (int, bool) {
	n := 0
	bytes := mask.As16()
	rest := bytes[16-mask.BitLen()/8:]
	for len(rest) > 0 && rest[0] == 0xff {
		n += 8
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return n, true
	}
	ones := bits.LeadingZeros8(^rest[0])
	if rest[0]<<ones != 0 {
		return 0, false
	}
	for _, b := range rest[1:] {
		if b != 0 {
			return 0, false
		}
	}
	return n + ones, true
}

// extensionHeaders are the numbers that "-p" of ip6tables never matches,
// because it looks behind them for the upper-layer protocol: hop-by-hop,
// routing, fragment, AH and destination options.
//
// Kernel: net/ipv6/netfilter/ip6_tables.c, ip6_packet_match;
// net/ipv6/exthdrs_core.c, ipv6_find_hdr and ipv6_ext_hdr.
var extensionHeaders = map[iptables.Protocol]bool{43: true, 44: true, 51: true, 60: true}

// translateProtocol adds the test of "-p", which lowering leaves out again
// where nft adds the same test by itself.
func translateProtocol(r *Rule, p iptables.Opt[iptables.Protocol]) {
	if !p.Present || p.Value == 0 {
		if p.Present && p.Negated {
			r.Never()
		}
		return
	}
	if r.Context.Family == iptables.IPv6 && extensionHeaders[p.Value] {
		if !p.Negated {
			r.Never()
		}
		return
	}
	if p.Negated {
		r.Add(nftgen.Compare{Field: nftgen.MetaL4Proto, Op: nftgen.Ne, Value: nftgen.Value{byte(p.Value)}})
		return
	}
	r.Add(r.Shared.protocolTest(uint8(p.Value)))
}
