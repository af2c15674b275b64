package extension

import (
	"encoding/binary"
	"math"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// ports16 are the ends of a span of ports as constants of nftables.
func ports16(span iptables.PortSpan) (low, high nftgen.Value) {
	low = port16(span.Low)
	if span.Low == span.High {
		return low, low
	}
	return low, port16(span.High)
}

// port16 is a port as a constant of nftables.
func port16(p uint16) nftgen.Value { return binary.BigEndian.AppendUint16(nil, p) }

// comparison is Ne for an option with "!", else Eq.
func comparison(negated bool) nftgen.Op {
	if negated {
		return nftgen.Ne
	}
	return nftgen.Eq
}

// spanTest is "field low-high", or "field low" when the span is one value.
func spanTest(f nftgen.Field, low, high nftgen.Value, negated bool) nftgen.Stmt {
	if string(low) == string(high) {
		return nftgen.Compare{Field: f, Op: comparison(negated), Value: low}
	}
	return nftgen.InSpan{Field: f, Low: low, High: high, Not: negated}
}

// portTest adds the test of a port option, where not every packet passes.
func portTest(r *translate.Rule, f nftgen.Field, o iptables.Opt[iptables.PortSpan]) {
	switch {
	case !o.Present:
	case o.Value.Low != 0 || o.Value.High != math.MaxUint16:
		low, high := ports16(o.Value)
		r.Add(spanTest(f, low, high, o.Negated))
	case o.Negated:
		r.Never()
	}
}

// addPorts adds the tests of the ports of a protocol's packets.
func addPorts(r *translate.Rule, proto uint8, sport, dport iptables.Opt[iptables.PortSpan]) {
	portTest(r, nftgen.Sport(proto), sport)
	portTest(r, nftgen.Dport(proto), dport)
}
