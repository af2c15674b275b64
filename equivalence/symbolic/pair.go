package symbolic

import "slices"

// A Pairing says which instances of two sides are the same state.
type Pairing struct {
	// All are the instances of a space; the slots of both sides point into it.
	All  []Instance
	A, B []Slot
	// Alone lists instances of either side that have no counterpart.
	AloneA, AloneB []Slot
	// Loose are the codes of deviations under which pairs differ.
	Loose []string
}

// Pair pairs the instances of two sides: those of one description in the order
// in which packets meet them, and then, where accepts takes the deviation, those
// that are alike but for numbers. What is left over is a state of its own, so
// that asking it is a difference; so is what needs a deviation that accepts does
// not take.
func Pair(a, b []Instance, accepts func(code string) bool) *Pairing {
	p := &Pairing{A: make([]Slot, len(a)), B: make([]Slot, len(b))}
	taken := make([]bool, len(b))
	partner := make([]int, len(a))
	for i := range partner {
		partner[i] = -1
	}
	match := func(same func(x, y *Instance) bool) {
		for i := range a {
			if partner[i] >= 0 || slices.ContainsFunc(a[i].Needs, func(code string) bool { return !accepts(code) }) {
				continue
			}
			key := a[i].Kind + "\x00" + a[i].Key
			for j := range b {
				if !taken[j] && b[j].Kind+"\x00"+b[j].Key == key && a[i].Width == b[j].Width && same(&a[i], &b[j]) {
					partner[i], taken[j] = j, true
					break
				}
			}
		}
	}
	match(func(x, y *Instance) bool { return x.Parameters == y.Parameters && x.Below == y.Below })
	match(func(x, y *Instance) bool {
		loose := x.Loose != "" && x.Loose == y.Loose && accepts(x.Loose)
		if loose {
			p.Loose = append(p.Loose, x.Loose)
		}
		return loose
	})
	for i := range a {
		p.A[i] = Slot(len(p.All))
		p.All = append(p.All, a[i])
		if j := partner[i]; j >= 0 {
			p.B[j] = p.A[i]
		} else {
			p.AloneA = append(p.AloneA, p.A[i])
		}
	}
	for j := range b {
		if !taken[j] {
			p.B[j] = Slot(len(p.All))
			p.All = append(p.All, b[j])
			p.AloneB = append(p.AloneB, p.B[j])
		}
	}
	return p
}
