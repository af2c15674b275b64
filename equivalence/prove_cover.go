package equivalence

import (
	"nftmigrate/equivalence/bdd"
)

// cover lists paths through a function, as assignments: to each terminal that it
// has but one, and through both sides of each decision, as long as there are no
// more than most. rest is the terminal to stay away from.
func cover(m *bdd.Manager, f, rest bdd.Ref, most int) []map[bdd.Level]bool {
	c := &covering{m: m, rest: rest, to: map[bdd.Ref]step{}}
	if c.reach(f); f == rest {
		return nil
	}
	var list []map[bdd.Level]bool
	for _, whole := range []bool{false, true} {
		seen := map[bdd.Ref]bool{}
		ends := map[bdd.Ref]bool{}
		var visit func(f bdd.Ref, before []bdd.Literal)
		visit = func(f bdd.Ref, before []bdd.Literal) {
			if len(list) >= most || seen[f] || m.IsTerminal(f) {
				return
			}
			seen[f] = true
			for _, value := range []bool{false, true} {
				next := m.Low(f)
				if value {
					next = m.High(f)
				}
				if c.to[next].lost {
					continue
				}
				path := append(before[:len(before):len(before)], bdd.Literal{Level: m.Level(f), Value: value})
				visit(next, path)
				// The first time round, only new ends; then every edge.
				end := c.end(next)
				if whole && m.IsTerminal(next) || !whole && ends[end] || len(list) >= most {
					continue
				}
				if whole || m.IsTerminal(next) {
					ends[end] = true
					list = append(list, c.complete(path, next))
				}
			}
		}
		visit(f, nil)
	}
	return list
}

// covering knows for each function how to come to a terminal.
type covering struct {
	m    *bdd.Manager
	rest bdd.Ref
	to   map[bdd.Ref]step
}

// A step is the way on to a terminal other than rest; lost says that there is
// none.
type step struct {
	high, lost bool
}

func (c *covering) reach(f bdd.Ref) step {
	if s, ok := c.to[f]; ok {
		return s
	}
	var s step
	switch {
	case c.m.IsTerminal(f):
		s.lost = f == c.rest
	case c.reach(c.m.Low(f)).lost:
		s.high = true
		s.lost = c.reach(c.m.High(f)).lost
	default:
		c.reach(c.m.High(f))
	}
	c.to[f] = s
	return s
}

// end is the terminal to which the way on leads.
func (c *covering) end(f bdd.Ref) bdd.Ref {
	for !c.m.IsTerminal(f) {
		if c.to[f].high {
			f = c.m.High(f)
		} else {
			f = c.m.Low(f)
		}
	}
	return f
}

// complete follows the way on behind a path.
func (c *covering) complete(path []bdd.Literal, f bdd.Ref) map[bdd.Level]bool {
	out := make(map[bdd.Level]bool, len(path)+8)
	for _, l := range path {
		out[l.Level] = l.Value
	}
	for !c.m.IsTerminal(f) {
		high := c.to[f].high
		out[c.m.Level(f)] = high
		if high {
			f = c.m.High(f)
		} else {
			f = c.m.Low(f)
		}
	}
	return out
}
