package extension

import (
	"fmt"

	"nftmigrate/translate"
)

var _ translate.Keeper = (*bpfMatch)(nil)

// Keep writes the program, or where the loaded one is.
//
// Kernel: include/uapi/linux/netfilter/xt_bpf.h, struct xt_bpf_info_v1.
func (m *bpfMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const (
		bytecode, pinned = 0, 1
		instructions     = 64
		instructionSize  = 8
	)
	var info xtLayout
	if m.Pinned.Present {
		path := string(m.Pinned.Value)
		if len(path) >= instructions*instructionSize {
			return translate.Kept{}, &translate.Untranslatable{
				Code: "untranslatable-option", Summary: "the path of a program is too long",
				Detail: fmt.Sprintf("The kernel takes paths of up to %d bytes. Pin the program elsewhere.", instructions*instructionSize-1),
				Range:  m.Pinned.Range,
			}
		}
		info.u16(pinned)
		info.u16(0)
		info.u32(0)
		info.text(path, instructions*instructionSize)
	} else {
		info.u16(bytecode)
		info.u16(uint16(len(m.Code.Value)))
		info.u32(0)
		for n := range instructions {
			if n >= len(m.Code.Value) {
				info.u64(0)
				continue
			}
			i := m.Code.Value[n]
			info.u16(i.Code)
			info.u8(i.True)
			info.u8(i.False)
			info.u32(i.K)
		}
	}
	info.pointer()
	return translate.Kept{Name: "bpf", Revision: 1, Info: info.data}, nil
}
