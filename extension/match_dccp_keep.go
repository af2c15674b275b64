package extension

import (
	"fmt"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

var _ translate.Keeper = (*dccpMatch)(nil)

// words are what the match asks when it asks for an option, which no machine models.
func (m *dccpMatch) words() predicate.Instance {
	ports := func(o iptables.Opt[iptables.PortSpan]) string {
		switch {
		case !o.Present:
			return "any"
		case o.Negated:
			return fmt.Sprintf("not %d-%d", o.Value.Low, o.Value.High)
		}
		return fmt.Sprintf("%d-%d", o.Value.Low, o.Value.High)
	}
	is := func(negated bool) string {
		if negated {
			return "not "
		}
		return ""
	}
	types := "any"
	if m.Types.Present {
		// INVALID stands for six numbers.
		bits := uint16(m.Types.Value)
		if bits&0x400 != 0 {
			bits |= 0xfc00
		}
		types = fmt.Sprintf("%s%#x", is(m.Types.Negated), bits)
	}
	return predicate.Outside{Words: fmt.Sprintf("DCCP from port %s to port %s of types %s with %soption %d",
		ports(m.Sport), ports(m.Dport), types, is(m.Option.Negated), m.Option.Value.U8)}
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_dccp.h, struct xt_dccp_info.
func (m *dccpMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const invalid = 10 // and all numbers above
	var info xtLayout
	for _, span := range []iptables.Opt[iptables.PortSpan]{m.Dport, m.Sport} {
		info.u16(span.Value.Low)
		info.u16(span.Value.High)
	}
	var flags, invert uint16
	for bit, o := range []struct{ given, negated bool }{
		{m.Sport.Present, m.Sport.Negated}, {m.Dport.Present, m.Dport.Negated},
		{m.Types.Present, m.Types.Negated}, {m.Option.Present, m.Option.Negated},
	} {
		if o.given {
			flags |= 1 << bit
		}
		if o.negated {
			invert |= 1 << bit
		}
	}
	info.u16(flags)
	info.u16(invert)
	types := uint16(m.Types.Value)
	if m.Types.Value>>invalid != 0 {
		types |= 0xffff &^ (1<<invalid - 1)
	}
	info.u16(types)
	info.u8(uint8(m.Option.Value.U8))
	info.align(2)
	return translate.Kept{Name: "dccp", Info: info.data, Protocol: protocolDCCP}, nil
}
