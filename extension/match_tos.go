package extension

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("tos", func() iptables.Match { return new(tosMatch) }) }

var (
	_ iptsim.Meaning       = (*tosMatch)(nil)
	_ translate.Translator = (*tosMatch)(nil)
)

// tosMatch is "-m tos": the type of service of IPv4, or the traffic class of
// IPv6, masked, is a value. A value with bits outside of the mask never matches.
//
// Kernel: net/netfilter/xt_dscp.c, tos_mt.
type tosMatch struct {
	TOS iptables.Opt[tosMask]
}

// A tosMask is "value", "value/mask" or a name of RFC 1349. Without a mask, a
// number stands for all 8 bits, and a name for the last 6.
type tosMask struct{ Value, Mask uint8 }

var tosNames = []struct {
	name  string
	value uint8
}{
	{"Minimize-Delay", 0x10}, {"Maximize-Throughput", 0x08}, {"Maximize-Reliability", 0x04}, {"Minimize-Cost", 0x02},
	{"Normal-Service", 0x00},
}

// Set reads a number with an optional mask, or a name in any case.
func (m *tosMask) Set(arg string) error {
	for _, n := range tosNames {
		if strings.EqualFold(n.name, arg) {
			*m = tosMask{n.value, 0x3f}
			return nil
		}
	}
	value, mask, masked := strings.Cut(arg, "/")
	v, err := iptables.ParseNumber(value, math.MaxUint8)
	if err != nil {
		return fmt.Errorf("the value %w", err)
	}
	bits := uint64(math.MaxUint8)
	if masked {
		if bits, err = iptables.ParseNumber(mask, math.MaxUint8); err != nil {
			return fmt.Errorf("the mask %w", err)
		}
	}
	*m = tosMask{uint8(v), uint8(bits)}
	return nil
}

// String returns value and mask, hexadecimal.
func (m *tosMask) String() string { return fmt.Sprintf("0x%02x/0x%02x", m.Value, m.Mask) }

func (*tosMatch) Name() string { return "tos" }

func (m *tosMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("tos", &m.TOS, iptables.Required|iptables.Invertible),
	}
}

func (m *tosMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: negatedIf(m.TOS.Negated, predicate.Masked{
		Field: predicate.Field{ID: predicate.TOS},
		Mask:  predicate.Number(uint64(m.TOS.Value.Mask)),
		Value: predicate.Number(uint64(m.TOS.Value.Value)),
	})}
}

// Translate compares the byte where it stands. nft has names for its first six
// bits and its last two, and for masks of neither; in IPv6 the byte straddles
// two others.
func (m *tosMatch) Translate(r *translate.Rule) error {
	value, mask := m.TOS.Value.Value, m.TOS.Value.Mask
	if outside := value &^ mask; outside != 0 || mask == 0 {
		if matches := outside == 0; matches == m.TOS.Negated {
			r.Never()
		}
		return nil
	}
	test := nftgen.Compare{Field: nftgen.IPTOS, Op: comparison(m.TOS.Negated), Value: nftgen.Value{value}}
	switch {
	case r.NFProto() == nftgen.IP6:
		const behind = 4 // bits behind the byte
		test.Field = nftgen.IP6First
		test.Value = binary.BigEndian.AppendUint16(nil, uint16(value)<<behind)
		test.Mask = binary.BigEndian.AppendUint16(nil, uint16(mask)<<behind)
	case mask != math.MaxUint8:
		test.Mask = nftgen.Value{mask}
	}
	r.Add(test)
	return nil
}
