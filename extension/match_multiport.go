package extension

import (
	"cmp"
	"math"
	"slices"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("multiport", func() iptables.Match { return new(multiportMatch) }) }

var (
	_ iptsim.Meaning       = (*multiportMatch)(nil)
	_ translate.Translator = (*multiportMatch)(nil)
	_ iptables.Validator   = (*multiportMatch)(nil)
)

// multiportMatch is "-m multiport": source port, destination port, or either
// of the two, is in a list of ports and spans.
//
// Later fragments never match, and a packet that is cut off within the ports is
// dropped on the spot.
//
// Kernel: net/netfilter/xt_multiport.c.
type multiportMatch struct {
	Sources, Destinations, Either iptables.Opt[iptables.PortList]
}

// multiportProtocols are the protocols that a rule has to require.
var multiportProtocols = []uint8{protocolTCP, protocolUDP, 136, 132, 33}

func (*multiportMatch) Name() string { return "multiport" }

func (m *multiportMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("sports", &m.Sources, iptables.Invertible),
		iptables.Bind("dports", &m.Destinations, iptables.Invertible),
		iptables.Bind("ports", &m.Either, iptables.Invertible),
		iptables.Alias("source-ports", "sports"),
		iptables.Alias("destination-ports", "dports"),
	}
}

func (m *multiportMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	lists := 0
	for _, present := range []bool{m.Sources.Present, m.Destinations.Present, m.Either.Present} {
		if present {
			lists++
		}
	}
	if lists != 1 {
		problems = append(problems, iptables.Problem{
			Summary: `match "multiport" takes one list`,
			Detail:  "Give exactly one of --sports, --dports and --ports.",
		})
	}
	if proto, ok := c.ProtocolNumber(); !ok || !slices.Contains(multiportProtocols, proto) {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: `match "multiport" needs a protocol with ports`,
			Detail:  "Add -p tcp, udp, udplite, sctp or dccp, without negation.",
		})
	}
	return problems
}

func (m *multiportMatch) Meaning(iptables.Context) predicate.Meaning {
	within := func(f predicate.FieldID, list iptables.PortList) predicate.Predicate {
		in := predicate.In{Field: predicate.Field{ID: f}}
		for _, s := range list {
			in.Spans = append(in.Spans, predicate.Span{Low: predicate.Number(uint64(s.Low)), High: predicate.Number(uint64(s.High))})
		}
		return in
	}
	all := predicate.All{firstFragment()}
	if o := m.Sources; o.Present {
		all = append(all, negatedIf(o.Negated, within(predicate.SrcPort, o.Value)))
	}
	if o := m.Destinations; o.Present {
		all = append(all, negatedIf(o.Negated, within(predicate.DstPort, o.Value)))
	}
	if o := m.Either; o.Present {
		all = append(all, negatedIf(o.Negated, predicate.Any{within(predicate.SrcPort, o.Value), within(predicate.DstPort, o.Value)}))
	}
	return predicate.Meaning{Hotdrop: truncated(4), Match: all}
}

func (m *multiportMatch) Translate(r *translate.Rule) error {
	proto, _ := r.ProtocolNumber()
	source, destination := nftgen.Sport(proto), nftgen.Dport(proto)
	switch {
	case m.Sources.Present:
		addPortList(r, m.Sources, source)
	case m.Destinations.Present:
		addPortList(r, m.Destinations, destination)
	default:
		addPortList(r, m.Either, source, destination)
	}
	r.FirstFragment()
	return nil
}

// addPortList adds the test that one of several fields is in a list.
func addPortList(r *translate.Rule, o iptables.Opt[iptables.PortList], fields ...nftgen.Field) {
	spans := disjoint(o.Value)
	if spans[0].Low == 0 && spans[0].High == math.MaxUint16 {
		if o.Negated {
			r.Never()
		}
		return
	}
	var tests []nftgen.Stmt
	for _, f := range fields {
		tests = append(tests, portListTest(f, spans, o.Negated))
	}
	if o.Negated {
		r.Add(tests...) // neither of them
		return
	}
	var alternatives [][]nftgen.Stmt
	for _, t := range tests {
		alternatives = append(alternatives, []nftgen.Stmt{t})
	}
	addAlternatives(r, alternatives)
}

func portListTest(f nftgen.Field, spans iptables.PortList, negated bool) nftgen.Stmt {
	if len(spans) == 1 {
		return spanTest(f, port16(spans[0].Low), port16(spans[0].High), negated)
	}
	set := nftgen.OneOf{Field: f, Not: negated}
	for _, s := range spans {
		set.Intervals = append(set.Intervals, nftgen.Interval{Low: port16(s.Low), High: port16(s.High)})
	}
	return set
}

// disjoint returns the ports of a list in order, without duplicates and
// overlaps. Where there are spans, what adjoins is joined as well, as nft does
// it; single ports alone stay single, which keeps the set a hash table.
func disjoint(list iptables.PortList) iptables.PortList {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b iptables.PortSpan) int {
		return cmp.Or(cmp.Compare(a.Low, b.Low), cmp.Compare(a.High, b.High))
	})
	gap := 0
	if slices.ContainsFunc(sorted, func(s iptables.PortSpan) bool { return s.Low != s.High }) {
		gap = 1
	}
	merged := sorted[:1]
	for _, s := range sorted[1:] {
		last := &merged[len(merged)-1]
		if int(s.Low) <= int(last.High)+gap {
			last.High = max(last.High, s.High)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}
