package translate

import (
	"encoding/binary"
	"math"

	"nftmigrate/nftgen"
)

// Ports returns the values of a field of two bytes that the rule's tests so far
// let through, in their order. Tests that stand in a branch are not looked at.
func (r *Rule) Ports(f nftgen.Field) []uint16 {
	var passes [math.MaxUint16 + 1]bool
	for p := range passes {
		passes[p] = true
	}
	for _, it := range r.items {
		if spans, not, ok := portSpans(it.stmt, f); ok {
			for p := range passes {
				passes[p] = passes[p] && holds(spans, p) != not
			}
		}
	}
	var ports []uint16
	for p, ok := range passes {
		if ok {
			ports = append(ports, uint16(p))
		}
	}
	return ports
}

// portSpans returns the spans of a field that a statement asks for; ok is false
// when it does not ask for any.
func portSpans(s nftgen.Stmt, f nftgen.Field) (spans []nftgen.Interval, not, ok bool) {
	switch s := s.(type) {
	case nftgen.Compare:
		if s.Field.Text == f.Text && s.Mask == nil && s.Op <= nftgen.Ne {
			return []nftgen.Interval{{Low: s.Value, High: s.Value}}, s.Op == nftgen.Ne, true
		}
	case nftgen.InSpan:
		if s.Field.Text == f.Text {
			return []nftgen.Interval{{Low: s.Low, High: s.High}}, s.Not, true
		}
	case nftgen.OneOf:
		if s.Field.Text == f.Text {
			return s.Intervals, s.Not, true
		}
	}
	return nil, false, false
}

func holds(spans []nftgen.Interval, port int) bool {
	for _, s := range spans {
		if int(binary.BigEndian.Uint16(s.Low)) <= port && port <= int(binary.BigEndian.Uint16(s.High)) {
			return true
		}
	}
	return false
}
