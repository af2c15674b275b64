package extension

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
)

// firstFragment holds for packets that have a transport header: whole packets
// and first fragments.
func firstFragment() predicate.Predicate {
	return predicate.Equal(predicate.Field{ID: predicate.FragmentOffset}, predicate.Number(0))
}

// truncated holds for packets that have a transport header of fewer than n
// bytes.
func truncated(n uint64) predicate.Predicate {
	return predicate.All{
		firstFragment(),
		predicate.Between{Field: predicate.Field{ID: predicate.TransportBytes}, Low: predicate.Number(0), High: predicate.Number(n - 1)},
	}
}

// negatedIf negates a predicate when the option has a "!".
func negatedIf(negated bool, p predicate.Predicate) predicate.Predicate {
	if negated {
		return predicate.Not{P: p}
	}
	return p
}

// portWithin is the port comparison of an option; an option that was not given
// holds.
func portWithin(field predicate.FieldID, o iptables.Opt[iptables.PortSpan]) predicate.Predicate {
	if !o.Present {
		return predicate.Const(true)
	}
	return negatedIf(o.Negated, predicate.Between{
		Field: predicate.Field{ID: field},
		Low:   predicate.Number(uint64(o.Value.Low)),
		High:  predicate.Number(uint64(o.Value.High)),
	})
}

// wordWithin is the comparison of four bytes of the transport header with the
// span of an option; an option that was not given holds.
func wordWithin(at uint32, o iptables.Opt[allSpan]) predicate.Predicate {
	if !o.Present {
		return predicate.Const(true)
	}
	return negatedIf(o.Negated, predicate.Between{
		Field: predicate.Field{ID: predicate.TransportWord, Arg: at},
		Low:   predicate.Number(uint64(o.Value.Low)),
		High:  predicate.Number(uint64(o.Value.High)),
	})
}
