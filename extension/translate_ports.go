package extension

import (
	"encoding/binary"
	"math"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

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

// portTest returns the test of a port option. There is none when every packet
// passes; never says that none does.
func portTest(f nftgen.Field, o iptables.Opt[iptables.PortSpan]) (stmts []nftgen.Stmt, never bool) {
	switch {
	case !o.Present:
		return nil, false
	case o.Value.Low == 0 && o.Value.High == math.MaxUint16:
		return nil, o.Negated
	}
	return []nftgen.Stmt{spanTest(f, port16(o.Value.Low), port16(o.Value.High), o.Negated)}, false
}

// addPorts adds the tests of the ports of a protocol's packets.
func addPorts(r *translate.Rule, proto uint8, sport, dport iptables.Opt[iptables.PortSpan]) {
	source, neverSource := portTest(nftgen.Sport(proto), sport)
	destination, neverDestination := portTest(nftgen.Dport(proto), dport)
	r.Add(source...)
	r.Add(destination...)
	if neverSource || neverDestination {
		r.Never()
	}
}
