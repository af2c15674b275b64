package extension

import (
	"math"

	"nftmigrate/translate"
)

var _ translate.Keeper = (*hashlimitMatch)(nil)

// Keep writes the structure of revision 3. All rules of a name are kept when one is,
// because what one refuses is refused of all: they share the kernel's table.
//
// Kernel: include/uapi/linux/netfilter/xt_hashlimit.h, struct
// xt_hashlimit_mtinfo3.
func (m *hashlimitMatch) Keep(r *translate.Rule) (translate.Kept, error) {
	const (
		destinationIP, destinationPort, sourceIP, sourcePort = 1, 2, 4, 8
		invert, bytes, windows                               = 16, 32, 64
	)
	written := m.written()
	average, burst, expire, interval := written.average, uint64(m.Burst.Value), written.seconds*1000, uint64(0)
	if written.bytes {
		second := (math.MaxUint32/average - 1) * hashChunk
		burst = (burst + second - 1) / second
		if !m.Burst.Present {
			burst = 0
		} else {
			expire = hashByteBurstSeconds * 1000
		}
	}
	if m.Expire.Present {
		expire = uint64(m.Expire.Value)
	}
	if m.RateMatch.Present {
		interval = written.seconds
		if written.bytes {
			interval = 1
		} else if written.seconds != 0 {
			average /= written.seconds
		}
	}
	if m.RateInterval.Present {
		interval = uint64(m.RateInterval.Value)
	}
	var mode uint32
	for _, f := range []struct {
		bit uint32
		set bool
	}{
		{destinationIP, m.Mode.Value&hashDstIP != 0}, {destinationPort, m.Mode.Value&hashDstPort != 0},
		{sourceIP, m.Mode.Value&hashSrcIP != 0}, {sourcePort, m.Mode.Value&hashSrcPort != 0},
		{invert, m.holdsOver()}, {bytes, written.bytes}, {windows, m.RateMatch.Present},
	} {
		if f.set {
			mode |= f.bit
		}
	}
	var info xtLayout
	info.text(string(m.Table.Value), hashNameMax+1)
	info.u64(average)
	info.u64(burst)
	for _, n := range []uint32{mode, uint32(m.Size.Value), uint32(m.Most.Value), uint32(m.Interval.Value), uint32(expire), uint32(interval)} {
		info.u32(n)
	}
	info.u8(m.SrcMask.Value.bits)
	info.u8(m.DstMask.Value.bits)
	info.align(8)
	info.pointer()
	return translate.Kept{Name: "hashlimit", Revision: 3, Info: info.data}, nil
}
