package nftsim

import (
	"bytes"
	"fmt"
)

func init() {
	registerXtTarget("RATEEST", 0, decodeXtEstimator)
	registerXtTarget("IDLETIMER", 1, decodeXtIdletimer)
}

// An xtEstimator counts packets.
//
// Kernel: net/netfilter/xt_RATEEST.c; include/uapi/linux/netfilter/xt_RATEEST.h,
// struct xt_rateest_target_info.
type xtEstimator struct {
	name     string
	interval int8 // logarithm, of seconds
	average  uint8
}

func decodeXtEstimator(info []byte) (xtTarget, error) {
	r := xtReader{data: info}
	t := xtEstimator{r.text(16), int8(r.u8()), r.u8()}
	r.u64() // the kernel's
	if t.interval < -2 || t.interval > 3 {
		return nil, fmt.Errorf("an interval of 2^%d seconds", t.interval)
	}
	return t, r.end()
}

func (t xtEstimator) String() string {
	return fmt.Sprintf("estimator %q counts, every 250 ms times 2^%d with a weight of 2^%d", t.name, t.interval+2, t.average)
}

// An xtIdletimer starts a timer.
//
// Kernel: net/netfilter/xt_IDLETIMER.c; include/uapi/linux/netfilter/xt_IDLETIMER.h,
// struct idletimer_tg_info_v1.
type xtIdletimer struct {
	timeout uint32
	label   string
	alarm   bool
}

func decodeXtIdletimer(info []byte) (xtTarget, error) {
	r := xtReader{data: info}
	t := xtIdletimer{timeout: r.u32(), label: r.text(28)}
	r.u8()
	kind := r.u8()
	r.u64() // the kernel's
	if kind > 1 {
		return nil, notModelled{fmt.Sprintf("kind %d of IDLETIMER", kind)}
	}
	t.alarm = kind == 1
	return t, r.end()
}

func (t xtIdletimer) String() string {
	kind := ""
	if t.alarm {
		kind = "alarm "
	}
	return fmt.Sprintf("%stimer %q starts, for %d seconds", kind, t.label, t.timeout)
}

// text reads a string in a field of a length.
func (r *xtReader) text(length int) string {
	b, _, _ := bytes.Cut(r.bytes(length), []byte{0})
	return string(b)
}
