package extension

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"nftmigrate/translate"
)

var _ translate.Keeper = (*policyMatch)(nil)

// beyond reports whether an element asks what nftables has no words for.
func (e policyElement) beyond() bool {
	return e.spi.given || e.proto.given || e.mode.given || e.src.given || e.dst.given
}

// words say what an element asks, as the proof compares it.
func (e policyElement) words() string {
	var list []string
	add := func(name string, given, negated bool, value string) {
		if negated {
			name = "not " + name
		}
		if given {
			list = append(list, name+" "+value)
		}
	}
	address := func(a policyAddress) string {
		if a.bare {
			return field16(a.Addr) + "/" + strings.Repeat("f", 32)
		}
		return field16(a.Addr) + "/" + field16(a.Mask)
	}
	add("src", e.src.given, e.src.negated, address(e.src))
	add("dst", e.dst.given, e.dst.negated, address(e.dst))
	add("proto", e.proto.given, e.proto.negated, fmt.Sprint(e.proto.n))
	add("mode", e.mode.given, e.mode.negated, fmt.Sprint(e.mode.n))
	add("spi", e.spi.given, e.spi.negated, fmt.Sprint(e.spi.n))
	add("reqid", e.reqid.given, e.reqid.negated, fmt.Sprint(e.reqid.n))
	return strings.Join(list, " ")
}

// field16 is an address in a field that has room for one of IPv6.
func field16(a netip.Addr) string {
	return hex.EncodeToString(append(a.AsSlice(), make([]byte, 16)...)[:16])
}

// words say what all elements ask.
func (m *policyMatch) words() string {
	way := string(m.Dir.Value)
	if m.Strict.Present {
		way += ", each"
	}
	list := make([]string, len(m.elements))
	for i, e := range m.elements {
		list[i] = e.words()
	}
	return fmt.Sprintf("transforms %s: %s", way, strings.Join(list, "; "))
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_policy.h, struct xt_policy_info.
func (m *policyMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const (
		most, addressSize         = 4, 16
		flagIn, flagOut, flagEach = 1, 2, 8
	)
	var info xtLayout
	put := func(a policyAddress) {
		info.text(string(a.Addr.AsSlice()), addressSize)
		if a.bare { // then also behind an address of IPv4
			info.text(strings.Repeat("\xff", addressSize), addressSize)
		} else {
			info.text(string(a.Mask.AsSlice()), addressSize)
		}
	}
	for i := range most {
		var e policyElement
		if i < len(m.elements) {
			e = m.elements[i]
		}
		put(e.src)
		put(e.dst)
		info.u32(e.spi.n) // so the tool: the kernel reads it in the order of the network
		info.u32(e.reqid.n)
		info.u8(uint8(e.proto.n))
		info.u8(uint8(e.mode.n))
		var match, invert uint8
		for bit, o := range [][2]bool{
			{e.src.given, e.src.negated}, {e.dst.given, e.dst.negated}, {e.proto.given, e.proto.negated},
			{e.mode.given, e.mode.negated}, {e.spi.given, e.spi.negated}, {e.reqid.given, e.reqid.negated},
		} {
			if o[0] {
				match |= 1 << bit
			}
			if o[1] {
				invert |= 1 << bit
			}
		}
		info.u8(match)
		info.u8(invert)
	}
	flags := uint16(flagIn)
	if m.Dir.Value == "out" {
		flags = flagOut
	}
	if m.Strict.Present {
		flags |= flagEach
	}
	info.u16(flags)
	info.u16(uint16(len(m.elements)))
	return translate.Kept{Name: "policy", Info: info.data}, nil
}
