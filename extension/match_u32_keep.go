package extension

import "nftmigrate/translate"

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_u32.h, struct xt_u32.
func (m *u32Match) Keep(*translate.Rule) (translate.Kept, error) {
	const most = 11 // of tests, and of the numbers and spans of one
	operators := map[string]uint8{"": 0, "&": 0, "<<": 1, ">>": 2, "@": 3}
	var info xtLayout
	for i := range most {
		var t u32Test
		if i < len(m.Tests.Value) {
			t = m.Tests.Value[i]
		}
		for n := range most {
			var s u32Step
			if n < len(t.location) {
				s = t.location[n]
			}
			info.u32(s.number)
			info.u8(operators[s.operator])
			info.align(4)
		}
		for n := range most {
			var s u32Span
			if n < len(t.spans) {
				s = t.spans[n]
			}
			info.u32(s.low)
			info.u32(s.high)
		}
		info.u8(uint8(len(t.location)))
		info.u8(uint8(len(t.spans)))
		info.align(4)
	}
	info.u8(uint8(len(m.Tests.Value)))
	if m.Tests.Negated {
		info.u8(1)
	} else {
		info.u8(0)
	}
	return translate.Kept{Name: "u32", Info: info.data}, nil
}
