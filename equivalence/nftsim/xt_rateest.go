package nftsim

import "fmt"

func init() { registerXtMatch("rateest", 0, decodeXtRateest) }

// xtRateest compares what estimators count.
//
// Kernel: net/netfilter/xt_rateest.c; include/uapi/linux/netfilter/xt_rateest.h,
// struct xt_rateest_match_info.
type xtRateest struct{ words string }

// Bits of its flags.
const (
	xtRateestInvert = 1 << iota
	xtRateestAbsolute
	xtRateestRelative
	xtRateestDelta
	xtRateestBytes
	xtRateestPackets
)

func decodeXtRateest(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	first, second := r.text(16), r.text(16)
	flags, mode := r.u16(), r.u16()
	bytes1, packets1, bytes2, packets2 := r.u32(), r.u32(), r.u32(), r.u32()
	r.u64() // the kernel's
	r.u64()
	if err := r.end(); err != nil {
		return nil, err
	}
	relation := map[uint16]string{1: "equals", 2: "is below", 3: "is above"}[mode]
	units := map[uint16]string{xtRateestBytes: "bytes", xtRateestPackets: "packets", xtRateestBytes | xtRateestPackets: "bytes and packets"}[flags&(xtRateestBytes|xtRateestPackets)]
	kind := flags & (xtRateestAbsolute | xtRateestRelative)
	if flags>>6 != 0 || relation == "" || units == "" || kind == 0 || kind == xtRateestAbsolute|xtRateestRelative {
		return nil, fmt.Errorf("comparison %d of estimators with the flags %#x", mode, flags)
	}
	right := fmt.Sprintf("%d bytes and %d packets", bytes2, packets2)
	left := fmt.Sprintf("estimator %q", first)
	if flags&xtRateestDelta != 0 {
		left = fmt.Sprintf("%d bytes and %d packets less %s", bytes1, packets1, left)
	}
	switch {
	case kind == xtRateestAbsolute && second != "":
		return nil, fmt.Errorf("estimator %q is named and not asked", second)
	case kind == xtRateestRelative && flags&xtRateestDelta != 0:
		right += fmt.Sprintf(" less estimator %q", second)
	case kind == xtRateestRelative:
		right = fmt.Sprintf("estimator %q", second)
	}
	not := ""
	if flags&xtRateestInvert != 0 {
		not = "not: "
	}
	return xtRateest{fmt.Sprintf("%s%s %s %s in %s", not, left, relation, right, units)}, nil
}

func (m xtRateest) String() string { return m.words }

func (xtRateest) negated() bool { return false }

// holds does not know what was counted.
func (xtRateest) holds(*execution) (match, known bool) { return false, false }
