package symbolic_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"nftmigrate/equivalence/bdd"
	. "nftmigrate/equivalence/symbolic"
)

// A toy is a rule over the last bits of mark and connection mark, the answers
// of one instance, and a few events, with its meaning beside its function.
type toy struct {
	test    int // variable that is tested, -1 is none
	value   bool
	ask     bool // asks the instance first, and needs a yes
	write   int  // variable that is written, -1 is none
	from    int  // of its new value: a variable, or -1 for a constant
	not     bool
	event   string
	verdict Verdict
	jump    []toy
	goes    bool // goto
}

// places are the variables of toys.
var places = []bdd.Level{
	Mark.Level(31), Mark.Level(30), CTMark.Level(31), CTMark.Level(30),
}

func randomToys(r *rand.Rand, n, depth int) []toy {
	list := make([]toy, n)
	for i := range list {
		t := toy{test: r.IntN(len(places)+1) - 1, value: r.IntN(2) == 0, write: -1, from: r.IntN(len(places)+1) - 1, not: r.IntN(2) == 0}
		t.ask = r.IntN(5) == 0
		if r.IntN(2) == 0 {
			t.write = r.IntN(len(places))
		}
		if r.IntN(3) == 0 {
			t.event = fmt.Sprint("event ", r.IntN(3))
		}
		t.verdict = []Verdict{Continue, Continue, Continue, Continue, Accept, Drop, Return}[r.IntN(7)]
		if depth > 0 && r.IntN(4) == 0 {
			t.jump, t.goes = randomToys(r, 1+r.IntN(4), depth-1), r.IntN(3) == 0
		}
		list[i] = t
	}
	return list
}

// compile makes the function of a rule.
func (t toy) compile(s *Space) bdd.Ref {
	var e Effect
	if t.event != "" {
		e = s.Event(Token{Kind: t.event})
	}
	if t.write >= 0 {
		cell := Zero
		switch {
		case t.from >= 0:
			cell = Old(places[t.from], t.not)
		case t.not:
			cell = One
		}
		e = s.Then(e, s.Write([]bdd.Level{places[t.write]}, []Cell{cell}))
	}
	then := s.Leaf(Leaf{Verdict: t.verdict, Effect: e})
	if t.jump != nil {
		var rules []bdd.Ref
		for _, inner := range t.jump {
			rules = append(rules, inner.compile(s))
		}
		if chain := s.Chain(rules); t.goes {
			then = s.Goto(bdd.True, e, chain)
		} else {
			then = s.Jump(bdd.True, e, chain)
		}
	}
	if t.ask {
		answer, asked := s.Ask(0)
		then = s.ITE(answer[0], s.Behind(asked, then), s.Leaf(Leaf{Verdict: Continue, Effect: asked}))
	}
	where := bdd.True
	if t.test >= 0 {
		if where = s.Var(places[t.test]); !t.value {
			where = s.Not(where)
		}
	}
	return s.ITE(where, then, s.Next())
}

// A run is a packet that toys are carried out on.
type run struct {
	values  []bool
	answers []bool
	events  []string
}

// do carries out rules one by one.
func (r *run) do(list []toy) Verdict {
	for _, t := range list {
		if t.test >= 0 && r.values[t.test] != t.value {
			continue
		}
		if t.ask {
			r.events = append(r.events, "ask")
			yes := r.answers[0]
			r.answers = r.answers[1:]
			if !yes {
				continue
			}
		}
		if t.event != "" {
			r.events = append(r.events, t.event)
		}
		if t.write >= 0 {
			value := t.not
			if t.from >= 0 {
				value = r.values[t.from] != t.not
			}
			r.values[t.write] = value
		}
		verdict := t.verdict
		if t.jump != nil {
			switch verdict = r.do(t.jump); {
			case (verdict == Continue || verdict == Return) && t.goes:
				return Return
			case verdict == Return:
				verdict = Continue
			}
		}
		if verdict != Continue {
			return verdict
		}
	}
	return Continue
}

// TestSequence compares functions of chains with rules that are carried out one
// by one: for every packet of the toys, what is written, and in which order what
// is emitted.
func TestSequence(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range 400 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		list := randomToys(r, 2+r.IntN(10), 2)
		if why := sequenceWrong(list, func(s *Space, rules []bdd.Ref) bdd.Ref { return s.Chain(rules) }); why != "" {
			t.Fatalf("round %d: %s\n%+v", round, why, list)
		}
	}
}

// TestSequenceNoticed puts functions in sequence without regard to what the
// first ones write, which the comparison must notice.
func TestSequenceNoticed(t *testing.T) {
	for round := range 400 {
		list := randomToys(rand.New(rand.NewPCG(1, uint64(round))), 8, 1)
		wrong := func(s *Space, rules []bdd.Ref) bdd.Ref {
			f := s.Next()
			for i := len(rules) - 1; i >= 0; i-- {
				rest := f
				f = s.Map(s.NewMapping(func(v uint32) bdd.Ref {
					if l := s.LeafOf(v); l.Verdict == Continue && l.Effect == NoEffect {
						return rest
					}
					return s.Leaf(s.LeafOf(v))
				}), rules[i])
			}
			return f
		}
		if sequenceWrong(list, wrong) != "" {
			return
		}
	}
	t.Error("wrong functions are not noticed")
}

// sequenceWrong says for which packet a function does not do what the rules do.
func sequenceWrong(list []toy, chain func(s *Space, rules []bdd.Ref) bdd.Ref) string {
	s := NewSpace(bdd.New(bdd.Options{}), 4, &NameTests{}, []Instance{{Kind: "toy", Width: 1}})
	var rules []bdd.Ref
	for _, t := range list {
		rules = append(rules, t.compile(s))
	}
	f := chain(s, rules)
	const answers = 12
	for packet := range 1 << (len(places) + 3) {
		one := run{answers: make([]bool, answers*8)}
		for i := range places {
			one.values = append(one.values, packet>>i&1 == 1)
		}
		for i := range one.answers {
			one.answers[i] = packet>>(len(places)+i%3)&1 == 1
		}
		before, given := slices.Clone(one.values), one.answers
		first, _ := s.Ask(0)
		base := s.Level(first[0])
		value := func(l bdd.Level) bool {
			if i := slices.Index(places, l); i >= 0 {
				return before[i]
			}
			if _, _, ok := GroupOf(l); !ok {
				return given[l-base]
			}
			return false
		}
		leaf := s.LeafOf(s.Eval(f, value))
		verdict := one.do(list)
		var events []string
		for _, token := range s.Events(leaf.Effect) {
			events = append(events, token.Kind)
		}
		var after []bool
		for i, l := range places {
			v := before[i]
			if c, ok := s.Written(leaf.Effect, l); ok {
				if from, complement, isOld := c.Variable(); isOld {
					v = value(from) != complement
				} else {
					v = c == One
				}
			}
			after = append(after, v)
		}
		if leaf.Verdict != verdict || !slices.Equal(events, one.events) || !slices.Equal(after, one.values) {
			return fmt.Sprintf("packet %v: the function says %v %v %v, the rules %v %v %v",
				before, leaf.Verdict, events, after, verdict, one.events, one.values)
		}
	}
	return ""
}
