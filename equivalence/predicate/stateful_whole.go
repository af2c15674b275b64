package predicate

// Whole is a match whose tests a proof does not take apart: it compares what is
// asked in words, while packets are run by the tests.
type Whole struct {
	Words string
	Tests Predicate
}

var _ Content = Whole{}

// Content marks the type.
func (Whole) Content() {}

// Identity is "": there is nothing to share.
func (Whole) Identity() string { return "" }

// Describe says what is asked.
func (w Whole) Describe() string { return w.Words }

// Keys is none.
func (Whole) Keys() []Field { return nil }

// Ask makes the tests.
func (w Whole) Ask(r Reader, scope string) Truth { return Eval(w.Tests, r, scope) }
