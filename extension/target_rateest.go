package extension

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerTarget("RATEEST", func() iptables.Target { return new(rateestTarget) }) }

var (
	_ iptsim.Doing       = (*rateestTarget)(nil)
	_ translate.Keeper   = (*rateestTarget)(nil)
	_ iptables.Validator = (*rateestTarget)(nil)
)

// rateestTarget is "-j RATEEST": the packet is counted by an estimator of rates,
// which "-m rateest" asks. nf_tables has no estimators.
//
// Kernel: net/netfilter/xt_RATEEST.c, net/core/gen_estimator.c.
type rateestTarget struct {
	Estimator iptables.Opt[estimatorName]
	Interval  iptables.Opt[microseconds]
	Average   iptables.Opt[microseconds]
}

func (*rateestTarget) Name() string { return "RATEEST" }

func (t *rateestTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("rateest-name", &t.Estimator, iptables.Required),
		iptables.Bind("rateest-interval", &t.Interval, iptables.Required),
		iptables.Bind("rateest-ewmalog", &t.Average, iptables.Required),
	}
}

// PrintOptions prints the times that the kernel uses.
func (t *rateestTarget) PrintOptions() []iptables.Printed {
	interval := uint64(quarterSecond) << t.step()
	return []iptables.Printed{
		{Name: "rateest-name", Args: []string{string(t.Estimator.Value)}},
		{Name: "rateest-interval", Args: []string{timeText(interval)}},
		{Name: "rateest-ewmalog", Args: []string{timeText(interval << t.weight())}},
	}
}

const (
	quarterSecond = 250_000 // microseconds
	maxStep       = 5       // of 250 ms doubled so many times
	maxWeight     = 30
)

// step is how often 250 ms are doubled to get the interval.
func (t *rateestTarget) step() int {
	for n := range maxStep + 1 {
		if uint64(t.Interval.Value) <= quarterSecond<<n {
			return n
		}
	}
	return maxStep + 1
}

// weight is the logarithm of the weight of the past: the greatest with which an
// average still follows within the time. A weight of 1-1/2^n forgets half of the
// past in so many intervals as its logarithm says.
func (t *rateestTarget) weight() int {
	n := 1
	for ; n < 32; n++ {
		if float64(t.Interval.Value)/-math.Log(1-1/float64(uint64(1)<<n)) > float64(t.Average.Value) {
			break
		}
	}
	return n - 1
}

func (t *rateestTarget) Validate(iptables.Context) []iptables.Problem {
	if t.step() > maxStep {
		return []iptables.Problem{{
			Code: "out-of-range", Summary: "the interval of an estimator is too long",
			Detail: "The kernel knows intervals of 250 ms to 8 s.", Range: t.Interval.Range,
		}}
	}
	if w := t.weight(); w == 0 || w > maxWeight {
		return []iptables.Problem{{
			Code: "out-of-range", Summary: "the time of an estimator's average does not fit its interval",
			Detail: "It has to be at least 1.45 times as long as the interval.", Range: t.Average.Range,
		}}
	}
	return nil
}

func (t *rateestTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{
		Effects: []predicate.Effect{predicate.External{
			What: fmt.Sprintf("estimator %q counts, every 250 ms times 2^%d with a weight of 2^%d", string(t.Estimator.Value), t.step(), t.weight()),
		}},
		Then: predicate.Continue,
	}
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_RATEEST.h, struct
// xt_rateest_target_info. The interval counts from a second.
func (t *rateestTarget) Keep(*translate.Rule) (translate.Kept, error) {
	interval, scale := int8(-2), uint8(0)
	for at := uint64(quarterSecond); at < uint64(t.Interval.Value); at *= 2 {
		interval++
	}
	for w := 0.5; w < 1 && float64(t.Interval.Value)/-math.Log(w) <= float64(t.Average.Value); w = (1 + w) / 2 {
		scale++
	}
	var info xtLayout
	info.text(string(t.Estimator.Value), interfaceNameSize)
	info.u8(uint8(interval))
	info.u8(scale)
	info.pointer()
	return translate.Kept{Name: "RATEEST", Info: info.data}, nil
}

// interfaceNameSize is IFNAMSIZ, the size of the names of estimators too.
const interfaceNameSize = 16

// An estimatorName is the name of an estimator, cut to what the kernel keeps.
type estimatorName string

// Set reads a name.
func (n *estimatorName) Set(arg string) error {
	if arg == "" {
		return errors.New("an estimator needs a name")
	}
	*n = estimatorName(arg[:min(len(arg), interfaceNameSize-1)])
	return nil
}

// String writes the name, without quotes, as iptables-save does.
func (n *estimatorName) String() string { return string(*n) }

// A microseconds is a time with a unit, "250ms", "1.5s"; without one it is in
// microseconds.
type microseconds uint32

var timeUnits = []struct {
	names []string
	scale float64
}{
	{[]string{"s", "sec", "secs"}, 1e6}, {[]string{"ms", "msec", "msecs"}, 1e3}, {[]string{"", "us", "usec", "usecs"}, 1},
}

// Set reads a time.
func (m *microseconds) Set(arg string) error {
	end := len(arg)
	for end > 0 && (arg[end-1]|0x20) >= 'a' && (arg[end-1]|0x20) <= 'z' {
		end--
	}
	n, err := strconv.ParseFloat(arg[:end], 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a time, as 250ms or 1.5s", arg)
	}
	for _, u := range timeUnits {
		for _, name := range u.names {
			if name != arg[end:] {
				continue
			}
			if n*u.scale > math.MaxUint32 {
				return fmt.Errorf("%s is more than 4294 seconds", arg)
			}
			*m = microseconds(n * u.scale)
			return nil
		}
	}
	return fmt.Errorf("%q is no unit of time; s, ms and us are", arg[end:])
}

// String writes the time as it was given.
func (m *microseconds) String() string { return timeText(uint64(*m)) }

// timeText writes microseconds as iptables-save does.
func timeText(n uint64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1fs", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1fms", float64(n)/1e3)
	}
	return fmt.Sprintf("%dus", n)
}
