package predicate

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Hashlimit is "-m hashlimit": a table of token buckets, one for each key. What
// the buckets hold is in this file for packets, in others for bytes and windows. It holds while the bucket of the packet's key is not empty;
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
	// Average is the time between packets in units of 1/1000000 s, or with Bytes the
	// part of 2^32 that 16 bytes take from a bucket.
	Average uint64
	Burst   uint64 // packets, at least 1; or bytes, 0 for none
	Bytes   bool
	// Window is the length in seconds of windows whose packets are counted, 0 for a
	// bucket.
	Window uint64
	// Protocol is the one that the rule's packets have, 0 when it is not known.
	Protocol uint8
	Key      []KeyPart
	Expire   uint32 // milliseconds
	Collect  uint32 // how often forgotten buckets are looked for, milliseconds
	Most     uint32
	IPv6     bool // the family of the rule
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
	// authentication says that the index of an authentication header was taken for
	// ports.
	authentication bool
}

type hashlimitBucket struct {
	credit   int64 // nanoseconds
	previous int64 // jiffies
	expires  int64 // nanoseconds
	unsure   bool
	stale    bool // the kernel may have forgotten it, and it was not full since
	// ideal is the bucket that is refilled all the time.
	ideal, asked int64

	refills  uint64 // of a bucket of bytes, that are left
	started  int64  // the window, jiffies
	counted  uint64 // in the window
	exceeded bool   // the window before
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
	rate := fmt.Sprintf("one packet per %dus", h.Average)
	if h.Bytes {
		rate = fmt.Sprintf("%d bytes per second", h.bytesPerSecond())
	}
	if h.Window != 0 {
		rate += fmt.Sprintf(" in windows of %ds", h.Window)
	}
	return fmt.Sprintf("hashlimit %s %s burst %d by %s", h.Table, rate, h.Burst, strings.Join(keys, ","))
}

// Keys are the fields of the key, and the length where bytes are counted.
func (h Hashlimit) Keys() []Field {
	var list []Field
	if h.Bytes {
		list = append(list, Field{ID: TotalLength})
	}
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

// Forgets reports whether a bucket can be forgotten before it is full. A burst of
// bytes never comes back, nor does a window.
func (h Hashlimit) Forgets() bool {
	switch {
	case h.Window != 0:
		return true
	case h.Bytes:
		const second = 1000
		return h.Burst != 0 || h.Expire < second
	}
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

// Ask takes a packet's worth of time when it is there, or its bytes.
func (h Hashlimit) Ask(r Reader, _ string) Truth {
	t := h.table(r.States())
	h = t.rule
	length, known := r.Field(Field{ID: TotalLength})
	if h.Bytes && known != Yes {
		return Unknown
	}
	key, ok := t.key(r)
	if !ok {
		return Unknown
	}
	b, known := t.find(r, key)
	if known != Yes {
		return known
	}
	b.expires = r.Now() + int64(h.Expire)*int64(time.Millisecond)
	switch {
	case h.Window != 0:
		return b.count(h, r, length.Lo)
	case h.Bytes:
		return b.takeBytes(h, r, length.Lo)
	}
	return b.takePacket(h, r)
}

// key is the key of a packet.
func (t *hashlimitTable) key(r Reader) (string, bool) {
	var key strings.Builder
	for _, k := range t.rule.Key {
		v, present := r.Field(k.Field)
		if present != Yes {
			return "", false
		}
		if k.Field.ID == FlowPort && !t.rule.IPv6 {
			const authentication = 51
			proto, _ := r.Field(Field{ID: Protocol})
			t.authentication = t.authentication || proto.Lo == authentication
		}
		fmt.Fprintf(&key, "%v ", v.And(k.Mask))
	}
	if t.authentication {
		declare(r, "hashlimit-ah-ports")
	}
	return key.String(), true
}

// find returns the bucket of a key, a new one when there is none.
func (t *hashlimitTable) find(r Reader, key string) (*hashlimitBucket, Truth) {
	h, now, tick := t.rule, r.Now(), int64(time.Second/HZ)
	b := t.buckets[key]
	if b != nil && h.Forgets() && now >= b.expires-slack*tick {
		declare(r, "hashlimit-expiry")
		if now >= b.expires+int64(h.Collect)*int64(time.Millisecond)+slack*tick {
			b = nil
		} else {
			b.stale = true
		}
	}
	if b != nil {
		if b.stale {
			declare(r, "hashlimit-expiry")
			doubt(r)
		}
		return b, Yes
	}
	if uint32(len(t.buckets)) >= h.Most {
		declare(r, "hashlimit-table-size")
		return nil, Unknown // which keys are still there is not modelled
	}
	period, packets := h.Bucket()
	b = &hashlimitBucket{credit: period * int64(packets), previous: jiffies(now), asked: now, ideal: math.MaxInt64 / 2, started: jiffies(now)}
	if h.Bytes && h.Window == 0 {
		b.fillBytes(h)
	}
	t.buckets[key] = b
	return b, Yes
}

// takePacket takes a packet's worth of time.
func (b *hashlimitBucket) takePacket(h Hashlimit, r Reader) Truth {
	period, packets := h.Bucket()
	capacity := period * int64(packets)
	now, tick := r.Now(), int64(time.Second/HZ)
	full := b.credit == capacity
	b.credit += (jiffies(now) - b.previous) * tick
	b.previous = jiffies(now)
	full = full || b.credit >= capacity+slack*tick
	b.credit = min(b.credit, capacity)
	if full {
		b.unsure, b.stale = false, false
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
