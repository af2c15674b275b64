package predicate

// With "--hashlimit-rate-match" nothing is taken from a bucket. What comes is
// counted in windows: the first packet begins one, and the first that comes when
// it is over begins the next. The match fails for the packets of a window when
// more than the rate came in the one before, and in a window for those behind the
// burst.
//
// Kernel: net/netfilter/xt_hashlimit.c, rateinfo_recalc, rateinfo_init and
// hashlimit_mt_common.

// windowRate is the rate in packets or bytes per second.
func (h Hashlimit) windowRate() uint64 {
	if h.Bytes {
		return h.bytesPerSecond()
	}
	const scale = 1000000
	return scale / h.Average
}

// windowBurst is how many packets or bytes may come in one window.
func (h Hashlimit) windowBurst() uint64 {
	rate := h.windowRate()
	switch {
	case !h.Bytes:
		return h.Burst + rate
	case h.Burst == 0 || rate == 0:
		return rate
	}
	return (h.Burst + rate - 1) / rate * rate
}

// count counts a packet.
func (b *hashlimitBucket) count(h Hashlimit, r Reader, length uint64) Truth {
	now := jiffies(r.Now())
	window := h.Window * HZ
	if passed := uint64(now - b.started); passed >= window {
		b.exceeded = b.counted*window > passed*h.windowRate()
		b.started, b.counted = now, 0
	} else if passed+slack >= window {
		doubt(r)
	}
	if h.Bytes {
		b.counted += length
	} else {
		b.counted++
	}
	return Of(!b.exceeded && b.counted <= h.windowBurst())
}
