package predicate

import "fmt"

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
		return &limitState{credit: l.capacity(), previous: now}
	})
	state.credit += uint32(now-state.previous) * creditsPerJiffy
	state.previous = now
	state.credit = min(state.credit, l.capacity())
	cost := credits(l.Average)
	if state.credit < cost {
		return No
	}
	state.credit -= cost
	return Yes
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
