package predicate

import "time"

// A bucket of bytes holds one second of the rate, in credits of which a jiffy
// brings so many. 16 bytes cost the same, and a packet costs one part more than
// it has whole parts of 16 bytes, but never more than a bucket. An empty bucket is
// filled again, at once, as often as the burst says; that number does not come back
// as long as the bucket is kept.
//
// Kernel: net/netfilter/xt_hashlimit.c, rateinfo_recalc and hashlimit_byte_cost.
const (
	// byteCreditsPerJiffy is the largest power of two with which a second's worth of
	// credits fits into 32 bits.
	byteCreditsPerJiffy = 1 << 24
	byteBucket          = HZ * byteCreditsPerJiffy
	_                   = uint(0xffffffff/HZ - byteCreditsPerJiffy)
	_                   = uint(2*byteCreditsPerJiffy - 1 - 0xffffffff/HZ)
	chunkBits           = 4 // XT_HASHLIMIT_BYTE_SHIFT
)

// bytesPerSecond is the rate of bytes that the cost of 16 stands for.
func (h Hashlimit) bytesPerSecond() uint64 { return (0xffffffff/h.Average - 1) << chunkBits }

// ByteBucket returns the rate, and how many bytes beside one second of it a burst
// brings.
func (h Hashlimit) ByteBucket() (rate, burst uint64) {
	rate = h.bytesPerSecond()
	if h.Burst != 0 && rate != 0 {
		burst = (h.Burst + rate - 1) / rate * rate
	}
	return max(rate, 1<<chunkBits), burst
}

// fillBytes makes a new bucket full.
func (b *hashlimitBucket) fillBytes(h Hashlimit) {
	rate, burst := h.ByteBucket()
	b.credit, b.refills = byteBucket, burst/rate
}

// takeBytes takes the bytes of a packet.
func (b *hashlimitBucket) takeBytes(h Hashlimit, r Reader, length uint64) Truth {
	now := r.Now()
	full := b.credit == byteBucket
	b.credit += (jiffies(now) - b.previous) * byteCreditsPerJiffy
	b.previous = jiffies(now)
	full = full || b.credit >= byteBucket+slack*byteCreditsPerJiffy
	b.credit = min(b.credit, byteBucket)
	cost := min(int64(length>>chunkBits+1)*int64(h.Average*byteBucket>>32), byteBucket)
	if b.credit < cost && b.refills > 0 {
		b.refills--
		b.credit = byteBucket
	}
	if difference := b.credit - cost; full {
		b.unsure = false
	} else if max(difference, -difference) <= slack*byteCreditsPerJiffy {
		b.unsure = true
	}
	if b.unsure {
		doubt(r)
	}
	pass := b.credit >= cost
	if pass {
		b.credit -= cost
	}
	if ideal, near := b.isIdealBytes(h, now, length); ideal != pass || near {
		declare(r, "hashlimit-bytes")
	}
	return Of(pass)
}

// isIdealBytes asks the bucket that counts bytes, and into which the burst comes
// back with time.
func (b *hashlimitBucket) isIdealBytes(h Hashlimit, now int64, length uint64) (pass, near bool) {
	rate, burst := h.ByteBucket()
	second := float64(time.Second)
	capacity := int64(second * float64(rate+burst) / float64(rate))
	b.ideal = min(b.ideal+now-b.asked, capacity)
	b.asked = now
	rest := b.ideal - int64(second*float64(length)/float64(rate))
	pass, near = rest >= 0, b.ideal != capacity && max(rest, -rest) <= slack*int64(time.Second/HZ)
	if pass {
		b.ideal = rest
	}
	return pass, near
}
