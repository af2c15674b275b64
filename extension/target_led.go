package extension

import (
	"errors"
	"fmt"
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerTarget("LED", func() iptables.Target { return new(ledTarget) }) }

var (
	_ iptsim.Doing     = (*ledTarget)(nil)
	_ translate.Keeper = (*ledTarget)(nil)
)

// ledTarget is "-j LED": a light of the host flashes; the packet goes on.
//
// Kernel: net/netfilter/xt_LED.c.
type ledTarget struct {
	ID    iptables.Opt[ledName]
	Delay iptables.Opt[ledDelay]
	Blink iptables.Opt[iptables.Flag]
}

func (*ledTarget) Name() string { return "LED" }

func (t *ledTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("led-trigger-id", &t.ID, iptables.Required),
		iptables.Bind("led-delay", &t.Delay, 0),
		iptables.Bind("led-always-blink", &t.Blink, 0),
	}
}

// Action is nothing that a packet or a program shows.
func (t *ledTarget) Action(iptables.Context) predicate.Action {
	how := "goes out at once"
	switch delay := t.Delay.Value; {
	case delay == ledForever:
		how = "stays on"
	case delay != 0:
		how = fmt.Sprintf("goes out after %d ms", uint32(delay))
	}
	if t.Blink.Present {
		how += ", and blinks"
	}
	return predicate.Action{
		Effects: []predicate.Effect{predicate.External{What: fmt.Sprintf("light %q %s", "netfilter-"+string(t.ID.Value.Text), how)}}, Then: predicate.Continue,
	}
}

// Keep writes the name as the kernel registers it.
//
// Kernel: include/uapi/linux/netfilter/xt_LED.h, struct xt_led_info.
func (t *ledTarget) Keep(*translate.Rule) (translate.Kept, error) {
	const size = 27
	var info xtLayout
	info.text("netfilter-"+string(t.ID.Value.Text), size)
	blink := uint8(0)
	if t.Blink.Present {
		blink = 1
	}
	info.u8(blink)
	info.u32(uint32(t.Delay.Value))
	info.pointer()
	return translate.Kept{Name: "LED", Info: info.data}, nil
}

// A ledName is the argument of "--led-trigger-id".
type ledName struct{ iptables.Text }

// Set reads a name that fits behind "netfilter-".
func (n *ledName) Set(arg string) error {
	const most = 16
	if arg == "" {
		return errors.New("the name of a trigger cannot be empty")
	}
	if len(arg) > most {
		return fmt.Errorf("%q has %d bytes, and the name of a trigger has at most %d", arg, len(arg), most)
	}
	n.Text = iptables.Text(arg)
	return nil
}

// String writes the name in quotes.
func (n *ledName) String() string { return `"` + string(n.Text) + `"` }

// A ledDelay is the argument of "--led-delay": milliseconds, or "inf" for ever.
type ledDelay uint32

// ledForever stays on.
const ledForever = math.MaxUint32

// Set reads a time.
func (d *ledDelay) Set(arg string) error {
	if arg == "inf" {
		*d = ledForever
		return nil
	}
	n, err := iptables.ParseNumber(arg, math.MaxUint32)
	if err != nil {
		return fmt.Errorf("%w; or write inf", err)
	}
	*d = ledDelay(n)
	return nil
}

// String writes the time.
func (d *ledDelay) String() string {
	if *d == ledForever {
		return "inf"
	}
	return fmt.Sprint(uint32(*d))
}

// IsDefault reports whether the light goes off at once.
func (d *ledDelay) IsDefault() bool { return *d == 0 }
