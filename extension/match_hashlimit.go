package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() {
	registerMatchFor(v4, "hashlimit", func() iptables.Match { return newHashlimit(32) })
	registerMatchFor(v6, "hashlimit", func() iptables.Match { return newHashlimit(128) })
}

func newHashlimit(bits uint8) *hashlimitMatch {
	mask := func() iptables.Opt[hashMask] { return iptables.Opt[hashMask]{Value: hashMask{bits, bits}} }
	return &hashlimitMatch{
		SrcMask: mask(), DstMask: mask(),
		Burst:    iptables.Opt[hashBurst]{Value: hashBurst{packets: 5}},
		Interval: iptables.Opt[hashCollect]{Value: hashCollectDefault},
	}
}

var (
	_ iptsim.Meaning       = (*hashlimitMatch)(nil)
	_ translate.Translator = (*hashlimitMatch)(nil)
	_ translate.Collector  = (*hashlimitMatch)(nil)
	_ iptables.Validator   = (*hashlimitMatch)(nil)
	_ iptables.Printer     = (*hashlimitMatch)(nil)
)

// hashlimitMatch is "-m hashlimit": a table of token buckets, one for each
// address or port, or pair of them. Rules of a family that give the same name
// have the same table.
//
// Kernel: net/netfilter/xt_hashlimit.c.
type hashlimitMatch struct {
	Upto, Above      iptables.Opt[hashRate]
	Burst            iptables.Opt[hashBurst]
	Mode             iptables.Opt[hashMode]
	Table            iptables.Opt[hashName]
	Size, Most       iptables.Opt[iptables.U32]
	Interval         iptables.Opt[hashCollect]
	Expire           iptables.Opt[iptables.U32]
	SrcMask, DstMask iptables.Opt[hashMask]
	RateMatch        iptables.Opt[iptables.Flag]
	RateInterval     iptables.Opt[iptables.U32]
}

func (*hashlimitMatch) Name() string { return "hashlimit" }

func (m *hashlimitMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("hashlimit-upto", &m.Upto, iptables.Invertible),
		iptables.Bind("hashlimit-above", &m.Above, iptables.Invertible),
		iptables.Alias("hashlimit", "hashlimit-upto"),
		iptables.Bind("hashlimit-burst", &m.Burst, 0),
		iptables.Bind("hashlimit-mode", &m.Mode, 0),
		iptables.Bind("hashlimit-name", &m.Table, iptables.Required),
		iptables.Bind("hashlimit-htable-size", &m.Size, 0),
		iptables.Bind("hashlimit-htable-max", &m.Most, 0),
		iptables.Bind("hashlimit-htable-gcinterval", &m.Interval, 0),
		iptables.Bind("hashlimit-htable-expire", &m.Expire, 0),
		iptables.Bind("hashlimit-srcmask", &m.SrcMask, 0),
		iptables.Bind("hashlimit-dstmask", &m.DstMask, 0),
		iptables.Bind("hashlimit-rate-match", &m.RateMatch, 0),
		iptables.Bind("hashlimit-rate-interval", &m.RateInterval, 0),
	}
}

// PrintOptions prints a negated rate as the other one, the burst always, and the
// time of expiry only when it is not that of the rate's unit.
func (m *hashlimitMatch) PrintOptions() []iptables.Printed {
	name, rate := "hashlimit-upto", &m.Upto.Value
	if m.Above.Present {
		rate = &m.Above.Value
	}
	if m.above() {
		name = "hashlimit-above"
	}
	list := []iptables.Printed{{Name: name, Args: []string{rate.String()}}}
	if rate.bytes == "" {
		list = append(list, iptables.Printed{Name: "hashlimit-burst", Args: []string{m.Burst.Value.String()}})
	}
	for _, p := range m.Options().Print() {
		switch p.Name {
		case "hashlimit-upto", "hashlimit-above":
			continue
		case "hashlimit-burst":
			if rate.bytes == "" {
				continue
			}
		case "hashlimit-htable-size", "hashlimit-htable-max":
			if p.Args[0] == "0" {
				continue
			}
		}
		list = append(list, p)
	}
	return m.withExpiry(list, rate)
}

// withExpiry puts the time of expiry, which can follow from the unit in which the
// rate was written, where iptables-save prints it.
func (m *hashlimitMatch) withExpiry(list []iptables.Printed, rate *hashRate) []iptables.Printed {
	var out, rest []iptables.Printed
	for _, p := range list {
		switch p.Name {
		case "hashlimit-htable-expire":
		case "hashlimit-srcmask", "hashlimit-dstmask", "hashlimit-rate-match", "hashlimit-rate-interval":
			rest = append(rest, p)
		default:
			out = append(out, p)
		}
	}
	_, unit := rate.perUnit()
	usual := rateUnits[unit].seconds * 1000
	if rate.bytes != "" {
		usual = hashByteSeconds * 1000
	}
	if expire := uint64(m.expire()); expire != usual {
		out = append(out, iptables.Printed{Name: "hashlimit-htable-expire", Args: []string{fmt.Sprint(expire)}})
	}
	return append(out, rest...)
}

// above reports whether the match holds when a bucket is empty.
func (m *hashlimitMatch) above() bool {
	return m.Above.Present && !m.Above.Negated || m.Upto.Present && m.Upto.Negated
}

// rate is the rate, of either option.
func (m *hashlimitMatch) rate() hashRate {
	if m.Above.Present {
		return m.Above.Value
	}
	return m.Upto.Value
}

// expire is how long a bucket is kept that nobody asks, in milliseconds.
func (m *hashlimitMatch) expire() uint32 {
	if m.Expire.Present {
		return uint32(m.Expire.Value)
	}
	return uint32(m.rate().seconds * 1000)
}

// Validate refuses what iptables and the kernel refuse.
func (m *hashlimitMatch) Validate(iptables.Context) []iptables.Problem {
	if m.Upto.Present == m.Above.Present {
		return []iptables.Problem{{
			Code: "missing-option", Summary: "hashlimit needs exactly one rate",
			Detail: "Give one of --hashlimit-upto and --hashlimit-above.",
		}}
	}
	rate := m.rate()
	if rate.bytes == "" && !m.RateMatch.Present {
		cost := rate.average * hashCredits
		if rate.average*m.Burst.Value.packets*hashCredits < cost || m.Burst.Value.packets == 0 {
			return []iptables.Problem{{
				Code:    "limit-overflow",
				Summary: "the kernel cannot count this limit",
				Detail:  "The time that the burst stands for is too long, or the burst is 0. Write a lower burst or a higher rate.",
				Range:   m.Burst.Range,
			}}
		}
	}
	if m.Expire.Present && m.Expire.Value == 0 || m.Interval.Value == 0 {
		return []iptables.Problem{{
			Summary: "a hashlimit table needs times",
			Detail:  "Neither --hashlimit-htable-expire nor --hashlimit-htable-gcinterval can be 0.",
		}}
	}
	return nil
}

// hashCredits is how many credits a microsecond is worth, the same for HZ 250 and
// 1000.
const hashCredits = 137438953

// hashPortProtocols are the protocols that begin with two ports. Of ESP and AH,
// the kernel takes other bytes for ports.
//
// Kernel: include/linux/in.h, proto_ports_offset.
var hashPortProtocols = []uint64{6, 17, 33, 132, 136}

func (m *hashlimitMatch) Meaning(c iptables.Context) predicate.Meaning {
	rate := m.rate()
	if rate.bytes != "" || m.RateMatch.Present {
		return predicate.Meaning{Match: predicate.Unmodelled{What: "hashlimit by bytes, or of a window"}}
	}
	h := predicate.Hashlimit{
		Table: string(m.Table.Value), Average: rate.average, Burst: m.Burst.Value.packets, Expire: m.expire(), Collect: uint32(m.Interval.Value),
		Most: m.most(), IPv6: c.Family == iptables.IPv6,
	}
	var meaning predicate.Meaning
	given := c.Rule.Protocol
	proto, known := uint64(given.Value), given.Present && !given.Negated && given.Value != 0
	first := predicate.Equal(predicate.Field{ID: predicate.FragmentOffset}, predicate.Number(0))
	ports := false
	for _, p := range hashPortProtocols {
		ports = ports || known && proto == p
	}
	unmodelled := false
	for _, k := range []struct {
		mode  uint8
		field predicate.FieldID
		mask  *hashMask
	}{
		{hashSrcIP, predicate.SrcAddr, &m.SrcMask.Value}, {hashSrcPort, predicate.SrcPort, nil},
		{hashDstIP, predicate.DstAddr, &m.DstMask.Value}, {hashDstPort, predicate.DstPort, nil},
	} {
		if m.Mode.Value&hashMode(k.mode) == 0 {
			continue
		}
		part := predicate.KeyPart{Field: predicate.Field{ID: k.field}, Mask: predicate.Ones(16)}
		switch {
		case k.mask != nil && k.mask.bits == 0:
			continue
		case k.mask != nil:
			width := int(k.mask.width)
			part.Mask = predicate.Ones(width).And(predicate.Ones(width - int(k.mask.bits)).Not())
		case !known || proto == 50 || proto == 51:
			unmodelled = true
		case !ports:
			continue // the port is 0
		default:
			meaning.Hotdrop = predicate.All{first, predicate.Not{P: predicate.Present{Field: predicate.Field{ID: predicate.DstPort}}}}
		}
		h.Key = append(h.Key, part)
	}
	if unmodelled {
		return predicate.Meaning{Match: predicate.Unmodelled{What: "hashlimit by ports of any protocol"}}
	}
	var p predicate.Predicate = predicate.Stateful{Instance: h}
	if m.above() {
		p = predicate.Not{P: p}
	}
	if meaning.Hotdrop != nil {
		// The kernel takes bytes of a later fragment for ports.
		p = predicate.Any{
			predicate.All{first, p},
			predicate.All{predicate.Not{P: first}, predicate.Unmodelled{What: "hashlimit by ports of a later fragment"}},
		}
	}
	meaning.Match = p
	return meaning
}

// most is how many keys a table holds, on a machine of more than 1 GB.
func (m *hashlimitMatch) most() uint32 {
	const usual = 8192
	size := uint32(m.Size.Value)
	if size == 0 {
		size = usual
	}
	if m.Most.Value == 0 {
		return 8 * size
	}
	return max(uint32(m.Most.Value), size)
}
