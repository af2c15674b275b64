package extension

import (
	"fmt"
	"strings"

	"nftmigrate/iptables"
	"nftmigrate/translate"
)

var _ translate.Keeper = (*addrtypeMatch)(nil)

// words are what the match asks.
func (m *addrtypeMatch) words() string {
	words := []string{"types of addresses"}
	for _, o := range []struct {
		side string
		opt  iptables.Opt[addrTypes]
	}{{"source", m.Source}, {"destination", m.Destination}} {
		if !o.opt.Present {
			continue
		}
		not := ""
		if o.opt.Negated {
			not = "not "
		}
		words = append(words, fmt.Sprintf("%s %s%#x", o.side, not, uint32(o.opt.Value)))
	}
	switch {
	case m.In.Present:
		words = append(words, "by way of the input device")
	case m.Out.Present:
		words = append(words, "by way of the output device")
	}
	return strings.Join(words, ", ")
}

// Keep writes the structure of revision 1.
//
// Kernel: include/uapi/linux/netfilter/xt_addrtype.h, struct xt_addrtype_info_v1.
func (m *addrtypeMatch) Keep(*translate.Rule) (translate.Kept, error) {
	var flags uint32
	for bit, set := range []bool{m.Source.Negated, m.Destination.Negated, m.In.Present, m.Out.Present} {
		if set {
			flags |= 1 << bit
		}
	}
	var info xtLayout
	info.u16(uint16(m.Source.Value))
	info.u16(uint16(m.Destination.Value))
	info.u32(flags)
	return translate.Kept{Name: "addrtype", Revision: 1, Info: info.data}, nil
}
