package symbolic_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"nftmigrate/equivalence/bdd"
	. "nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// chainOf is toys as a chain of a machine.
func chainOf(s *Space, list []toy) *RuleChain {
	c := &RuleChain{}
	for _, t := range list {
		rule := ChainRule{Words: func() string { return "toy" }}
		var target *RuleChain
		if t.jump != nil {
			target = chainOf(s, t.jump)
			rule.Targets = []*RuleChain{target}
		}
		rule.Function = func(number func(*RuleChain) int) bdd.Ref {
			if target == nil {
				return t.compile(s)
			}
			single := t
			single.jump, single.verdict = nil, Jump
			if t.goes {
				single.verdict = Goto
			}
			return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
				l := s.LeafOf(v)
				if l.Verdict == Jump || l.Verdict == Goto {
					l.By = number(target)
				}
				return s.Leaf(l)
			}), single.compile(s))
		}
		c.Rules = append(c.Rules, rule)
	}
	return c
}

func toySpace() *Space {
	return NewSpace(bdd.New(bdd.Options{}), 4, &NameTests{}, []Instance{{Kind: "toy", Width: 1}})
}

func toyStage(s *Space, list []toy) *Stage {
	return &Stage{Name: "toys", Hook: packet.Forward, Start: chainOf(s, list), Policy: Accept}
}

// TestFunction compares the functions of stages with those of toys that are put
// together rule by rule.
func TestFunction(t *testing.T) {
	for round := range 300 {
		list := randomToys(rand.New(rand.NewPCG(7, uint64(round))), 1+round%10, 3)
		s := toySpace()
		var rules []bdd.Ref
		for _, one := range list {
			rules = append(rules, one.compile(s))
		}
		if got, want := s.Function(toyStage(s, list)), s.Base(s.Chain(rules), Accept, 0); got != want {
			t.Fatalf("round %d: another function\n%+v", round, list)
		}
	}
}

// changed is toys with one mistake.
func changed(r *rand.Rand, list []toy) []toy {
	list = slices.Clone(list)
	i := r.IntN(len(list))
	switch r.IntN(6) {
	case 0:
		list[i].value = !list[i].value
	case 1:
		list[i].verdict = []Verdict{Continue, Accept, Drop, Return}[r.IntN(4)]
	case 2:
		list[i].write = r.IntN(len(places))
	case 3:
		list = slices.Delete(list, i, i+1)
	case 4:
		k := r.IntN(len(list))
		list[i], list[k] = list[k], list[i]
	default:
		if list[i].jump != nil {
			list[i].jump = changed(r, list[i].jump)
		} else {
			list = slices.Insert(list, i, list[r.IntN(len(list))])
		}
	}
	return list
}

// apartWrong says for which packet two lists of toys come out unlike although
// they are not said to be apart, or a function within what is apart does not say
// what the whole function says.
func apartWrong(a, b []toy, apart func(s *Space, a, b *Stage) bdd.Ref) string {
	s := toySpace()
	x, y := toyStage(s, a), toyStage(s, b)
	packets := apart(s, x, y)
	f, g := s.Function(x), s.Function(y)
	within := s.Within(x, packets)
	first, _ := s.Ask(0)
	base := s.Level(first[0])
	for point := range 1 << (len(places) + 6) {
		value := func(l bdd.Level) bool {
			if i := slices.Index(places, l); i >= 0 {
				return point>>i&1 == 1
			}
			if _, _, ok := GroupOf(l); !ok && l >= base {
				return point>>(len(places)+int(l-base)%6)&1 == 1
			}
			return false
		}
		is := s.Eval(packets, value) == 1
		switch {
		case !is && s.Eval(f, value) != s.Eval(g, value):
			return fmt.Sprintf("packet %b comes out unlike and is not apart", point)
		case is && s.Eval(f, value) != s.Eval(within, value):
			return fmt.Sprintf("packet %b comes out otherwise within", point)
		}
	}
	return ""
}

func none(string) bool { return false }

// TestApart compares toys with others that have a mistake.
func TestApart(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	equal, all := 0, 0
	for round := range 1000 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		a := randomToys(r, 1+r.IntN(8), 2)
		b := changed(r, a)
		if why := apartWrong(a, b, func(s *Space, x, y *Stage) bdd.Ref {
			p := s.Apart(x, y, bdd.True, none, false).Packets
			if p == bdd.True {
				all++
			}
			if s.Function(x) == s.Function(y) {
				equal++
			}
			return p
		}); why != "" {
			t.Fatalf("round %d: %s\n%+v\n%+v", round, why, a, b)
		}
		same := toySpace()
		if p := same.Apart(toyStage(same, a), toyStage(same, a), bdd.True, none, false).Packets; p != bdd.False {
			t.Fatalf("round %d: the same toys are apart\n%+v", round, a)
		}
	}
	if all > 700 || equal > 700 {
		t.Errorf("%d of 1000 are apart for all packets and %d are equal: the trial shows nothing", all, equal)
	}
}

// TestApartNoticed leaves packets out of what is apart, and forgets that rules
// write what others test: both must be noticed.
func TestApartNoticed(t *testing.T) {
	for name, fault := range map[string]func(s *Space, x, y *Stage) bdd.Ref{
		"half of the packets": func(s *Space, x, y *Stage) bdd.Ref {
			return s.And(s.Apart(x, y, bdd.True, none, false).Packets, s.Var(places[0]))
		},
		"only where rules differ at first": func(s *Space, x, y *Stage) bdd.Ref {
			apart := bdd.False
			number := func(*RuleChain) int { return 1 }
			for i := range min(len(x.Start.Rules), len(y.Start.Rules)) {
				f, g := x.Start.Rules[i].Function(number), y.Start.Rules[i].Function(number)
				apart = s.Or(apart, s.Apply(s.NewOp("unlike", func(f, g bdd.Ref) (bdd.Ref, bool) {
					if f == g {
						return bdd.False, true
					}
					return bdd.True, s.IsTerminal(f) && s.IsTerminal(g)
				}), f, g))
			}
			return apart
		},
	} {
		noticed := false
		for round := range uint64(500) {
			r := rand.New(rand.NewPCG(3, round))
			a := randomToys(r, 1+r.IntN(8), 1)
			b := changed(r, a)
			if len(a) == len(b) && apartWrong(a, b, fault) != "" {
				noticed = true
				break
			}
		}
		if !noticed {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// TestApartExplained drops packets on one side under a deviation.
func TestApartExplained(t *testing.T) {
	s := toySpace()
	stage := func(leaf Leaf) *Stage {
		c := &RuleChain{Rules: []ChainRule{
			{Function: func(func(*RuleChain) int) bdd.Ref {
				return s.ITE(s.Var(places[0]), s.Leaf(leaf), s.Next())
			}},
			{Function: func(func(*RuleChain) int) bdd.Ref {
				return s.ITE(s.Var(places[1]), s.Leaf(Leaf{Verdict: Accept}), s.Next())
			}},
		}}
		return &Stage{Hook: packet.Forward, Start: c, Policy: Drop}
	}
	a, b := stage(Leaf{Verdict: Drop, Why: "odd"}), stage(Leaf{Verdict: Continue})
	odd := func(code string) bool { return code == "odd" }
	if got := s.Apart(a, b, bdd.True, odd, true); got.Packets != bdd.False || got.Explained != s.Var(places[0]) || !slices.Equal(got.Codes, []string{"odd"}) {
		t.Errorf("accepted: %+v", got)
	}
	if got := s.Apart(a, b, bdd.True, odd, false); got.Packets != bdd.False || !slices.Equal(got.Codes, []string{"odd"}) {
		t.Errorf("accepted, packets not asked for: %+v", got)
	}
	if got := s.Apart(a, b, s.Not(s.Var(places[0])), odd, true); got.Packets != bdd.False || len(got.Codes) != 0 {
		t.Errorf("no such packet comes: %+v", got)
	}
	if got := s.Apart(a, b, bdd.True, none, true); got.Packets != s.Var(places[0]) || len(got.Codes) != 0 {
		t.Errorf("not accepted: %+v", got)
	}
}

// TestApartUnknown compares stages with something that is not modelled: a packet
// that comes to it is apart, even from itself.
func TestApartUnknown(t *testing.T) {
	s := toySpace()
	inner := &RuleChain{Rules: []ChainRule{{Function: func(func(*RuleChain) int) bdd.Ref {
		return s.ITE(s.Var(places[1]), s.Leaf(Leaf{Verdict: Undecided, Why: "strange"}), s.Next())
	}}}}
	outer := &RuleChain{Rules: []ChainRule{{Targets: []*RuleChain{inner}, Function: func(number func(*RuleChain) int) bdd.Ref {
		return s.ITE(s.Var(places[0]), s.Leaf(Leaf{Verdict: Jump, By: number(inner)}), s.Next())
	}}}}
	stage := &Stage{Hook: packet.Forward, Start: outer, Policy: Accept}
	want := s.And(s.Var(places[0]), s.Var(places[1]))
	if got := s.Apart(stage, stage, bdd.True, none, false).Packets; got != want {
		t.Errorf("the class has %v packets of 4", s.SatCount(got, places[:2]))
	}
	whole := &Stage{Hook: packet.Forward, Start: &RuleChain{Unknown: "all of it"}, Policy: Accept}
	if got := s.Apart(whole, whole, bdd.True, none, false).Packets; got != bdd.True {
		t.Errorf("a chain of which nothing is known: %d", got)
	}
}
