package extension

import "nftmigrate/translate"

var _ translate.Keeper = (*cgroupMatch)(nil)

// Keep writes the structure, for a path: the kernel looks for the control group
// when the rule is loaded, as it does for iptables.
//
// Kernel: include/uapi/linux/netfilter/xt_cgroup.h, struct xt_cgroup_info_v2.
func (m *cgroupMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const pathSize = 512
	if len(m.Path.Value) >= pathSize {
		return translate.Kept{}, &translate.Untranslatable{
			Summary: "the path of a control group is too long",
			Detail:  "The kernel has room for 511 bytes.", Range: m.Path.Range,
		}
	}
	var info xtLayout
	invert := uint8(0)
	if m.Path.Negated {
		invert = 1
	}
	for _, b := range []uint8{1, 0, invert, 0} { // a path and no class
		info.u8(b)
	}
	info.text(string(m.Path.Value), pathSize)
	info.pointer()
	return translate.Kept{Name: "cgroup", Revision: 2, Info: info.data}, nil
}
