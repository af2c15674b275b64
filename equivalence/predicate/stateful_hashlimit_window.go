package predicate

import (
	"fmt"
	"math/bits"
	"strings"
)

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

// WindowWords are all numbers of a table whose packets are counted in windows.
func (h Hashlimit) WindowWords() string {
	rate := fmt.Sprintf("a packet in %dus and %d more", h.Average, h.Burst)
	if h.Bytes {
		second := h.bytesPerSecond()
		rate = fmt.Sprintf("16 bytes for %d and %d seconds more", h.Average, (h.Burst+second-1)/second)
	}
	var keys []string
	for _, k := range h.Key {
		text := k.Field.String()
		if k.Field.ID != FlowPort {
			text += fmt.Sprintf("/%d", bits.OnesCount64(k.Mask.Hi)+bits.OnesCount64(k.Mask.Lo))
		}
		keys = append(keys, text)
	}
	return fmt.Sprintf("windows of %ds of table %q: %s, by %s, kept %dms, forgotten every %dms, at most %d",
		h.Window, h.Table, rate, strings.Join(keys, ","), h.Expire, h.Collect, h.Most)
}
