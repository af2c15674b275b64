package predicate

import (
	"fmt"
	"math"
	"time"
)

// Limit is "-m limit": a token bucket that every packet which reaches it may
// empty.
//
// The bucket is counted in credits; a jiffy earns creditsPerJiffy of them, a
// packet that passes pays the cost of one packet, and it starts full. All
// numbers wrap at 32 bits as the kernel's do.
//
// Kernel: net/netfilter/xt_limit.c.
type Limit struct {
	// Average is the time between packets in units of 1/10000 s, which is how
	// iptables hands "--limit 3/minute" to the kernel: 200000.
	Average uint32
	Burst   uint32 // packets, at least 1
}

var _ Instance = Limit{}

const (
	limitScale = 10000 // XT_LIMIT_SCALE
	// creditsPerJiffy is the largest power of two with which a day's worth of
	// credits fits into 32 bits.
	creditsPerJiffy = 128
	_               = uint(0xffffffff/(HZ*86400) - creditsPerJiffy)
	_               = uint(2*creditsPerJiffy - 1 - 0xffffffff/(HZ*86400))
)

type limitState struct {
	credit   uint32
	previous int64 // jiffies
	// unsure says that a kernel may have decided otherwise since the bucket was
	// full.
	unsure bool
	// ideal is the bucket as it is written: of whole packets, refilled all the
	// time. It is in nanoseconds, as is the time it was asked.
	ideal, asked int64
}

// Identity is "": each rule has its own bucket.
func (Limit) Identity() string { return "" }

// Describe says the parameters.
func (l Limit) Describe() string {
	return fmt.Sprintf("limit one packet per %gs burst %d", float64(l.Average)/limitScale, l.Burst)
}

// Keys is none: the bucket is one for all packets.
func (Limit) Keys() []Field { return nil }

// Ask takes a packet's worth of credits when they are there.
func (l Limit) Ask(r Reader, scope string) Truth {
	now := jiffies(r.Now())
	state := Get(r.States(), scope, func() *limitState {
		return &limitState{credit: l.capacity(), previous: now, asked: r.Now(), ideal: math.MaxInt64 / 2}
	})
	full := state.credit == l.capacity()
	state.credit += uint32(now-state.previous) * creditsPerJiffy
	state.previous = now
	full = full || uint64(state.credit) >= uint64(l.capacity())+slack*creditsPerJiffy
	state.credit = min(state.credit, l.capacity())
	cost := credits(l.Average)
	if full {
		state.unsure = false
	} else if difference := int64(state.credit) - int64(cost); max(difference, -difference) <= slack*creditsPerJiffy {
		state.unsure = true
	}
	if state.unsure {
		doubt(r)
	}
	pass := state.credit >= cost
	if pass {
		state.credit -= cost
	}
	if ideal, near := l.ideal(state, r.Now()); ideal != pass || near {
		declare(r, "limit-resolution")
		declare(r, "limit-tick")
	}
	return Of(pass)
}

// ideal asks the bucket that is refilled at the written rate, and says whether
// the answer was a near one.
func (l Limit) ideal(s *limitState, now int64) (pass, near bool) {
	const unit = int64(time.Second / limitScale)
	period := int64(l.Average) * unit
	packets := int64(1)
	if cost := credits(l.Average); cost != 0 {
		packets = int64(l.capacity() / cost)
	}
	s.ideal = min(s.ideal+now-s.asked, period*packets)
	s.asked = now
	rest := s.ideal - period
	pass, near = rest >= 0, max(rest, -rest) <= period/100 && s.ideal != period*packets
	if pass {
		s.ideal = rest
	}
	return pass, near
}

func (l Limit) capacity() uint32 { return credits(l.Average * l.Burst) }

// Overflows reports whether the kernel refuses the parameters because the
// bucket does not fit.
func (l Limit) Overflows() bool {
	return l.Burst == 0 || credits(l.Average*l.Burst) < credits(l.Average)
}

// credits converts 1/10000 s, dividing first where the product would not fit.
func credits(user uint32) uint32 {
	if user > 0xffffffff/(HZ*creditsPerJiffy) {
		return user / limitScale * HZ * creditsPerJiffy
	}
	return user * HZ * creditsPerJiffy / limitScale
}

// Bucket returns the time between packets in nanoseconds and the size of the
// bucket in whole packets, as the kernel counts them. A period of 0 never
// empties the bucket.
func (l Limit) Bucket() (period int64, packets uint32) {
	cost := credits(l.Average)
	if cost == 0 {
		return 0, 0
	}
	return int64(cost) * int64(time.Second) / (HZ * creditsPerJiffy), l.capacity() / cost
}
