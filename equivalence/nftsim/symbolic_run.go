package nftsim

import (
	"fmt"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// A symbolicStep is an instruction that can be run on variables, as its exec
// runs on a packet. One that cannot makes the packets that reach it undecided.
type symbolicStep interface{ symbolic(x *symbolicRun) }

// A stepFunc is a step that is not an instruction of its own.
type stepFunc func(x *symbolicRun)

func (f stepFunc) symbolic(x *symbolicRun) { f(x) }

func stepOf(i Instruction) symbolicStep {
	if s, ok := i.(symbolicStep); ok {
		return s
	}
	return stepFunc(func(x *symbolicRun) { x.undecided(fmt.Sprintf("%v is not modelled for all packets", i)) })
}

func (i *Unknown) symbolic(x *symbolicRun) { x.undecided(i.Why) }

// symbolicRun is a rule on its way over all packets, or over a class of them.
// What the registers hold is in terms of the packet as the rule met it.
type symbolicRun struct {
	symbolicState
	regs  [8 * registerBytes]bdd.Ref
	holds [registerBytes]held
}

// symbolicState is a run without what its registers hold.
type symbolicState struct {
	*compiler
	rule    *Rule
	rest    []symbolicStep
	effect  symbolic.Effect // of the rule so far
	path    []bdd.Ref       // where the run is: all hold
	closing []closing
	ended   bool
	result  bdd.Ref // of what is behind the closings, when ended
	owner   owner   // of the stateful instructions that are running
}

// A closing says what becomes of the packets that did not come as far as what
// follows it, where all conditions hold.
type closing struct {
	where     []bdd.Ref
	otherwise bdd.Ref
}

// run runs the steps that are left, and returns the function of the class.
func (x *symbolicRun) run() bdd.Ref {
	for len(x.rest) > 0 && !x.ended {
		step := x.rest[0]
		x.rest = x.rest[1:]
		step.symbolic(x)
	}
	if !x.ended {
		x.end(x.done())
	}
	f := x.result
	for _, c := range slices.Backward(x.closing) {
		f = x.space.IfAll(c.where, f, c.otherwise)
	}
	return f
}

// newRun returns an empty run.
func (c *compiler) newRun() *symbolicRun {
	n := len(c.idle)
	if n == 0 {
		return &symbolicRun{symbolicState: symbolicState{compiler: c}}
	}
	x := c.idle[n-1]
	c.idle = c.idle[:n-1]
	x.holds = [registerBytes]held{} // so that no bits are read before they are written
	return x
}

// finish runs a run to its end, after which it must not be used.
func (x *symbolicRun) finish() bdd.Ref {
	f, c := x.run(), x.compiler
	x.symbolicState = symbolicState{compiler: c}
	c.idle = append(c.idle, x)
	return f
}

// end ends the run with the function of all that is left.
func (x *symbolicRun) end(f bdd.Ref) { x.ended, x.result = true, f }

// next is the end of a rule with what it did so far.
func (x *symbolicRun) next() bdd.Ref {
	return x.space.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: x.effect})
}

// unsure is the function of packets of which it is not known what happens.
func (x *symbolicRun) unsure(why string) bdd.Ref {
	return x.space.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided, Why: why})
}

// undecided ends the run at something that is not modelled.
func (x *symbolicRun) undecided(why string) { x.end(x.unsure(why)) }

// undecidedWhere ends it for packets for which a condition holds.
func (x *symbolicRun) undecidedWhere(where bdd.Ref, why string) {
	if x.space.And(x.space.All(x.path...), where) == bdd.False {
		return
	}
	x.only(x.space.Not(where), x.unsure(why))
}

// require breaks the rule for packets for which a condition does not hold.
func (x *symbolicRun) require(where bdd.Ref) { x.only(where, x.next()) }

// only goes on where a condition holds.
func (x *symbolicRun) only(where, otherwise bdd.Ref) {
	if where == bdd.True {
		return
	}
	x.path = append(x.path, where)
	if n := len(x.closing); n > 0 && x.closing[n-1].otherwise == otherwise {
		last := &x.closing[n-1]
		last.where = append(last.where, where)
	} else {
		x.closing = append(x.closing, closing{[]bdd.Ref{where}, otherwise})
	}
	if where == bdd.False {
		x.end(otherwise)
	}
}

// fork is the same run for a class of its packets.
func (x *symbolicRun) fork(where bdd.Ref) *symbolicRun {
	y := x.newRun()
	*y = *x
	y.path, y.closing = append(slices.Clone(x.path), where), nil
	return y
}

// split goes on in two ways, by a condition.
func (x *symbolicRun) split(where bdd.Ref, yes, no func(y *symbolicRun)) {
	way := func(where bdd.Ref, do func(y *symbolicRun)) bdd.Ref {
		y := x.fork(where)
		if x.space.All(y.path...) == bdd.False {
			return x.next() // no packet goes there
		}
		do(y)
		return y.finish()
	}
	switch where {
	case bdd.True:
		yes(x)
	case bdd.False:
		no(x)
	default:
		f := way(where, yes)
		x.end(x.space.ITE(where, f, way(x.space.Not(where), no)))
	}
}

// nothing is a way of split that only goes on.
func nothing(*symbolicRun) {}

// breaks is a way of split that leaves the rule.
func breaksRule(y *symbolicRun) { y.end(y.next()) }

// now returns a word of variables as they are behind what the rule has done.
func (x *symbolicRun) now(w symbolic.Word) symbolic.Word { return x.space.After(x.effect, w) }

func (x *symbolicRun) bits(g symbolic.Group) symbolic.Word { return x.now(x.space.Bits(g)) }

func (x *symbolicRun) bit(g symbolic.Group) bdd.Ref { return x.now(symbolic.Word{x.space.Bit(g)})[0] }

// emit adds an event, whose cells speak of the packet as the rule met it.
func (x *symbolicRun) emit(t symbolic.Token) {
	x.effect = x.space.Along(x.effect, x.space.Event(t))
}

// write sets variables to a word, and goes on with each class of packets for
// which the word can be said.
func (x *symbolicRun) write(levels []bdd.Level, w symbolic.Word) {
	x.cells(w, func(y *symbolicRun, cells []symbolic.Cell) {
		y.effect = y.space.Set(y.effect, levels, cells)
	})
}

// cells goes on with each class of packets for which a word can be said.
func (x *symbolicRun) cells(w symbolic.Word, with func(y *symbolicRun, cells []symbolic.Cell)) {
	const most = 1024
	if budget := most; !x.tellable(w, &budget) {
		x.undecided("a word that depends on the packet in too many ways")
		return
	}
	x.end(x.space.Cells(w, func(cells []symbolic.Cell) bdd.Ref {
		y := x.fork(bdd.True)
		with(y, cells)
		return y.finish()
	}))
}

// decide ends the rule with a verdict.
func (x *symbolicRun) decide(v Verdict) {
	s := x.space
	leaf := func(v symbolic.Verdict) bdd.Ref {
		l := symbolic.Leaf{Verdict: v, Effect: x.effect}
		if s.Marked {
			l.By = symbolic.ByMatch
		}
		return s.Leaf(l)
	}
	switch v.Code {
	case VerdictContinue:
	case VerdictBreak:
		x.end(x.next())
	case VerdictAccept:
		x.end(leaf(symbolic.Accept))
	case VerdictDrop:
		x.end(leaf(symbolic.Drop))
	case VerdictReturn:
		x.end(leaf(symbolic.Return))
	case VerdictJump, VerdictGoto:
		if x.collecting != nil {
			x.end(x.next())
		} else {
			x.end(x.leads(v))
		}
	default:
		x.undecided(fmt.Sprintf("verdict %d", v.Code))
	}
}

// unless is a condition, or its contrary.
func (x *symbolicRun) unless(not bool, f bdd.Ref) bdd.Ref {
	if not {
		return x.space.Not(f)
	}
	return f
}

// tellable reports whether a word falls into no more classes than a budget in
// each of which its bits are constants or variables.
func (x *symbolicRun) tellable(w symbolic.Word, budget *int) bool {
	s := x.space
	var open symbolic.Word
	top := bdd.Level(0)
	for _, f := range w {
		if s.IsTerminal(f) || s.IsTerminal(s.Low(f)) && s.IsTerminal(s.High(f)) {
			continue
		}
		if l := s.Level(f); len(open) == 0 || l < top {
			top = l
		}
		open = append(open, f)
	}
	if len(open) == 0 {
		*budget--
		return *budget >= 0
	}
	for _, value := range []bool{false, true} {
		half := make(symbolic.Word, len(open))
		for i, f := range open {
			half[i] = f
			if s.Level(f) == top && value {
				half[i] = s.High(f)
			} else if s.Level(f) == top {
				half[i] = s.Low(f)
			}
		}
		if !x.tellable(half, budget) {
			return false
		}
	}
	return true
}
