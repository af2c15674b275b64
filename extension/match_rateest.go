package extension

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("rateest", func() iptables.Match { return new(rateestMatch) }) }

var (
	_ iptsim.Meaning     = (*rateestMatch)(nil)
	_ translate.Keeper   = (*rateestMatch)(nil)
	_ iptables.Validator = (*rateestMatch)(nil)
	_ iptables.Printer   = (*rateestMatch)(nil)
)

// rateestMatch is "-m rateest": what an estimator of RATEEST counts is less or more
// than a rate, or than what another counts. With --rateest-delta it is how much the
// estimators stay below a rate each that is compared.
//
// Kernel: net/netfilter/xt_rateest.c.
type rateestMatch struct {
	First, Second iptables.Opt[estimatorName]
	Delta         iptables.Opt[iptables.Flag]
	Bits          [2]iptables.Opt[estimatedRate]
	Packets       [2]iptables.Opt[iptables.U32]
	Less          iptables.Opt[iptables.Flag]
	More          iptables.Opt[iptables.Flag]
	Equal         iptables.Opt[iptables.Flag]
}

func (*rateestMatch) Name() string { return "rateest" }

func (m *rateestMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("rateest-delta", &m.Delta, 0),
		iptables.Bind("rateest1", &m.First, iptables.Required),
		iptables.Alias("rateest", "rateest1"),
		iptables.Bind("rateest-bps1", &m.Bits[0], iptables.Bare),
		iptables.Bind("rateest-pps1", &m.Packets[0], iptables.Bare),
		// iptables-save prints it twice where both bits and packets are compared.
		iptables.Bind("rateest-lt", &m.Less, iptables.Invertible|iptables.Repeatable),
		iptables.Bind("rateest-gt", &m.More, iptables.Invertible|iptables.Repeatable),
		iptables.Bind("rateest-eq", &m.Equal, iptables.Invertible|iptables.Repeatable),
		iptables.Bind("rateest-bps2", &m.Bits[1], iptables.Bare),
		iptables.Alias("rateest-bps", "rateest-bps2"),
		iptables.Bind("rateest-pps2", &m.Packets[1], iptables.Bare),
		iptables.Alias("rateest-pps", "rateest-pps2"),
		iptables.Bind("rateest2", &m.Second, 0),
	}
}

// PrintOptions prints the comparison before each right side, and rates only where
// the kernel looks at them.
func (m *rateestMatch) PrintOptions() []iptables.Printed {
	var list []iptables.Printed
	add := func(name string, args ...string) { list = append(list, iptables.Printed{Name: name, Args: args}) }
	first := "rateest1"
	if !m.Second.Present {
		first = "rateest"
	}
	if m.Delta.Present {
		add("rateest-delta")
	}
	add(first, m.First.Value.String())
	compare := func(unit string, values [2]string) {
		name := "rateest-" + unit
		if m.Delta.Present {
			add(name+"1", values[0])
			name += "2"
		}
		for _, o := range []struct {
			name string
			opt  iptables.Opt[iptables.Flag]
		}{{"rateest-lt", m.Less}, {"rateest-gt", m.More}, {"rateest-eq", m.Equal}} {
			if o.opt.Present {
				list = append(list, iptables.Printed{Name: o.name, Negated: o.opt.Negated})
			}
		}
		if m.Second.Present && !m.Delta.Present {
			add(name)
		} else {
			add(name, values[1])
		}
	}
	if m.Bits[0].Present || m.Bits[1].Present {
		compare("bps", [2]string{m.Bits[0].Value.String(), m.Bits[1].Value.String()})
	}
	if m.Packets[0].Present || m.Packets[1].Present {
		compare("pps", [2]string{m.Packets[0].Value.String(), m.Packets[1].Value.String()})
	}
	if m.Second.Present {
		add("rateest2", m.Second.Value.String())
	}
	return list
}

func (m *rateestMatch) Validate(iptables.Context) []iptables.Problem {
	given := 0
	for _, o := range []iptables.Opt[iptables.Flag]{m.Less, m.More, m.Equal} {
		if o.Present {
			given++
		}
	}
	switch {
	case given != 1:
		return []iptables.Problem{{
			Code: "missing-option", Summary: "match rateest needs one comparison",
			Detail: "Give exactly one of --rateest-lt, --rateest-gt and --rateest-eq.",
		}}
	case !m.Bits[0].Present && !m.Bits[1].Present && !m.Packets[0].Present && !m.Packets[1].Present:
		return []iptables.Problem{{
			Code: "missing-option", Summary: "match rateest needs to know what is compared",
			Detail: "Give --rateest-bps or --rateest-pps, or both.",
		}}
	}
	return nil
}

// mode is the comparison, in the numbers of the kernel, and whether it is negated.
func (m *rateestMatch) mode() (mode uint16, negated bool) {
	const equal, less, more = 1, 2, 3
	switch {
	case m.Less.Present:
		return less, m.Less.Negated
	case m.More.Present:
		return more, m.More.Negated
	}
	return equal, m.Equal.Negated
}

func (m *rateestMatch) Meaning(iptables.Context) predicate.Meaning {
	side := func(estimator string, bits, packets uint32) string {
		if !m.Delta.Present {
			return fmt.Sprintf("estimator %q", estimator)
		}
		return fmt.Sprintf("%d bytes and %d packets less estimator %q", bits, packets, estimator)
	}
	right := fmt.Sprintf("%d bytes and %d packets", m.Bits[1].Value, m.Packets[1].Value)
	if m.Second.Present {
		right = side(string(m.Second.Value), uint32(m.Bits[1].Value), uint32(m.Packets[1].Value))
	}
	var units []string
	if m.Bits[0].Present || m.Bits[1].Present {
		units = append(units, "bytes")
	}
	if m.Packets[0].Present || m.Packets[1].Present {
		units = append(units, "packets")
	}
	not, relation := "", "equals"
	negated := m.Equal.Negated
	switch {
	case m.Less.Present:
		relation, negated = "is below", m.Less.Negated
	case m.More.Present:
		relation, negated = "is above", m.More.Negated
	}
	if negated {
		not = "not: "
	}
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Outside{Words: fmt.Sprintf("%s%s %s %s in %s", not,
		side(string(m.First.Value), uint32(m.Bits[0].Value), uint32(m.Packets[0].Value)), relation, right, strings.Join(units, " and "))}}}
}

// Keep writes the structure. The kernel looks for the estimators when the rule is
// loaded, behind those of RATEEST that stand before it.
//
// Kernel: include/uapi/linux/netfilter/xt_rateest.h, struct
// xt_rateest_match_info.
func (m *rateestMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const invert, absolute, relative, delta, bytes, packets = 1, 2, 4, 8, 16, 32
	mode, negated := m.mode()
	var flags uint16
	for _, f := range []struct {
		bit uint16
		set bool
	}{
		{invert, negated}, {absolute, !m.Second.Present}, {relative, m.Second.Present}, {delta, m.Delta.Present},
		{bytes, m.Bits[0].Present || m.Bits[1].Present}, {packets, m.Packets[0].Present || m.Packets[1].Present},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	var info xtLayout
	info.text(string(m.First.Value), interfaceNameSize)
	info.text(string(m.Second.Value), interfaceNameSize)
	info.u16(flags)
	info.u16(mode)
	for i := range 2 {
		info.u32(uint32(m.Bits[i].Value))
		info.u32(uint32(m.Packets[i].Value))
	}
	info.pointer()
	info.pointer()
	return translate.Kept{Name: "rateest", Info: info.data}, nil
}

// An estimatedRate is a rate in bytes per second, given in bits or bytes.
type estimatedRate uint32

// rateSuffixes are the units of rates, in any case, in bits. Without one they are
// bits.
var rateSuffixes = map[string]float64{"": 1, "bit": 1, "bps": 8}

func init() {
	for i, prefix := range []string{"k", "m", "g", "t"} {
		for unit, bits := range map[string]float64{"bit": 1, "bps": 8} {
			rateSuffixes[prefix+unit] = bits * math.Pow(1000, float64(i+1))
			rateSuffixes[prefix+"i"+unit] = bits * math.Pow(1024, float64(i+1))
		}
	}
}

// Set reads a rate.
func (r *estimatedRate) Set(arg string) error {
	end := len(arg)
	for end > 0 && (arg[end-1]|0x20) >= 'a' && (arg[end-1]|0x20) <= 'z' {
		end--
	}
	scale, known := rateSuffixes[strings.ToLower(arg[end:])]
	n, err := strconv.ParseFloat(arg[:end], 64)
	if err != nil || !known || n < 0 {
		return fmt.Errorf("%q is not a rate, as 100kbit or 1.5MBps", arg)
	}
	if n*scale/8 > math.MaxUint32 {
		return fmt.Errorf("%s is more than 4294967295 bytes per second", arg)
	}
	*r = estimatedRate(n * scale / 8)
	return nil
}

// String writes the rate in bits, rounded where they are many.
func (r *estimatedRate) String() string {
	switch bits := float64(*r) * 8; {
	case bits >= 1e9:
		return fmt.Sprintf("%.0fMbit", bits/1e6)
	case bits >= 1e6:
		return fmt.Sprintf("%.0fKbit", bits/1e3)
	default:
		return fmt.Sprintf("%.0fbit", bits)
	}
}
