package predicate

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Hashlimit is "-m hashlimit" with a rate of packets: a table of token buckets,
// one for each key. It holds while the bucket of the packet's key is not empty;
// "--hashlimit-above" is its negation. The table is one for all rules of a
// family that name it, with the numbers of the rule that is loaded first.
//
// A bucket that nobody asked for Expire milliseconds is forgotten, sooner or
// later, and starts full again. A table holds Most keys; a packet with a new key
// for a full table is dropped.
//
// Kernel: net/netfilter/xt_hashlimit.c, revision 3.
type Hashlimit struct {
	Table string
	// Average is the time between packets in units of 1/1000000 s.
	Average uint64
	Burst   uint64 // packets, at least 1
	Key     []KeyPart
	Expire  uint32 // milliseconds
	Collect uint32 // how often forgotten buckets are looked for, milliseconds
	Most    uint32
	IPv6    bool // the family of the rule
}

// A KeyPart is a field under a mask.
type KeyPart struct {
	Field Field
	Mask  Bits
}

var _ Loader = Hashlimit{}

type hashlimitTable struct {
	rule    Hashlimit // that was loaded first
	buckets map[string]*hashlimitBucket
}

type hashlimitBucket struct {
	credit   int64 // nanoseconds
	previous int64 // jiffies
	expires  int64 // nanoseconds
	unsure   bool
	// ideal is the bucket that is refilled all the time.
	ideal, asked int64
}

// Identity is the table.
func (h Hashlimit) Identity() string {
	if h.IPv6 {
		return "hashlimit6 " + h.Table
	}
	return "hashlimit " + h.Table
}

// Describe says table and parameters.
func (h Hashlimit) Describe() string {
	var keys []string
	for _, k := range h.Key {
		keys = append(keys, k.Field.String())
	}
	return fmt.Sprintf("hashlimit %s one packet per %dus burst %d by %s", h.Table, h.Average, h.Burst, strings.Join(keys, ","))
}

// Keys are the fields of the key.
func (h Hashlimit) Keys() []Field {
	var list []Field
	for _, k := range h.Key {
		list = append(list, k.Field)
	}
	return list
}

// Bucket returns the time between packets in nanoseconds and the size of a
// bucket in packets.
func (h Hashlimit) Bucket() (period int64, packets uint64) {
	return int64(h.Average) * int64(time.Microsecond), h.Burst
}

// Forgets reports whether a bucket can be forgotten before it is full.
func (h Hashlimit) Forgets() bool {
	period, packets := h.Bucket()
	return int64(h.Expire)*int64(time.Millisecond) < period*int64(packets)
}

// Load makes the table.
func (h Hashlimit) Load(s *States) { h.table(s) }

func (h Hashlimit) table(s *States) *hashlimitTable {
	return Get(s, h.Identity(), func() *hashlimitTable {
		return &hashlimitTable{rule: h, buckets: map[string]*hashlimitBucket{}}
	})
}

// Ask takes a packet's worth of time when it is there.
func (h Hashlimit) Ask(r Reader, _ string) Truth {
	t := h.table(r.States())
	h = t.rule
	var key strings.Builder
	for _, k := range h.Key {
		v, present := r.Field(k.Field)
		if present != Yes {
			return Unknown
		}
		fmt.Fprintf(&key, "%v ", v.And(k.Mask))
	}
	period, packets := h.Bucket()
	capacity := period * int64(packets)
	now, tick := r.Now(), int64(time.Second/HZ)
	b := t.buckets[key.String()]
	if b != nil && h.Forgets() && now >= b.expires-slack*tick {
		declare(r, "hashlimit-expiry")
		if now >= b.expires+int64(h.Collect)*int64(time.Millisecond)+slack*tick {
			b = nil
		} else {
			doubt(r)
		}
	}
	if b == nil {
		if uint32(len(t.buckets)) >= h.Most {
			declare(r, "hashlimit-table-size")
			return Unknown // which keys are still there is not modelled
		}
		b = &hashlimitBucket{credit: capacity, previous: jiffies(now), asked: now, ideal: math.MaxInt64 / 2}
		t.buckets[key.String()] = b
	}
	b.expires = now + int64(h.Expire)*int64(time.Millisecond)
	full := b.credit == capacity
	b.credit += (jiffies(now) - b.previous) * tick
	b.previous = jiffies(now)
	full = full || b.credit >= capacity+slack*tick
	b.credit = min(b.credit, capacity)
	if full {
		b.unsure = false
	} else if difference := b.credit - period; max(difference, -difference) <= slack*tick {
		b.unsure = true
	}
	if b.unsure {
		doubt(r)
	}
	pass := b.credit >= period
	if pass {
		b.credit -= period
	}
	if ideal, near := b.isIdeal(period, capacity, now); ideal != pass || near {
		declare(r, "limit-resolution")
		declare(r, "limit-tick")
	}
	return Of(pass)
}

// isIdeal asks the bucket that is refilled all the time, and says whether the
// answer was a near one.
func (b *hashlimitBucket) isIdeal(period, capacity, now int64) (pass, near bool) {
	b.ideal = min(b.ideal+now-b.asked, capacity)
	b.asked = now
	rest := b.ideal - period
	pass, near = rest >= 0, max(rest, -rest) <= period/100 && b.ideal != capacity
	if pass {
		b.ideal = rest
	}
	return pass, near
}
