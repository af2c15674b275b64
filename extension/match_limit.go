package extension

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatch("limit", func() iptables.Match {
		return &limitMatch{
			Rate:  iptables.Opt[limitRate]{Value: 3600 / 3 * limitScale, Present: true},
			Burst: iptables.Opt[limitBurst]{Value: limitBurstDefault, Present: true},
		}
	})
}

var (
	_ iptsim.Meaning       = (*limitMatch)(nil)
	_ translate.Translator = (*limitMatch)(nil)
	_ iptables.Validator   = (*limitMatch)(nil)
)

// limitMatch is "-m limit": a token bucket of Burst packets that is refilled at
// Rate.
//
// Kernel: net/netfilter/xt_limit.c.
type limitMatch struct {
	Rate  iptables.Opt[limitRate]
	Burst iptables.Opt[limitBurst]
}

func (*limitMatch) Name() string { return "limit" }

func (m *limitMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("limit", &m.Rate, 0),
		iptables.Bind("limit-burst", &m.Burst, 0),
	}
}

// Validate refuses what the kernel refuses: no burst, and a bucket that does
// not fit into 32 bits. (Not every bucket that does not fit is refused: the
// comparison is made after wrapping around.)
func (m *limitMatch) Validate(iptables.Context) []iptables.Problem {
	capacity, cost := m.bucket()
	if m.Burst.Value != 0 && capacity >= cost {
		return nil
	}
	return []iptables.Problem{{
		Code:    "limit-overflow",
		Summary: "the kernel cannot count this limit",
		Detail:  "The time that the burst stands for is too long, or the burst is 0. Write a lower burst or a higher rate.",
		Range:   m.Burst.Range,
	}}
}

func (m *limitMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Limit{
		Average: uint32(m.Rate.Value),
		Burst:   uint32(m.Burst.Value),
	}}}
}

// limitCredits is how many credits a second is worth to the kernel: HZ times
// the power of two that makes a day fit into 32 bits, the same for HZ 250 and
// 1000.
const limitCredits = 32000

// bucket returns the capacity of the bucket and the cost of a packet in credits
// as the kernel computes them, which loses fractions of a second where the
// product would not fit into 32 bits.
//
// Kernel: net/netfilter/xt_limit.c, user2credits.
func (m *limitMatch) bucket() (capacity, cost uint32) {
	credits := func(average uint32) uint32 {
		if average > math.MaxUint32/limitCredits {
			return average / limitScale * limitCredits
		}
		return average * limitCredits / limitScale
	}
	average := uint32(m.Rate.Value)
	return credits(average * uint32(m.Burst.Value)), credits(average)
}

// limitTick is the longest time between two refills of the kernel's bucket, a
// tick of a kernel with HZ 100.
const limitTick = 10 * time.Millisecond

// Translate adds an nft limit of the same period. Both buckets start full.
// nft counts in nanoseconds, xtables in credits that are added once a tick, so
// that some rates differ by a fraction.
//
// Kernel: net/netfilter/nft_limit.c, nft_limit_init and nft_limit_eval.
func (m *limitMatch) Translate(r *translate.Rule) error {
	capacity, cost := m.bucket()
	if cost == 0 {
		return nil // the bucket never empties
	}
	period := time.Duration(cost) * time.Second / limitCredits
	limit := m.Rate.Value.limit(period)
	limit.Burst = capacity / cost
	r.Add(limit)
	refill := limit.Unit / time.Duration(limit.Rate)
	if refill != period || capacity%cost != 0 {
		r.Declare(translate.Deviation{
			Code: "limit-resolution",
			Detail: fmt.Sprintf("xtables counts this limit in steps: one packet per %v, a bucket of %.2f packets. "+
				"nftables refills one packet per %v into a bucket of %d packets.",
				period, float64(capacity)/float64(cost), refill, limit.Burst),
		})
	}
	if filled := period * time.Duration(limit.Burst); filled < limitTick {
		r.Declare(translate.Deviation{
			Code: "limit-tick",
			Detail: fmt.Sprintf("xtables refills the bucket once a tick of the kernel (1 to 10 ms), and it is full after %v: "+
				"it passes fewer packets than --limit says. nftables passes as many as it says.", filled),
		})
	}
	return nil
}

// limit returns the limit of exactly a period, in the shortest unit of time
// that can say it, or else the limit as it is written.
func (l limitRate) limit(period time.Duration) nftgen.Limit {
	for _, unit := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		if rate := unit / period; rate > 0 && unit/rate == period {
			return nftgen.Limit{Rate: uint64(rate), Unit: unit}
		}
	}
	rate, unit := l.perUnit()
	return nftgen.Limit{Rate: rate, Unit: time.Duration(rateUnits[unit].seconds) * time.Second}
}

// A limitRate is the argument of "--limit": the time between packets in units
// of 1/10000 s. It prints as the shortest unit of time in which the rate is
// (nearly) a whole number.
type limitRate uint32

const limitScale = 10000 // XT_LIMIT_SCALE

// Set reads "N" or "N/unit". What follows the digits is not looked at.
func (l *limitRate) Set(arg string) error {
	n, _, unit, err := cutRate(arg)
	if err != nil {
		return err
	}
	average, _, err := packetRate(arg, n, unit, limitScale)
	if err != nil {
		return err
	}
	*l = limitRate(average)
	return nil
}

// String writes "N/unit".
func (l *limitRate) String() string {
	rate, unit := l.perUnit()
	return fmt.Sprintf("%d/%s", rate, rateUnits[unit].printed)
}

// perUnit returns the rate per unit of rateUnits.
func (l limitRate) perUnit() (rate uint64, unit int) { return ratePerUnit(uint64(l), limitScale) }

// A limitBurst is the argument of "--limit-burst".
type limitBurst uint32

const (
	limitBurstDefault = 5
	limitBurstMax     = 10000
)

// Set reads a number of packets.
func (b *limitBurst) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, limitBurstMax)
	*b = limitBurst(n)
	return err
}

// String writes the number.
func (b *limitBurst) String() string { return strconv.FormatUint(uint64(*b), 10) }

// IsDefault reports whether the burst is that of limit without the option.
func (b *limitBurst) IsDefault() bool { return *b == limitBurstDefault }
