package iptsim

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

var outcomeWords = [...]string{
	predicate.Continue: "continue", predicate.Accept: "accept", predicate.Drop: "drop", predicate.Return: "return",
}

// trace records how a rule went.
func trace(f *packet.Flight, r *rule, how packet.Look, where, what string) {
	if f.Visit != nil {
		f.Visit(r, how)
	}
	if !f.Traced {
		return
	}
	f.Step(packet.Step{
		Stage:  r.chain.table + " " + r.chain.source.Name,
		Place:  r.source.Range.FileLine(),
		Text:   iptables.PrintRule(r.source, r.chain.source.Name),
		Result: what + " " + where,
	})
}

func (r *rule) verb() string {
	if r.jump {
		return "match, jump"
	}
	return "match, goto"
}

// describe names something of a rule that is not modelled, with its place.
func (r *rule) describe(what string) string {
	if place := r.source.Range.FileLine(); place != "" {
		return place + ": " + what
	}
	return r.chain.table + " " + r.chain.source.Name + ": " + what
}
