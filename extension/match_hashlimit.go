package extension

import (
	"fmt"
	"math"

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
		Burst:    iptables.Opt[hashBurst]{Value: 5},
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
	RateInterval     iptables.Opt[hashInterval]
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

// PrintOptions prints a negated rate as the other one, the burst of packets always
// and that of bytes as a number of seconds of the rate, and the time of expiry only
// when it is not that of the rate's unit.
func (m *hashlimitMatch) PrintOptions() []iptables.Printed {
	name, rate := "hashlimit-upto", m.rate()
	if m.above() {
		name = "hashlimit-above"
	}
	list := []iptables.Printed{{Name: name, Args: []string{rate.String()}}}
	switch {
	case !rate.bytes:
		list = append(list, iptables.Printed{Name: "hashlimit-burst", Args: []string{m.Burst.Value.String()}})
	case m.Burst.Present:
		list = append(list, iptables.Printed{Name: "hashlimit-burst", Args: []string{m.Burst.Value.inBytes(&rate)}})
	}
	for _, p := range m.Options().Print() {
		switch p.Name {
		case "hashlimit-upto", "hashlimit-above", "hashlimit-burst", "hashlimit-rate-interval":
			continue
		case "hashlimit-htable-size", "hashlimit-htable-max":
			if p.Args[0] == "0" {
				continue
			}
		}
		list = append(list, p)
	}
	list = m.withExpiry(list, &rate)
	if n := m.window(); m.RateMatch.Present && n != 1 {
		list = append(list, iptables.Printed{Name: "hashlimit-rate-interval", Args: []string{fmt.Sprint(n)}})
	}
	return list
}

// withExpiry puts the time of expiry, which can follow from the unit in which the
// rate was written, where iptables-save prints it.
func (m *hashlimitMatch) withExpiry(list []iptables.Printed, rate *hashRate) []iptables.Printed {
	var out, rest []iptables.Printed
	for _, p := range list {
		switch p.Name {
		case "hashlimit-htable-expire":
		case "hashlimit-srcmask", "hashlimit-dstmask", "hashlimit-rate-match":
			rest = append(rest, p)
		default:
			out = append(out, p)
		}
	}
	_, unit := rate.perUnit()
	usual := rateUnits[unit].seconds
	switch {
	case rate.bytes && m.Burst.Present:
		usual = hashByteBurstSeconds
	case rate.bytes:
		usual = hashByteSeconds
	}
	if expire := uint64(m.expire()); expire != usual*1000 {
		out = append(out, iptables.Printed{Name: "hashlimit-htable-expire", Args: []string{fmt.Sprint(expire)}})
	}
	return append(out, rest...)
}

// above reports whether the match holds when a bucket is empty.
func (m *hashlimitMatch) above() bool {
	return m.Above.Present && !m.Above.Negated || m.Upto.Present && m.Upto.Negated
}

// rate is the rate, of either option. That of windows is per second, in whatever
// unit it was written.
func (m *hashlimitMatch) rate() hashRate {
	rate := m.Upto.Value
	if m.Above.Present {
		rate = m.Above.Value
	}
	if m.RateMatch.Present && !rate.bytes && rate.seconds != 0 {
		rate.average /= rate.seconds
	}
	return rate
}

// window is how many seconds a window of --hashlimit-rate-match has: those of the
// rate's unit when the rule does not say.
func (m *hashlimitMatch) window() uint64 {
	rate := m.rate()
	switch {
	case m.RateInterval.Present:
		return uint64(m.RateInterval.Value)
	case rate.bytes:
		return 1
	}
	return rate.seconds
}

// expire is how long a bucket is kept that nobody asks, in milliseconds.
func (m *hashlimitMatch) expire() uint32 {
	if m.Expire.Present {
		return uint32(m.Expire.Value)
	}
	rate := m.rate()
	if rate.bytes && m.Burst.Present {
		return hashByteBurstSeconds * 1000
	}
	return uint32(rate.seconds * 1000)
}

// Validate refuses what iptables and the kernel refuse.
func (m *hashlimitMatch) Validate(iptables.Context) []iptables.Problem {
	if m.Upto.Present == m.Above.Present {
		return []iptables.Problem{{
			Code: "missing-option", Summary: "hashlimit needs exactly one rate",
			Detail: "Give one of --hashlimit-upto and --hashlimit-above.",
		}}
	}
	if problem, ok := m.overflow(); ok {
		return []iptables.Problem{problem}
	}
	if m.Expire.Present && m.Expire.Value == 0 || m.Interval.Value == 0 {
		return []iptables.Problem{{
			Summary: "a hashlimit table needs times",
			Detail:  "Neither --hashlimit-htable-expire nor --hashlimit-htable-gcinterval can be 0.",
		}}
	}
	return nil
}

// overflow finds a rate or a burst that cannot be counted.
//
// Kernel: net/netfilter/xt_hashlimit.c, hashlimit_mt_check_common.
func (m *hashlimitMatch) overflow() (iptables.Problem, bool) {
	rate, burst := m.rate(), m.Burst.Value
	where := m.Upto.Range
	if m.Above.Present {
		where = m.Above.Range
	}
	cost, all := rate.average*hashCredits, rate.average*uint64(burst)*hashCredits
	switch {
	case rate.bytes && m.Burst.Present && (rate.perSecond() == 0 || uint64(burst) < rate.perSecond()):
		return iptables.Problem{
			Code: "limit-overflow", Summary: "a burst of bytes is too small",
			Detail: fmt.Sprintf("It must not be smaller than one second of the rate: %d bytes, and at least 16.", rate.perSecond()),
			Range:  m.Burst.Range,
		}, true
	case !rate.bytes && burst > hashBurstMax:
		return iptables.Problem{
			Code: "limit-overflow", Summary: "a burst of packets is too large",
			Detail: fmt.Sprintf("It can be 1 to %d packets.", hashBurstMax), Range: m.Burst.Range,
		}, true
	case m.RateMatch.Present && (rate.average == 0 || rate.average > math.MaxUint32), rate.bytes && !m.RateMatch.Present && rate.average == 1:
		return iptables.Problem{
			Code: "limit-overflow", Summary: "the kernel cannot count this rate",
			Detail: "The time between packets, or that of 16 bytes, does not fit. Write another rate.", Range: where,
		}, true
	case !rate.bytes && !m.RateMatch.Present && all < cost:
		return iptables.Problem{
			Code: "limit-overflow", Summary: "the kernel cannot count this limit",
			Detail: "The time that the burst stands for is too long. Write a lower burst or a higher rate.", Range: m.Burst.Range,
		}, true
	}
	return iptables.Problem{}, false
}

// hashCredits is how many credits a microsecond is worth, the same for HZ 250 and
// 1000.
const hashCredits = 137438953

func (m *hashlimitMatch) Meaning(c iptables.Context) predicate.Meaning {
	rate := m.rate()
	h := predicate.Hashlimit{
		Table: string(m.Table.Value), Average: rate.average, Burst: uint64(m.Burst.Value), Bytes: rate.bytes, Expire: m.expire(),
		Collect: uint32(m.Interval.Value), Most: m.most(), IPv6: c.Family == iptables.IPv6,
	}
	if rate.bytes && !m.Burst.Present {
		h.Burst = 0
	}
	if m.RateMatch.Present {
		h.Window = m.window()
	}
	if given := c.Rule.Protocol; given.Present && !given.Negated {
		h.Protocol = uint8(given.Value)
	}
	var meaning predicate.Meaning
	for _, k := range []struct {
		mode  uint8
		field predicate.Field
		mask  *hashMask
	}{
		{hashSrcIP, predicate.Field{ID: predicate.SrcAddr}, &m.SrcMask.Value}, {hashSrcPort, predicate.Field{ID: predicate.FlowPort}, nil},
		{hashDstIP, predicate.Field{ID: predicate.DstAddr}, &m.DstMask.Value}, {hashDstPort, predicate.Field{ID: predicate.FlowPort, Arg: 1}, nil},
	} {
		if m.Mode.Value&hashMode(k.mode) == 0 {
			continue
		}
		part := predicate.KeyPart{Field: k.field, Mask: predicate.Ones(16)}
		if k.mask == nil {
			meaning.Hotdrop = predicate.Not{P: predicate.Present{Field: k.field}}
		} else {
			width := int(k.mask.width)
			part.Mask = predicate.Ones(width).And(predicate.Ones(width - int(k.mask.bits)).Not())
			if k.mask.bits == 0 {
				continue
			}
		}
		h.Key = append(h.Key, part)
	}
	meaning.Match = predicate.Stateful{Instance: h}
	if m.above() {
		meaning.Match = predicate.Not{P: meaning.Match}
	}
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
