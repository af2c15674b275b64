package extension

import (
	"fmt"
	"strconv"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatchFor(v4, "connlimit", func() iptables.Match { return newConnlimit(32) })
	registerMatchFor(v6, "connlimit", func() iptables.Match { return newConnlimit(128) })
}

func newConnlimit(bits uint8) *connlimitMatch {
	return &connlimitMatch{Mask: iptables.Opt[connlimitMask]{Value: connlimitMask{bits, bits}, Present: true}}
}

var (
	_ iptsim.Meaning       = (*connlimitMatch)(nil)
	_ iptsim.ConntrackUser = (*connlimitMatch)(nil)
	_ translate.Translator = (*connlimitMatch)(nil)
	_ iptables.Validator   = (*connlimitMatch)(nil)
	_ iptables.Printer     = (*connlimitMatch)(nil)
)

// connlimitMatch is "-m connlimit": how many connections are alive that have the
// packet's source or destination address, or its network.
//
// Kernel: net/netfilter/xt_connlimit.c.
type connlimitMatch struct {
	Upto, Above iptables.Opt[iptables.U32]
	Mask        iptables.Opt[connlimitMask]
	Source      iptables.Opt[iptables.Flag]
	Destination iptables.Opt[iptables.Flag]
}

func (*connlimitMatch) Name() string { return "connlimit" }

// UsesConntrack says that the kernel tracks connections for the rule.
func (*connlimitMatch) UsesConntrack() bool { return true }

func (m *connlimitMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("connlimit-upto", &m.Upto, iptables.Invertible),
		iptables.Bind("connlimit-above", &m.Above, iptables.Invertible),
		iptables.Bind("connlimit-mask", &m.Mask, 0),
		iptables.Bind("connlimit-saddr", &m.Source, 0),
		iptables.Bind("connlimit-daddr", &m.Destination, 0),
	}
}

// PrintOptions prints a negated number as the other one, and always which
// address counts.
func (m *connlimitMatch) PrintOptions() []iptables.Printed {
	name, number := "connlimit-upto", m.Upto
	if m.Above.Present {
		name, number = "connlimit-above", m.Above
	}
	if number.Negated {
		name = map[string]string{"connlimit-upto": "connlimit-above", "connlimit-above": "connlimit-upto"}[name]
	}
	side := "connlimit-saddr"
	if m.Destination.Present {
		side = "connlimit-daddr"
	}
	return []iptables.Printed{
		{Name: name, Args: []string{number.Value.String()}}, {Name: "connlimit-mask", Args: []string{m.Mask.Value.String()}}, {Name: side},
	}
}

func (m *connlimitMatch) Validate(iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if m.Upto.Present == m.Above.Present {
		problems = append(problems, iptables.Problem{
			Code: "missing-option", Summary: "connlimit needs exactly one number",
			Detail: "Give one of --connlimit-upto and --connlimit-above.",
		})
	}
	if m.Source.Present && m.Destination.Present {
		problems = append(problems, iptables.Problem{
			Summary: "connlimit counts by one address",
			Detail:  "Give one of --connlimit-saddr and --connlimit-daddr.",
		})
	}
	return problems
}

func (m *connlimitMatch) Meaning(c iptables.Context) predicate.Meaning {
	state := predicate.Connlimit{Most: uint32(m.Upto.Value), IPv6: c.Family == iptables.IPv6}
	upto := !m.Upto.Negated
	if m.Above.Present {
		state.Most, upto = uint32(m.Above.Value), m.Above.Negated
	}
	if bits, width := int(m.Mask.Value.bits), int(m.Mask.Value.width); bits > 0 {
		field := predicate.Field{ID: predicate.SrcAddr}
		if m.Destination.Present {
			field.ID = predicate.DstAddr
		}
		state.Key = []predicate.KeyPart{{Field: field, Mask: predicate.Ones(width).And(predicate.Ones(width - bits).Not())}}
	}
	var p predicate.Predicate = predicate.Stateful{Instance: state}
	if upto {
		p = predicate.Not{P: p}
	}
	// The kernel drops a packet without an entry in which it finds no ports.
	bytes := func(least uint64) predicate.Predicate {
		return predicate.Between{Field: predicate.Field{ID: predicate.TransportBytes}, Low: predicate.Number(least), High: predicate.Ones(32)}
	}
	ported := predicate.In{Field: predicate.Field{ID: predicate.Protocol}}
	for _, proto := range []uint64{6, 17, 33, 132, 136} {
		ported.Spans = append(ported.Spans, predicate.Span{Low: predicate.Number(proto), High: predicate.Number(proto)})
	}
	other := predicate.In{Field: predicate.Field{ID: predicate.Protocol}}
	for _, proto := range []uint64{1, 6, 17, 33, 47, 58, 132, 136} { // ICMP, GRE and those with ports
		other.Spans = append(other.Spans, predicate.Span{Low: predicate.Number(proto), High: predicate.Number(proto)})
	}
	findable := predicate.Any{
		predicate.Present{Field: predicate.Field{ID: predicate.CTMark}},
		predicate.All{
			predicate.Equal(predicate.Field{ID: predicate.FragmentOffset}, predicate.Number(0)),
			predicate.Any{bytes(8), predicate.All{ported, bytes(4)}, predicate.Not{P: other}},
		},
	}
	return predicate.Meaning{Match: predicate.Any{
		predicate.All{findable, p},
		predicate.All{predicate.Not{P: findable}, predicate.Unmodelled{What: "the tuple of a packet that is not tracked"}},
	}}
}

// connlimitSetSize is how many addresses have connections at a time.
const connlimitSetSize = 65535

// Translate adds a count for each element of a set, or a plain one when all
// connections count.
//
// Kernel: net/netfilter/nft_connlimit.c.
func (m *connlimitMatch) Translate(r *translate.Rule) error {
	count := nftgen.ConnLimit{Count: uint32(m.Upto.Value), Over: m.Upto.Negated}
	if m.Above.Present {
		count = nftgen.ConnLimit{Count: uint32(m.Above.Value), Over: !m.Above.Negated}
	}
	r.Declare(translate.Deviation{
		Code: "connlimit-established",
		Detail: "Of a connection that was established before the rule saw it, since Linux 6.18 nftables does not count it, and xtables counts it, or drops the packet. " +
			"Where the rule sees the first packet of each connection (--syn, --ctstate NEW), nothing differs.",
	})
	bits, width := int(m.Mask.Value.bits), int(m.Mask.Value.width)
	if bits == 0 {
		r.Add(count)
		return nil
	}
	fields := map[bool][2]nftgen.Field{
		false: {nftgen.IPSaddr, nftgen.IPDaddr}, true: {nftgen.IP6Saddr, nftgen.IP6Daddr},
	}[r.Family == iptables.IPv6]
	field := fields[0]
	if m.Destination.Present {
		field = fields[1]
	}
	update := nftgen.Update{Op: nftgen.OpAdd, Fields: []nftgen.Field{field}, Stmts: []nftgen.Stmt{count}}
	if bits < width {
		mask := make(nftgen.Value, width/8)
		for i := range bits {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		update.Masks = []nftgen.Value{mask}
	}
	update.Set = r.Shared.AddSet(&nftgen.Set{Name: "connlimit", Key: []*nftgen.Datatype{field.Type}, Dynamic: true, Size: connlimitSetSize})
	r.Add(update)
	r.Declare(translate.Deviation{
		Code: "connlimit-table-size",
		Detail: fmt.Sprintf("A set holds %d addresses with connections. When it is full, the rule does not match packets of others; "+
			"xtables counts on.", connlimitSetSize),
	})
	return nil
}

// A connlimitMask is the argument of "--connlimit-mask": a number of bits, or in
// IPv4 a mask.
type connlimitMask struct{ bits, width uint8 }

// Set reads a number of bits.
func (m *connlimitMask) Set(arg string) error {
	if m.width == 32 {
		var a iptables.Address
		if err := a.Set("255.255.255.255/" + arg); err == nil && a.Addr == a.Mask {
			bits := 0
			for _, b := range a.Mask.AsSlice() {
				for ; b != 0; b <<= 1 {
					bits++
				}
			}
			m.bits = uint8(bits)
			return nil
		}
	}
	n, err := iptables.ParseNumber(arg, uint64(m.width))
	m.bits = uint8(n)
	return err
}

// String writes the number.
func (m *connlimitMask) String() string { return strconv.Itoa(int(m.bits)) }
