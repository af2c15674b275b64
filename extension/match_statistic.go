package extension

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("statistic", func() iptables.Match { return new(statisticMatch) }) }

var (
	_ iptsim.Meaning       = (*statisticMatch)(nil)
	_ translate.Translator = (*statisticMatch)(nil)
	_ iptables.Validator   = (*statisticMatch)(nil)
)

// statisticMatch is "-m statistic": one packet in Every of those that reach it,
// or each with a probability.
//
// Kernel: net/netfilter/xt_statistic.c.
type statisticMatch struct {
	Mode        iptables.Opt[statisticMode]
	Probability iptables.Opt[probability]
	Every       iptables.Opt[statisticEvery]
	Packet      iptables.Opt[iptables.U32]
}

func (*statisticMatch) Name() string { return "statistic" }

func (m *statisticMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("mode", &m.Mode, iptables.Required),
		iptables.Bind("probability", &m.Probability, iptables.Invertible),
		iptables.Bind("every", &m.Every, iptables.Invertible),
		iptables.Bind("packet", &m.Packet, 0),
	}
}

func (m *statisticMatch) Validate(iptables.Context) []iptables.Problem {
	random, nth := m.Probability.Present, m.Every.Present || m.Packet.Present
	switch mode := m.Mode.Value; {
	case random && nth:
		return []iptables.Problem{{
			Summary: "--probability does not go together with --every and --packet",
			Detail:  "Mode random takes --probability, mode nth takes --every and --packet.",
			Range:   m.Probability.Range,
		}}
	case mode == "random" && !random:
		return []iptables.Problem{{
			Code: "missing-option", Summary: "mode random needs --probability", Detail: "Give a number from 0 to 1.", Range: m.Mode.Range,
		}}
	case mode == "nth" && !(m.Every.Present && m.Packet.Present):
		return []iptables.Problem{{
			Code: "missing-option", Summary: "mode nth needs --every and --packet", Detail: "Give both.", Range: m.Mode.Range,
		}}
	case mode == "nth" && uint32(m.Packet.Value) >= uint32(m.Every.Value):
		return []iptables.Problem{{
			Code:    "out-of-range",
			Summary: "--packet is not below --every",
			Detail:  fmt.Sprintf("Packets are counted from 0; expected 0 to %d.", m.Every.Value-1),
			Range:   m.Packet.Range,
		}}
	}
	return nil
}

func (m *statisticMatch) Meaning(iptables.Context) predicate.Meaning {
	var p predicate.Predicate
	negated := false
	if m.Mode.Value == "nth" {
		p = predicate.Stateful{Instance: predicate.Nth{Every: uint32(m.Every.Value), Packet: uint32(m.Packet.Value)}}
		negated = m.Every.Negated
	} else {
		negated = m.Probability.Negated
		switch below := uint64(m.Probability.Value); below {
		case 0:
			p = predicate.Const(false)
		case probabilityOne:
			p = predicate.Const(true)
		default:
			// The highest bit of the number does not count.
			p = predicate.In{Field: predicate.Field{ID: predicate.Random}, Spans: []predicate.Span{
				{Low: predicate.Number(0), High: predicate.Number(below - 1)},
				{Low: predicate.Number(1 << 31), High: predicate.Number(1<<31 + below - 1)},
			}}
		}
	}
	if negated {
		p = predicate.Not{P: p}
	}
	return predicate.Meaning{Match: p}
}

// Translate adds a random number below a bound, or a counter. Both engines
// start to count with 0 when the rule is loaded.
//
// Kernel: net/netfilter/nft_numgen.c, nft_ng_inc_gen.
func (m *statisticMatch) Translate(r *translate.Rule) error {
	if m.Mode.Value == "nth" {
		every := uint32(m.Every.Value)
		c := nftgen.Compare{Field: nftgen.NumgenInc(every), Op: nftgen.Eq, Value: wide32(uint32(m.Packet.Value))}
		if m.Every.Negated {
			c.Op = nftgen.Ne
		}
		switch {
		case every > 1:
			r.Add(c)
		case m.Every.Negated:
			r.Never()
		}
		return nil
	}
	below := uint32(m.Probability.Value)
	switch {
	case below == 0 || below == 1<<31:
		if (below == 0) != m.Probability.Negated {
			r.Never()
		}
	default:
		c := nftgen.Compare{Field: nftgen.MetaRandom, Mask: wide32(math.MaxInt32), Op: nftgen.Lt, Value: wide32(below)}
		if m.Probability.Negated {
			c.Op = nftgen.Ge
		}
		r.Add(c)
	}
	return nil
}

// A statisticMode is "random" or "nth".
type statisticMode string

// Set reads a mode.
func (s *statisticMode) Set(arg string) error {
	if arg != "random" && arg != "nth" {
		return fmt.Errorf("%q is no mode, expected random or nth", arg)
	}
	*s = statisticMode(arg)
	return nil
}

// String writes the mode.
func (s *statisticMode) String() string { return string(*s) }

// A statisticEvery is a number from 1.
type statisticEvery uint32

// Set reads a number from 1.
func (e *statisticEvery) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, math.MaxUint32)
	if err == nil && n == 0 {
		err = fmt.Errorf("0 is out of range 1-%d", uint32(math.MaxUint32))
	}
	*e = statisticEvery(n)
	return err
}

// String writes the number.
func (e *statisticEvery) String() string { return strconv.FormatUint(uint64(*e), 10) }

// A probability is a number from 0 to 1 in units of 1/2^31, as the kernel has
// it. It prints with 11 digits.
type probability uint32

// probabilityOne is certainty.
const probabilityOne = 1 << 31

// Set reads a decimal number, with an exponent or not.
func (p *probability) Set(arg string) error {
	f, err := strconv.ParseFloat(strings.TrimLeft(arg, " \t"), 64)
	if err != nil || !(f >= 0 && f <= 1) || strings.Contains(arg, "_") {
		return fmt.Errorf("%q is no probability, expected a number from 0 to 1", arg)
	}
	*p = probability(math.Round(f * probabilityOne))
	return nil
}

// String writes 11 digits behind the point.
func (p *probability) String() string {
	return strconv.FormatFloat(float64(*p)/probabilityOne, 'f', 11, 64)
}
