package equivalence

import (
	"context"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// AnalyseWrong is Analyse with a mistake planted in what the leaves of rules
// mean.
func AnalyseWrong(ctx context.Context, m Machine, o ProofOptions, fault func(l symbolic.Leaf) symbolic.Leaf) (*Analysis, error) {
	return analyse(ctx, m, o, fault)
}

// Bind returns what the variables of a class are on a packet in flight, when all
// states give one answer.
func (c Class) Bind(f *packet.Flight, answer bool) func(l uint32) bool {
	space := c.at.space
	value := space.Bind(f)
	known := map[uint32]bool{}
	return func(l uint32) bool {
		if !space.Knows(l) {
			return answer
		}
		v, ok := known[l]
		if !ok {
			v = value(l)
			known[l] = v
		}
		return v
	}
}

// Holds reports whether a packet is certainly of the class, and whether it may
// be.
func (c Class) Holds(value func(l uint32) bool) (certain, may bool) {
	m := c.at.space.Manager
	return m.Eval(c.least, value) == 1, m.Eval(c.most, value) == 1
}

// Candidates are the packets that a check would choose for a machine, and their
// host.
func Candidates(m Machine, version, n int) ([]*packet.Packet, *packet.Host) {
	host := Scene(m.Suggestions())
	var list []*packet.Packet
	for _, c := range newChooser(host, m.Suggestions(), []int{version}, 1).all(n) {
		list = append(list, c.packet)
	}
	return list, host
}

// ID is the name of the rule for [packet.Flight].Visit.
func (r *RuleFacts) ID() any { return r.rule.ID }

// CheckWords says a class in at most n cubes, and whether each of them is within
// the class, and all together the class, as [Cover] promises.
func (c Class) CheckWords(n int) (cover Cover, within, whole bool) {
	cover = c.Words(n)
	s := c.at.space
	w := newWording(c)
	within = true
	all := bdd.False
	for range cover.Cubes {
		cube, where := w.largest()
		within = within && s.And(where, w.outside) == bdd.False && s.And(where, w.rest) != bdd.False && len(cube.Conditions) >= 0
		w.rest = s.Diff(w.rest, where)
		all = s.Or(all, where)
	}
	return cover, within, s.Diff(w.class, all) == bdd.False
}
