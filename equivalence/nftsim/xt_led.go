package nftsim

import (
	"fmt"
	"math"
)

func init() { registerXtTarget("LED", 0, decodeXtLED) }

// An xtLED has a light flash.
//
// Kernel: net/netfilter/xt_LED.c; include/uapi/linux/netfilter/xt_LED.h, struct
// xt_led_info.
type xtLED struct {
	trigger string
	blink   bool
	delay   uint32 // milliseconds; all ones is for ever
}

func decodeXtLED(info []byte) (xtTarget, error) {
	r := xtReader{data: info}
	t := xtLED{trigger: r.text(27)}
	blink := r.u8()
	t.delay = r.u32()
	r.u64() // the kernel's
	if blink > 1 {
		return nil, notModelled{fmt.Sprintf("a light that blinks by %d", blink)}
	}
	t.blink = blink == 1
	return t, r.end()
}

func (t xtLED) String() string {
	how := fmt.Sprintf("goes out after %d ms", t.delay)
	switch t.delay {
	case 0:
		how = "goes out at once"
	case math.MaxUint32:
		how = "stays on"
	}
	if t.blink {
		how += ", and blinks"
	}
	return fmt.Sprintf("light %q %s", t.trigger, how)
}
