package extension

import (
	"encoding/binary"
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

func init() { registerMatch("connbytes", func() iptables.Match { return new(connbytesMatch) }) }

var (
	_ iptsim.Meaning       = (*connbytesMatch)(nil)
	_ translate.Translator = (*connbytesMatch)(nil)
	_ iptables.Validator   = (*connbytesMatch)(nil)
	_ iptables.Printer     = (*connbytesMatch)(nil)
)

// connbytesMatch is "-m connbytes": how much traffic the connection has seen.
// A connection without counters does not match, negated or not.
//
// Kernel: net/netfilter/xt_connbytes.c.
type connbytesMatch struct {
	Count iptables.Opt[connbytesSpan]
	Mode  iptables.Opt[connbytesMode]
	Dir   iptables.Opt[connbytesDir]
}

func (*connbytesMatch) Name() string { return "connbytes" }

func (m *connbytesMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("connbytes", &m.Count, iptables.Required|iptables.Invertible),
		iptables.Bind("connbytes-mode", &m.Mode, iptables.Required),
		iptables.Bind("connbytes-dir", &m.Dir, iptables.Required),
	}
}

func (m *connbytesMatch) Validate(iptables.Context) []iptables.Problem {
	if m.Count.Value.Low <= m.Count.Value.High {
		return nil
	}
	return []iptables.Problem{{
		Code:    "reversed-range",
		Summary: "a range of --connbytes ends before it starts",
		Detail:  "Write the lower number first.",
		Range:   m.Count.Range,
	}}
}

// PrintOptions prints "! a:a" without the "!", see negated.
func (m *connbytesMatch) PrintOptions() []iptables.Printed {
	printed := m.Options().Print()
	for i := range printed {
		if printed[i].Name == "connbytes" {
			printed[i].Negated = m.inverted()
		}
	}
	return printed
}

// inverted reports whether the kernel inverts the test. iptables says so by
// swapping the ends, which says nothing when they are equal: "! a:a" is "a:a".
func (m *connbytesMatch) inverted() bool {
	return m.Count.Negated && m.Count.Value.Low != m.Count.Value.High
}

func (m *connbytesMatch) Meaning(iptables.Context) predicate.Meaning {
	field := predicate.Field{Arg: uint32(m.Dir.Value)}
	switch m.Mode.Value {
	case connbytesPackets:
		field.ID = predicate.CTPackets
	case connbytesBytes:
		field.ID = predicate.CTBytes
	case connbytesAverage:
		field.ID = predicate.CTAvgPkt
	}
	low, high := m.Count.Value.Low, m.Count.Value.High
	var p predicate.Predicate = predicate.Between{Field: field, Low: predicate.Number(low), High: predicate.Number(high)}
	if m.Count.Negated && low != high {
		p = predicate.Not{P: p}
	}
	return predicate.Meaning{Match: predicate.All{predicate.Present{Field: field}, p}}
}

// Translate adds the test of a counter. nftables reads 0 where a connection has
// no counters; a connection with counters has counted a packet.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_get_eval.
func (m *connbytesMatch) Translate(r *translate.Rule) error {
	if err := aboutTemplate(r); err != nil {
		return err
	}
	dir := nftgen.CTCounterDir(m.Dir.Value)
	var field nftgen.Field
	switch m.Mode.Value {
	case connbytesPackets:
		field = nftgen.CTPackets(dir)
	case connbytesBytes:
		field = nftgen.CTBytes(dir)
	case connbytesAverage:
		field = nftgen.CTAvgPkt(dir)
	}
	low, high, not := m.Count.Value.Low, m.Count.Value.High, m.inverted()
	if (low == 0) != not {
		r.Add(nftgen.Compare{Field: nftgen.CTPackets(nftgen.CTBoth), Op: nftgen.Ge, Value: wide64(1)})
		r.Declare(translate.Deviation{
			Code: "connbytes-uncounted",
			Detail: "A connection whose counters are all 0, as one that conntrackd brought from another host and whose packets " +
				"tracking has only ignored so far, matches in xtables. In nftables it looks like a connection without counters, which never matches.",
		})
	}
	switch {
	case low == 0 && high == math.MaxUint64:
		if not {
			r.Never()
		}
	case low == high:
		r.Add(nftgen.Compare{Field: field, Op: nftgen.Eq, Value: wide64(low)})
	case high == math.MaxUint64:
		c := nftgen.Compare{Field: field, Op: nftgen.Ge, Value: wide64(low)}
		if not {
			c.Op = nftgen.Lt
		}
		r.Add(c)
	default:
		r.Add(nftgen.InSpan{Field: field, Low: wide64(low), High: wide64(high), Not: not})
	}
	return nil
}

// wide64 returns a value of 64 bits.
func wide64(n uint64) nftgen.Value { return binary.BigEndian.AppendUint64(nil, n) }

// A connbytesSpan is the argument of "--connbytes": "a" and "a:" are "a or
// more", ":b" starts at 0. It prints without the upper end where that is the
// highest number or 0.
type connbytesSpan struct{ Low, High uint64 }

// Set reads "a", "a:", ":b" or "a:b".
func (s *connbytesSpan) Set(arg string) error {
	low, high, _ := strings.Cut(arg, ":")
	*s = connbytesSpan{0, math.MaxUint64}
	var err error
	if low != "" {
		if s.Low, err = iptables.ParseNumber(low, math.MaxUint64); err != nil {
			return err
		}
	}
	if high != "" {
		s.High, err = iptables.ParseNumber(high, math.MaxUint64)
	}
	return err
}

// String writes the span.
func (s *connbytesSpan) String() string {
	text := strconv.FormatUint(s.Low, 10)
	if s.High != 0 && s.High != math.MaxUint64 {
		text += ":" + strconv.FormatUint(s.High, 10)
	}
	return text
}

// A connbytesMode says what is counted.
type connbytesMode uint8

const (
	connbytesPackets connbytesMode = iota
	connbytesBytes
	connbytesAverage
)

var connbytesModes = []string{"packets", "bytes", "avgpkt"}

// Set reads a mode.
func (c *connbytesMode) Set(arg string) error {
	for i, name := range connbytesModes {
		if arg == name {
			*c = connbytesMode(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no mode, expected packets, bytes or avgpkt", arg)
}

// String writes the mode.
func (c *connbytesMode) String() string { return connbytesModes[*c] }

// A connbytesDir says whose traffic is counted. The values are those of the
// kernel's ip_conntrack_dir, and 2 for both.
type connbytesDir uint8

var connbytesDirs = []string{"original", "reply", "both"}

// Set reads a direction.
func (d *connbytesDir) Set(arg string) error {
	for i, name := range connbytesDirs {
		if arg == name {
			*d = connbytesDir(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no direction, expected original, reply or both", arg)
}

// String writes the direction.
func (d *connbytesDir) String() string { return connbytesDirs[*d] }
