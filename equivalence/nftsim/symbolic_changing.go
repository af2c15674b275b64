package nftsim

import (
	"fmt"
	"slices"
	"time"

	"nftmigrate/equivalence/symbolic"
)

// changing is what is known of a set that packets change, or time.
type changing struct {
	asked bool // some rule looks into it
	// program are the instructions that remember, of every element; unlike says
	// that elements have unlike ones.
	program []Instruction
	begun   bool
	// life is how long elements live that packets add, nanoseconds.
	life   int64
	unlike bool
}

// meets notes the instructions of some elements.
func (c *changing) meets(list []Instruction) {
	var program []Instruction
	for _, i := range list {
		if remembers(i) {
			program = append(program, i)
		}
	}
	if !c.begun {
		c.program, c.begun = program, true
	}
	same := slices.EqualFunc(c.program, program, func(a, b Instruction) bool { return a.String() == b.String() })
	c.unlike = c.unlike || !same
}

// changingSets are the sets that packets add to or delete from, and those whose
// elements run out.
func (m *Machine) changingSets() map[*Set]*changing {
	list := map[*Set]*changing{}
	note := func(s *Set) *changing {
		if list[s] == nil {
			list[s] = &changing{}
			for _, e := range s.Elements {
				list[s].meets(e.Exprs)
			}
		}
		return list[s]
	}
	for _, t := range m.Tables {
		for _, s := range t.Sets {
			if slices.ContainsFunc(s.Elements, func(e *Element) bool { return e.Expires != 0 }) {
				note(s)
			}
		}
	}
	rules := m.Rules()
	for _, r := range rules {
		for _, i := range r.Instructions {
			if d, ok := i.(*Dynset); ok {
				c := note(d.Set)
				if d.Op != DynsetDelete {
					c.unlike = c.unlike || c.life != 0 && c.life != d.life() && len(d.program()) > 0
					c.life = d.life()
					c.meets(d.program())
				}
			}
		}
	}
	for _, r := range rules {
		for _, i := range r.Instructions {
			if l, ok := i.(*Lookup); ok && list[l.Set] != nil {
				list[l.Set].asked = true
			}
		}
	}
	return list
}

// member describes whether a set holds a key, with the data of a map.
func (s *Set) member(key string, reads []symbolic.Group) (instanceID, symbolic.Instance) {
	width := 1
	if s.Flags&setMap != 0 {
		width += 8 * s.DataLen
	}
	return instanceID{set: s, nth: membership, key: key}, symbolic.Instance{
		Kind: "set membership", Parameters: s.words(), Key: key, Width: width, Lasts: time.Duration(s.Timeout), Reads: reads,
	}
}

// reads lists the groups on which a key depends.
func (c *compiler) reads(key symbolicKey) []symbolic.Group {
	var list []symbolic.Group
	for _, f := range c.keyBits(key) {
		for _, l := range c.space.Support(f) {
			if g, _, ok := symbolic.GroupOf(l); ok && !slices.Contains(list, g) {
				list = append(list, g)
			}
		}
	}
	return list
}

func (s *Set) words() string {
	return fmt.Sprintf("set %s timeout %dms size %d", s.Name, s.Timeout/1e6, s.Size)
}

// remember goes on with the stateful instructions that the elements of a set
// that packets change run for a key.
func (x *symbolicRun) remember(set *Set, key string) {
	c := x.changing[set]
	if c.unlike {
		x.undecided("elements of set " + set.Name + " run unlike instructions")
		return
	}
	var steps []symbolicStep
	for n, i := range c.program {
		steps = append(steps, owned(owner{set: set, nth: n, key: key, life: c.life}, i))
	}
	x.before(steps)
}

// touched is an effect behind which a set may hold other keys.
func (x *symbolicRun) touched(e symbolic.Effect, set *Set) symbolic.Effect {
	for _, id := range x.machine.asked[x.space.Version] {
		if id.set == set && id.nth == membership {
			e = x.space.MoveOn(e, x.slots[id])
		}
	}
	return e
}
