package iptables

import (
	"reflect"
	"strings"
)

// A mould is a match or target that is filled by the options of one rule after another,
// and of which each rule gets a copy. So its options are bound once: a list of them for
// every use is the larger part of what reading rules would allocate.
type mould struct {
	match  Match  // or nil
	target Target // or nil

	options Options
	value   reflect.Value // what match or target points to
	fresh   reflect.Value // as it was before any option
	copies  reflect.Value // a slice of unused ones
	inUse   bool          // the line that is being read fills it
}

// mostCopies is how many copies are allocated at a time.
const mostCopies = 64

// newMould returns a mould of a match or target. It is nil for what is not a pointer to
// a struct, which could not be copied.
func newMould(match Match, target Target) *mould {
	m := &mould{match: match, target: target}
	if match != nil {
		m.options, m.value = match.Options(), reflect.ValueOf(match)
	} else {
		m.options, m.value = target.Options(), reflect.ValueOf(target)
	}
	if m.value.Kind() != reflect.Pointer || m.value.Elem().Kind() != reflect.Struct {
		return nil
	}
	m.value = m.value.Elem()
	m.fresh = reflect.New(m.value.Type()).Elem()
	m.fresh.Set(m.value)
	m.copies = reflect.MakeSlice(reflect.SliceOf(m.value.Type()), 1, 1)
	return m
}

// empty makes the mould ready for another line.
func (m *mould) empty() {
	m.value.Set(m.fresh)
	m.inUse = false
}

// cast returns a copy: a pointer to it.
func (m *mould) cast() any {
	if m.copies.Len() == 0 {
		n := min(2*m.copies.Cap(), mostCopies)
		m.copies = reflect.MakeSlice(m.copies.Type(), n, n)
	}
	c := m.copies.Index(m.copies.Len() - 1)
	m.copies = m.copies.Slice(0, m.copies.Len()-1)
	c.Set(m.value)
	return c.Addr().Interface()
}

// A mouldKey names an extension as a rule does.
type mouldKey struct {
	name   string
	target bool
}

// mouldOf returns the mould of an extension that is there, or nil when there is none, or
// the line uses it already. Sessions have none, since what they read is read in pieces.
func (p *parser) mouldOf(name string, target bool) *mould {
	if p.session {
		return nil
	}
	m, known := p.moulds[mouldKey{name, target}]
	if !known {
		if target {
			if t := p.reg.NewTarget(p.family, name); t != nil {
				m = newMould(nil, t)
			}
		} else if match := p.reg.NewMatch(p.family, name); match != nil {
			m = newMould(match, nil)
		}
		if m == nil {
			return nil
		}
		if p.moulds == nil {
			p.moulds = make(map[mouldKey]*mould)
		}
		p.moulds[mouldKey{strings.Clone(name), target}] = m
	}
	if m.inUse {
		return nil
	}
	m.inUse = true
	p.filled = append(p.filled, m)
	return m
}

// newMatch returns the match of a name with its options, or nil when there is none.
func (p *parser) newMatch(name string) (Match, Options) {
	if m := p.mouldOf(name, false); m != nil {
		return m.match, m.options
	}
	if m := p.reg.NewMatch(p.family, name); m != nil {
		return m, m.Options()
	}
	return nil, nil
}

// newTarget returns the target of a name likewise.
func (p *parser) newTarget(name string) (Target, Options) {
	if m := p.mouldOf(name, true); m != nil {
		return m.target, m.options
	}
	if t := p.reg.NewTarget(p.family, name); t != nil {
		return t, t.Options()
	}
	return nil, nil
}

// cast gives the rule copies of what its options filled.
func (r *lineReader) cast() {
	for _, m := range r.p.filled {
		if m.target != nil {
			if r.rule.Action.Target == m.target {
				r.rule.Action.Target = m.cast().(Target)
			}
			continue
		}
		for i := range r.uses {
			if r.uses[i].Match == m.match {
				r.uses[i].Match = m.cast().(Match)
			}
		}
	}
	r.p.empty()
}

// empty makes the moulds ready for another line.
func (p *parser) empty() {
	for _, m := range p.filled {
		m.empty()
	}
	p.filled = p.filled[:0]
}
