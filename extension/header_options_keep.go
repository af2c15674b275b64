package extension

import (
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

var (
	_ translate.Keeper = (*dstMatch)(nil)
	_ translate.Keeper = (*hbhMatch)(nil)
)

// Keep writes the structure.
func (m *dstMatch) Keep(*translate.Rule) (translate.Kept, error) {
	return keptOptions("dst", m.Length, m.Content), nil
}

// Keep writes the structure.
func (m *hbhMatch) Keep(*translate.Rule) (translate.Kept, error) {
	return keptOptions("hbh", m.Length, m.Content), nil
}

// keptOptions is a match of a header with options: of each the type above the
// length, which is 255 for any.
//
// Kernel: include/uapi/linux/netfilter_ipv6/ip6t_opts.h, struct ip6t_opts.
func keptOptions(name string, length iptables.Opt[iptables.U32], content iptables.Opt[headerOptions]) translate.Kept {
	const lengthFlag, optionsFlag, most = 1, 2, 16
	var flags, invert uint8
	if length.Present {
		flags |= lengthFlag
	}
	if length.Negated {
		invert |= lengthFlag
	}
	if content.Present {
		flags |= optionsFlag
	}
	var info xtLayout
	info.u32(uint32(length.Value))
	info.u8(flags)
	info.u8(invert)
	for i := range most {
		var word uint16
		if i < len(content.Value) {
			o := content.Value[i]
			if word = uint16(o.kind)<<8 | anyLength; o.sized {
				word = uint16(o.kind)<<8 | uint16(o.length)
			}
		}
		info.u16(word)
	}
	info.u8(uint8(len(content.Value)))
	info.align(4)
	return translate.Kept{Name: name, Info: info.data}
}
