package symbolic

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// A Compiler is a machine whose rules can be compiled to functions.
type Compiler interface {
	// Collect notes the tests of device names that the rules make for packets of
	// an IP version, and lists the instances that they ask, in the order of the
	// rules; an instance that several rules share comes once.
	Collect(version int, tests *NameTests) []Instance
	// Compile returns the chains and rules that packets of the space's version can
	// meet. slots[i] is the slot of the i-th instance that Collect listed.
	Compile(s *Space, slots []Slot) *Program
}

// A Program is the chains of a machine, with the places where they hang.
type Program struct {
	// Stages are the built-in or base chains.
	Stages []Stage
	// Chains are all chains, in the order of the ruleset.
	Chains []*RuleChain
}

// A Stage is a chain that hangs at a hook. See [Space.Function].
type Stage struct {
	Name     string
	Hook     packet.Hook
	Priority int32
	Kind     packet.StageKind
	// Start is the chain that packets meet first; nil lets all go on to the
	// policy.
	Start *RuleChain
	// Policy is the verdict on packets that come to the end, Accept or Drop, and
	// Place says where it is written.
	Policy Verdict
	Place  string
	// Unknown, when not "", says why nothing is known of what the stage does.
	Unknown string
}

// A RuleChain is a chain. Nothing leads from it back to itself.
type RuleChain struct {
	Name  string // as traces name it
	Rules []ChainRule
	// Unknown, when not "", says why nothing is known of what the chain does.
	Unknown string
	// Whole, when not nil, compiles the chain as one: then it is known what all of
	// its rules do together, and the Functions of single ones are undecided.
	Whole func() bdd.Ref
}

// A ChainRule is a rule of a chain.
type ChainRule struct {
	// ID is the name under which the machine tells of it to [packet.Flight].Visit.
	ID any
	// Place is where the rule was written, or ""; Text is the rule as its language
	// spells it, with its comment; Words is how a proof names it.
	Place, Text, Words func() string
	// Targets are the chains to which the rule can lead, each once.
	Targets []*RuleChain
	// Function compiles the rule by itself: from the variables as the packet meets
	// the rule to leaves. Where the rule leads to a chain, the verdict is Jump
	// or Goto, and By is what number says of the chain. In spaces that are Marked,
	// By is ByMatch of other packets that passed all tests of the rule, unless it
	// is not known what becomes of them. A leaf with another By is of packets that
	// some test let pass by, or dropped.
	Function func(number func(*RuleChain) int) bdd.Ref
}

// Target is a number for Function: the index in Targets plus 1.
func (r *ChainRule) Target(c *RuleChain) int { return slices.Index(r.Targets, c) + 1 }

// ByMatch is By of a leaf of packets that a rule by itself matched.
const ByMatch = 1 << 30

// Reduced is an effect without its events, and without what it does to variables
// for which keep is false. It moves an instance on when keep is true for the
// instance's [Space.FirstAnswer].
func (s *Space) Reduced(e Effect, keep func(l bdd.Level) bool) Effect {
	if e == NoEffect {
		return e
	}
	var out writeSet
	w := s.writesOf(e)
	for _, b := range w.bits {
		if keep(b.to) {
			out.bits = append(out.bits, b)
		}
	}
	for _, sh := range w.shifts {
		if keep(s.FirstAnswer(sh.slot)) {
			out.shifts = append(out.shifts, sh)
		}
	}
	if len(out.bits)+len(out.shifts) == 0 {
		return NoEffect
	}
	return s.effects.intern(effect{writes: s.internWrites(out)})
}

// MovedSlots lists the instances whose answers an effect moves on.
func (s *Space) MovedSlots(e Effect) []Slot {
	var list []Slot
	for _, sh := range s.writesOf(e).shifts {
		list = append(list, sh.slot)
	}
	return list
}

// FirstAnswer returns the variable of the first bit that a packet is answered by
// an instance.
func (s *Space) FirstAnswer(slot Slot) bdd.Level { return s.answer(slot, 0, 0) }

// Leaves lists the leaves of a function.
func (s *Space) Leaves(f bdd.Ref) []Leaf {
	values := s.Terminals(f)
	list := make([]Leaf, len(values))
	for i, v := range values {
		list[i] = s.LeafOf(v)
	}
	return list
}

// OtherDevice is what [Space.DeviceWords] says of names that no test knows.
const OtherDevice = "another device"

// DeviceWords says in words which names of devices are of a class: one name, all
// with a beginning but those that other tests know, or all others. Class 0 is of
// packets that have no such device.
func (s *Space) DeviceWords(class int) string {
	list := s.names.list
	if class < 0 || class >= len(list) {
		return "no name"
	}
	name := list[class]
	if class == 0 {
		return "none"
	}
	if s.tests.exact[name] || name == "lo" {
		return name
	}
	longest := ""
	for p := range s.tests.prefix {
		if typical, ok := s.tests.typical(p); ok && typical == name && len(p) > len(longest) {
			longest = p
		}
	}
	if longest == "" {
		return OtherDevice
	}
	return longest + "+"
}
