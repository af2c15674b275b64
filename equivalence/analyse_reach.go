package equivalence

import (
	"maps"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// reaching finds the packets that come to each rule of a stage.
//
// The rules of a chain are merged to functions of blocks, as a balanced tree: how
// packets go on behind a block, and what was written. From what is wanted of a
// packet as it meets a rule, the way leads back: through the blocks before the
// rule, then from the rules that lead to its chain, to the packet as it enters
// the stage. What is wanted of one rule is a small class, and stays small on the
// way, where the class of all packets that come so far would not be.
type reaching struct {
	*scope
	stage  *symbolic.Stage
	number int // in the order in which packets meet stages
	at     symbolic.Situation
	read   map[bdd.Level]bool       // by rules
	writes map[symbolic.Effect]bool // of rules
	kept   map[bdd.Level]bool       // written, and read later
	carry  bool                     // writes are kept of packets that are accepted, too
	key    string                   // of kept and carry, for the memo of functions
	chains []*chainReach            // each behind those that lead to it
	of     map[*symbolic.RuleChain]*chainReach

	matches, decides, unsure, touches         *bdd.Mapping // of single rules
	continues, returns, accepts, drops, loses *bdd.Mapping // of blocks
	shared                                    *bdd.Mapping // from a rule without targets to its block
	known                                     map[bdd.Ref][]arrival
	// capped says that packets behind some writes were not followed.
	capped  bool
	ends    *outcomes // once they were looked for
	passing bdd.Ref   // what the stage accepts, of all packets, once it was looked for
	// fault, in tests, plants a mistake in what leaves of rules mean.
	fault func(l symbolic.Leaf) symbolic.Leaf
}

// A chainReach is a chain of a stage.
type chainReach struct {
	chain *symbolic.RuleChain
	place int // in reaching.chains
	sites []site
	back  int // whether packets may come back from it: 1 yes, -1 no, 0 not known
	// lost are packets that may come before each rule, and behind the last, from
	// something that is not modelled. It is not known what they are like by then.
	lost []bdd.Ref
	// matched, decided and unsure are what was found of rules so far.
	rules     []ruleReach
	functions []bdd.Ref // of the rules by themselves
}

// A ruleReach is what was found of a rule at a stage, of the packets that come to
// it on ways that are modelled.
type ruleReach struct {
	reached, matched, decided, unsure found
	// shut says that no packet comes that passes all tests, because all ways are
	// shut, or there are none.
	shut bool
	ways []*way
}

// found is a class once it was looked for, or that it is not empty.
type found struct {
	class       bdd.Ref
	known, some bool
}

// A site is a rule that leads to a chain.
type site struct {
	from *chainReach
	rule int
}

// An arrival is a class of packets, with what is written to them on the way from
// here to where they are looked at.
type arrival struct {
	effect  symbolic.Effect
	packets bdd.Ref
}

// maxArrivals is how many different writes are kept apart.
const maxArrivals = 64

// blockRules is how many rules of a chain are merged at most where the way leads
// back through them.
const blockRules = 64

func newReaching(m *model, stage *symbolic.Stage) *reaching {
	r := &reaching{
		scope: &scope{model: m, name: stage.Name, hook: stage.Hook}, stage: stage,
		at: m.situation(stage.Hook, stage.Priority, stage.Kind),
		of: map[*symbolic.RuleChain]*chainReach{}, known: map[bdd.Ref][]arrival{},
	}
	r.early = r.at.Early
	return r
}

// stand says where the functions stand that are made from now on.
func (r *reaching) stand() { r.space.AtStage(r.stage) }

// begin makes the functions of rules.
func (r *reaching) begin() []symbolic.Assumption {
	r.stand()
	r.order(r.stage.Start)
	slices.Reverse(r.chains)
	for i, c := range r.chains {
		c.place = i
	}
	r.mappings()
	r.levels = r.support()
	domain, assumed := r.domainOf(r.at, r.levels)
	r.domain = domain
	r.levels = merged(r.levels, r.space.Support(domain))
	r.astray()
	return assumed
}

// order lists chains, each before those that lead to it.
func (r *reaching) order(c *symbolic.RuleChain) *chainReach {
	if of := r.of[c]; of != nil {
		return of
	}
	of := &chainReach{
		chain: c, rules: make([]ruleReach, len(c.Rules)), functions: make([]bdd.Ref, len(c.Rules)), lost: make([]bdd.Ref, len(c.Rules)+1),
	}
	r.of[c] = of
	for i := range c.Rules {
		for _, to := range c.Rules[i].Targets {
			t := r.order(to)
			t.sites = append(t.sites, site{of, i})
		}
	}
	r.chains = append(r.chains, of)
	return of
}

// rule is the function of a rule by itself.
func (r *reaching) rule(c *chainReach, i int) bdd.Ref {
	if c.functions[i] == bdd.False { // which is no such function
		of := &c.chain.Rules[i]
		r.stand()
		c.functions[i] = r.space.Memo(of.ID, func() bdd.Ref { return of.Function(of.Target) })
	}
	return c.functions[i]
}

// support lists the variables that rules of the stage read, and finds out which
// writes a later rule may read.
func (r *reaching) support() []bdd.Level {
	s := r.space
	for _, c := range r.chains {
		for i := range c.rules {
			r.rule(c, i)
		}
		if c.chain.Whole != nil {
			c.chain.Whole()
		}
	}
	r.read, r.writes = map[bdd.Level]bool{}, map[symbolic.Effect]bool{}
	seen, asking := make([]bool, s.Size()), map[bdd.Ref]bool{}
	// scan reports whether a function depends on answers of states.
	var scan func(f bdd.Ref) bool
	scan = func(f bdd.Ref) bool {
		if seen[f] {
			return asking[f]
		}
		seen[f] = true
		if v, ok := s.Value(f); ok {
			r.writes[s.LeafOf(v).Effect] = true
			return false
		}
		l := s.Level(f)
		r.read[l] = true
		_, asks := s.SlotOf(l)
		low, high := scan(s.Low(f)), scan(s.High(f))
		if asks = asks || low || high; asks {
			asking[f] = true
		}
		return asks
	}
	var askers []site
	for _, c := range r.chains {
		for i := range c.rules {
			if scan(r.rule(c, i)) {
				askers = append(askers, site{c, i})
			}
		}
		if c.chain.Whole != nil {
			scan(c.chain.Whole())
		}
	}
	r.kept = r.writtenFor(r.read)
	if len(askers) > 0 {
		r.keepAnswers(askers)
	}
	r.key = keyOf(r.kept)
	return sortedLevels(r.read)
}

// keepAnswers keeps moves of states that a packet may ask again: it then gets
// another answer.
func (r *reaching) keepAnswers(askers []site) {
	s := r.space
	visits := map[*chainReach]int{}
	for _, c := range r.chains {
		if c.place == 0 {
			visits[c] = 1
		}
		for _, from := range c.sites {
			visits[c] = min(visits[c]+visits[from.from], 2)
		}
		if !r.comesBack(c) {
			visits[c] = 1
		}
	}
	asked := map[symbolic.Slot]int{}
	for _, at := range askers {
		here := map[symbolic.Slot]bool{}
		for _, l := range s.Support(r.rule(at.from, at.rule)) {
			if slot, ok := s.SlotOf(l); ok {
				here[slot] = true
			}
		}
		for slot := range here {
			asked[slot] += visits[at.from]
		}
	}
	for e := range r.writes {
		for _, slot := range s.MovedSlots(e) {
			if asked[slot] > 1 {
				r.kept[s.FirstAnswer(slot)] = true
			}
		}
	}
}

// writtenFor are the variables that rules write and on which, directly or by way
// of others that they are copied to, some variables depend.
func (r *reaching) writtenFor(read map[bdd.Level]bool) map[bdd.Level]bool {
	s, kept := r.space, map[bdd.Level]bool{}
	read = maps.Clone(read)
	for again := true; again; {
		again = false
		for e := range r.writes {
			for _, to := range s.WrittenLevels(e) {
				if !read[to] {
					continue
				}
				kept[to] = true
				c, _ := s.Written(e, to)
				if from, _, ok := c.Variable(); ok && !read[from] {
					read[from], again = true, true
				}
			}
		}
	}
	return kept
}

// comesBack reports whether a packet may leave a chain for where it came from, as
// far as one can see without looking at tests. One that does not is not met
// twice.
func (r *reaching) comesBack(c *chainReach) bool {
	if c.back != 0 {
		return c.back > 0
	}
	back := func() bool {
		if c.chain.Unknown != "" {
			return true
		}
		for i := range c.chain.Rules {
			on := false
			for _, l := range r.space.Leaves(r.rule(c, i)) {
				switch l.Verdict {
				case symbolic.Return, symbolic.Undecided:
					return true
				case symbolic.Continue:
					on = true
				case symbolic.Jump:
					on = on || r.comesBack(r.of[c.chain.Rules[i].Targets[l.By-1]])
				case symbolic.Goto:
					if r.comesBack(r.of[c.chain.Rules[i].Targets[l.By-1]]) {
						return true
					}
				}
			}
			if !on {
				return false
			}
		}
		return true
	}
	if c.back = -1; back() {
		c.back = 1
	}
	return c.back > 0
}

func sortedLevels(set map[bdd.Level]bool) []bdd.Level {
	list := make([]bdd.Level, 0, len(set))
	for l := range set {
		list = append(list, l)
	}
	slices.Sort(list)
	return list
}

func keyOf(set map[bdd.Level]bool) string {
	var b []byte
	for _, l := range sortedLevels(set) {
		b = append(b, byte(l>>24), byte(l>>16), byte(l>>8), byte(l))
	}
	return string(b)
}
