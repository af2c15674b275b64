package predicate

import (
	"fmt"
	"strings"
	"time"
)

// ChangingMember is [Member] of a set that changes: whose elements run out, or
// that packets add to and delete from.
//
// Kernel: net/netfilter/ipset/ip_set_hash_gen.h, mtype_test, mtype_add and
// mtype_del.
type ChangingMember struct {
	Member
	// Part names the part of the set: elements of different parts are never the
	// same.
	Part string
	// Timed are elements that are there at first and run out, each with its
	// values as [SetKey] packs them.
	Timed []TimedElement
	// Most is how many elements the set can hold, Count how many it holds at
	// first; Most 0 is any number.
	Most, Count int
}

// A TimedElement is an element that runs out.
type TimedElement struct {
	Key  string
	Life time.Duration
}

var _ Loader = ChangingMember{}

// SetKey packs the values of the fields of an element.
func SetKey(values []Bits) string {
	var b strings.Builder
	for _, v := range values {
		bytes := v.Bytes()
		b.Write(bytes[:])
	}
	return b.String()
}

// setState is what packets made of a set.
type setState struct {
	loaded  map[string]bool // parts
	entries map[string]setEntry
	more    int // elements beyond those of the file
	unsure  bool
}

// A setEntry stands before the elements of the file.
type setEntry struct {
	there   bool
	expires int64 // nanoseconds, 0 for never
}

// Identity is the set.
func (m ChangingMember) Identity() string { return "ipset " + m.Name }

// Describe says the fields and the set.
func (m ChangingMember) Describe() string { return m.Member.String() + ", which changes" }

// Keys are the fields.
func (m ChangingMember) Keys() []Field { return m.Fields }

func (m ChangingMember) state(s *States) *setState {
	return Get(s, m.Identity(), func() *setState {
		return &setState{loaded: map[string]bool{}, entries: map[string]setEntry{}}
	})
}

// Load brings the elements that run out into the state.
func (m ChangingMember) Load(s *States) {
	state := m.state(s)
	if state.loaded[m.Part] {
		return
	}
	state.loaded[m.Part] = true
	for _, e := range m.Timed {
		state.entries[m.Part+e.Key] = setEntry{there: true, expires: int64(e.Life)}
	}
}

// key reads the fields of a packet.
func (m ChangingMember) key(r Reader) (key string, values []Bits, present Truth) {
	values = make([]Bits, len(m.Fields))
	for i, f := range m.Fields {
		v, present := r.Field(f)
		if present != Yes {
			return "", nil, present
		}
		if m.Masks != nil {
			v = v.And(m.Masks[i])
		}
		values[i] = v
	}
	return m.Part + SetKey(values), values, Yes
}

// there says whether an element is in the set now.
func (m ChangingMember) there(r Reader, state *setState, key string, values []Bits) bool {
	e, ok := state.entries[key]
	if !ok {
		at := m.Spans
		for _, v := range values {
			if len(at.First) > 0 {
				at = at.At(v)
			}
		}
		return at.Holds
	}
	if e.there && e.expires != 0 {
		age := r.Now() - e.expires
		state.unsure = state.unsure || max(age, -age) <= setSlack
	}
	return e.there && (e.expires == 0 || r.Now() < e.expires)
}

// setSlack is by how much the clocks of a kernel and of this machine may differ:
// timeouts of ipset are in ticks.
const setSlack = int64(300 * time.Millisecond)

// Ask says whether the packet makes an element.
func (m ChangingMember) Ask(r Reader, _ string) Truth {
	key, values, present := m.key(r)
	if present != Yes {
		return present
	}
	m.Load(r.States())
	state := m.state(r.States())
	holds := m.there(r, state, key, values)
	if state.unsure {
		doubt(r)
	}
	return Of(holds)
}

// A SetChange is what a packet does to a set.
type SetChange struct {
	Name   string
	Source []bool // of each dimension: the source side, else the destination side
	Delete bool
	// Exist renews an element that is there.
	Exist bool
	// Timeout is how long an element lives that is added, 0 for ever; nil is the
	// default of the set.
	Timeout *time.Duration
	// Parts are what the machine makes of it: the first whose condition holds is
	// changed. Unmodelled says why there are none.
	Parts      []SetPart
	Unmodelled string
}

// A SetPart is a part of a set with the packets that are about it.
type SetPart struct {
	When   Predicate
	Member ChangingMember
	Life   time.Duration // of elements that are added
}

func (SetChange) effect() {}

// Change carries out a change; unknown says what is not modelled.
func (c SetChange) Change(r Reader) (unknown string) {
	if c.Unmodelled != "" {
		return c.Unmodelled
	}
	for _, p := range c.Parts {
		switch Eval(p.When, r, "") {
		case Unknown:
			return "set " + c.Name
		case No:
			continue
		}
		m := p.Member
		m.Load(r.States())
		key, values, present := m.key(r)
		if present != Yes {
			return ""
		}
		state := m.state(r.States())
		there := m.there(r, state, key, values)
		switch {
		case c.Delete && there:
			state.entries[key] = setEntry{}
			state.more--
		case c.Delete || there && !c.Exist:
		case !there && m.Most > 0 && m.Count+state.more >= m.Most:
			// Full; elements that ran out may not be collected yet.
			return fmt.Sprintf("whether set %s is full", m.Name)
		default:
			if !there {
				state.more++
			}
			e := setEntry{there: true}
			if p.Life != 0 {
				e.expires = r.Now() + int64(p.Life)
			}
			state.entries[key] = e
		}
		return ""
	}
	return ""
}
