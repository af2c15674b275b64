package packet

// A Suggestion is how a machine says which packets one of its rules tells
// apart: its tests on the way from a hook, each with settings of a [Spec] under
// which it holds and under which it fails. Suggestions are hints for choosing
// packets; a wrong one costs coverage, never correctness.
type Suggestion struct {
	Rule  string // the rule, for people
	Hooks []Hook // from which the rule can be reached
	// Tests are the rule's own, behind those of one way of jumps to its chain.
	Tests []Test
}

// A Test is one condition. Hold and Fail are settings at the boundaries of the
// values for which it holds and fails: the ends of each range and prefix, each
// bit of a mask, and the neighbours outside. Either can be empty when no
// setting is known.
type Test struct {
	Hold, Fail []Setting
}

// A Setting gives a property of a Spec a value. Name is unique for property and
// value, so that equal settings can be told.
type Setting struct {
	Name  string
	Apply func(*Spec)
}

// MaxSuggestions is how many rules a machine suggests packets for. Of larger
// rulesets it takes rules at even distances.
const MaxSuggestions = 2048

// Suggested says whether the i-th of n rules is among those for which packets
// are suggested.
func Suggested(i, n int) bool {
	if n <= MaxSuggestions {
		return true
	}
	return i*MaxSuggestions/n != (i-1)*MaxSuggestions/n || i == 0
}
