package nftsim

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/symbolic"
)

func init() { registerXtMatch("hashlimit", 3, decodeXtHashlimit) }

// xtHashlimit counts the packets of each key. What it counted is not modelled.
//
// Kernel: net/netfilter/xt_hashlimit.c; include/uapi/linux/netfilter/xt_hashlimit.h,
// struct xt_hashlimit_mtinfo3.
type xtHashlimit struct {
	words   string
	windows bool
	invert  bool
}

// Bits of its mode.
const (
	xtHashlimitDstIP = 1 << iota
	xtHashlimitDstPort
	xtHashlimitSrcIP
	xtHashlimitSrcPort
	xtHashlimitInvert
	xtHashlimitBytes
	xtHashlimitWindows
)

func decodeXtHashlimit(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	name := r.text(255)
	average, burst := r.u64(), r.u64()
	mode, size, most, collect, expire, interval := r.u32(), r.u32(), r.u32(), r.u32(), r.u32(), r.u32()
	sourceBits, destinationBits := r.u8(), r.u8()
	r.u64() // the kernel's
	if err := r.end(); err != nil {
		return nil, err
	}
	if mode>>7 != 0 || average == 0 || sourceBits > 128 || destinationBits > 128 {
		return nil, notModelled{fmt.Sprintf("match hashlimit of mode %#x", mode)}
	}
	rate := fmt.Sprintf("a packet in %dus and %d more", average, burst)
	if mode&xtHashlimitBytes != 0 {
		rate = fmt.Sprintf("16 bytes for %d and %d seconds more", average, burst)
	}
	var keys []string
	for _, k := range []struct {
		bit   uint32
		words string
		none  bool
	}{
		{xtHashlimitSrcIP, fmt.Sprintf("source/%d", sourceBits), sourceBits == 0}, {xtHashlimitSrcPort, "flow-port 0", false},
		{xtHashlimitDstIP, fmt.Sprintf("destination/%d", destinationBits), destinationBits == 0}, {xtHashlimitDstPort, "flow-port 1", false},
	} {
		if mode&k.bit != 0 && !k.none {
			keys = append(keys, k.words)
		}
	}
	// Without numbers the kernel takes those of a machine of more than 1 GB.
	const buckets, each = 8192, 8
	if size == 0 {
		size = buckets
	}
	if most == 0 {
		most = each * size
	}
	m := &xtHashlimit{windows: mode&xtHashlimitWindows != 0, invert: mode&xtHashlimitInvert != 0}
	m.words = fmt.Sprintf("windows of %ds of table %q: %s, by %s, kept %dms, forgotten every %dms, at most %d",
		interval, name, rate, strings.Join(keys, ","), expire, collect, max(most, size))
	if !m.windows {
		m.words = "buckets, " + m.words
	}
	return m, nil
}

func (m *xtHashlimit) String() string { return m.words }

func (m *xtHashlimit) negated() bool { return m.invert }

func (m *xtHashlimit) instance() symbolic.Instance {
	return symbolic.Instance{Kind: "windows", Parameters: m.words, Width: 1}
}

// holds does not know what was counted.
func (*xtHashlimit) holds(*execution) (match, known bool) { return false, false }
