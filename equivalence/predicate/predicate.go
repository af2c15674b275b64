package predicate

import (
	"fmt"
	"strings"
)

// Truth is the result of a test: no, yes, or unknown when something was not
// modelled. The zero value is invalid.
type Truth uint8

// The truth values.
const (
	No Truth = iota + 1
	Yes
	Unknown
)

func (t Truth) String() string {
	switch t {
	case No:
		return "no"
	case Yes:
		return "yes"
	case Unknown:
		return "unknown"
	}
	return "invalid truth"
}

// Of returns Yes or No.
func Of(b bool) Truth {
	if b {
		return Yes
	}
	return No
}

// A Predicate is a condition on a packet. The types below are all there are.
type Predicate interface {
	fmt.Stringer
	eval(r Reader, scope string) Truth
}

type (
	// Const is always true or always false.
	Const bool

	// All holds when every part holds. Parts are evaluated in order and the
	// first that does not hold ends the evaluation, which matters for
	// stateful parts. All of nothing holds.
	All []Predicate

	// Any holds when a part holds, evaluated in order likewise. Any of nothing
	// does not hold.
	Any []Predicate

	// Not is negation. Absent fields make a test false and so its negation true.
	Not struct{ P Predicate }

	// Between holds when the field is present and Low <= field <= High.
	Between struct {
		Field     Field
		Low, High Bits
	}

	// Masked holds when the field is present and field & Mask == Value.
	Masked struct {
		Field       Field
		Mask, Value Bits
	}

	// In holds when the field is present and in one of the spans.
	In struct {
		Field Field
		Spans []Span
	}

	// Present holds when the field is there.
	Present struct{ Field Field }

	// Stateful consults, and may change, a named state: a rate bucket, a list
	// of recent addresses, a counter.
	Stateful struct{ Instance Instance }

	// SetLabel gives the connection a label, and holds when there is one to give it to.
	SetLabel struct{ Bit uint8 }

	// Unmodelled is unknown for every packet; What says what it stands for.
	Unmodelled struct{ What string }
)

// A Span is an inclusive span of values.
type Span struct{ Low, High Bits }

// Equal is the test field == value.
func Equal(f Field, value Bits) Predicate { return Between{f, value, value} }

func (p Const) String() string {
	if p {
		return "always"
	}
	return "never"
}

func (p All) String() string { return join(p, " and ") }
func (p Any) String() string { return join(p, " or ") }
func (p Not) String() string { return "not " + p.P.String() }

func (p Between) String() string {
	if p.Low == p.High {
		return fmt.Sprintf("%v == %v", p.Field, p.Low)
	}
	return fmt.Sprintf("%v in %v-%v", p.Field, p.Low, p.High)
}

func (p Masked) String() string { return fmt.Sprintf("%v & %v == %v", p.Field, p.Mask, p.Value) }

func (p In) String() string {
	parts := make([]string, len(p.Spans))
	for i, s := range p.Spans {
		parts[i] = fmt.Sprintf("%v-%v", s.Low, s.High)
	}
	return fmt.Sprintf("%v in {%s}", p.Field, strings.Join(parts, ", "))
}

func (p Present) String() string    { return p.Field.String() + " is present" }
func (p Stateful) String() string   { return p.Instance.Describe() }
func (p SetLabel) String() string   { return fmt.Sprintf("label %d is set", p.Bit) }
func (p Unmodelled) String() string { return "unmodelled " + p.What }

func join(parts []Predicate, by string) string {
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = p.String()
	}
	return "(" + strings.Join(words, by) + ")"
}

// A Meaning is what a match does to a packet.
//
// Hotdrop, when not nil, is tested first: where it holds, the kernel drops the
// packet inside the match (xt_action_param.hotdrop), whatever the rule says.
type Meaning struct {
	Hotdrop Predicate
	Match   Predicate
	// Doom, when not nil, is where the kernel drops the packet behind the rule: it
	// says so inside the match, and the match goes on as Match says. The other
	// tests are made, and the target does what it does when they hold.
	//
	// Kernel: net/ipv4/netfilter/ip_tables.c, ipt_do_table, which looks at hotdrop
	// between rules only.
	Doom Predicate
	// Unproven, when not nil, is where a packet is run but no function is made of
	// what becomes of it: a proof is undecided there.
	Unproven Predicate
	// Effects are what a match does to a packet for which it holds, before the next one
	// is asked.
	Effects []Effect
}

// A Reader gives a predicate what it asks about: the fields of one packet at
// one point of its path, and the states of the machine.
type Reader interface {
	// Field returns the value of a field. present is No when the packet has no
	// such field and Unknown when the machine does not model it.
	Field(f Field) (value Bits, present Truth)
	// States is where stateful instances keep their state.
	States() *States
	// Now is the virtual clock, in nanoseconds since some start.
	Now() int64
}
