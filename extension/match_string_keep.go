package extension

import "nftmigrate/translate"

var _ translate.Keeper = (*stringMatch)(nil)

// Keep is for a search at more places than become comparisons.
//
// Kernel: include/uapi/linux/netfilter/xt_string.h, struct xt_string_info.
func (m *stringMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const (
		invert, anyCase   = 1, 2
		nameSize, wayMost = 128, 16
	)
	wanted, flags := string(m.Text.Value), uint8(0)
	negated := m.Text.Negated
	if m.Hex.Present {
		wanted, negated = string(m.Hex.Value.stringPattern), m.Hex.Negated
	}
	if negated {
		flags |= invert
	}
	if m.Either.Present {
		flags |= anyCase
	}
	var info xtLayout
	info.u16(uint16(m.From.Value))
	info.u16(uint16(m.To.Value))
	info.text(m.Way.Value.String(), wayMost)
	info.text(wanted, nameSize)
	info.u8(uint8(len(wanted)))
	info.u8(flags)
	info.pointer()
	return translate.Kept{Name: "string", Revision: 1, Info: info.data}, nil
}
