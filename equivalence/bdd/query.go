package bdd

import (
	"fmt"
	"math/big"
	"slices"
)

// Eval returns the value of f at one point, in O(depth of f). value gives the
// variables of the point.
func (m *Manager) Eval(f Ref, value func(l Level) bool) uint32 {
	n := *m.nodes.at(f)
	for n.level != terminalLevel {
		if value(n.level) {
			n = *m.nodes.at(n.high)
		} else {
			n = *m.nodes.at(n.low)
		}
	}
	return uint32(n.low)
}

// walk calls visit once with each node of some functions.
func (m *Manager) walk(roots []Ref, visit func(n node)) {
	if len(m.walked) < m.nodes.length {
		m.walked = append(make([]uint32, 0, m.nodes.length*3/2), m.walked...)[:m.nodes.length*3/2]
	}
	if m.walks++; m.walks == 0 { // all numbers were used
		clear(m.walked)
		m.walks = 1
	}
	todo := m.todo[:0]
	for _, f := range roots {
		if m.walked[f] != m.walks {
			m.walked[f] = m.walks
			todo = append(todo, f)
		}
	}
	for len(todo) > 0 {
		n := *m.nodes.at(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		visit(n)
		if n.level == terminalLevel {
			continue
		}
		for _, g := range [...]Ref{n.low, n.high} {
			if m.walked[g] != m.walks {
				m.walked[g] = m.walks
				todo = append(todo, g)
			}
		}
	}
	m.todo = todo
}

// Count returns the number of nodes of f, terminals included, in O(nodes of f).
func (m *Manager) Count(f Ref) int {
	count := 0
	m.walk([]Ref{f}, func(node) { count++ })
	return count
}

// Support returns the levels of the variables that some of the functions depend
// on, ascending, in O(nodes).
func (m *Manager) Support(functions ...Ref) []Level {
	seen := map[Level]bool{}
	var levels []Level
	m.walk(functions, func(n node) {
		if n.level != terminalLevel && !seen[n.level] {
			seen[n.level] = true
			levels = append(levels, n.level)
		}
	})
	slices.Sort(levels)
	return levels
}

// Terminals returns the values that the functions take, ascending, in O(nodes).
func (m *Manager) Terminals(functions ...Ref) []uint32 {
	var values []uint32
	m.walk(functions, func(n node) {
		if n.level == terminalLevel {
			values = append(values, uint32(n.low))
		}
	})
	slices.Sort(values)
	return values
}

// Where returns where f has a value, as a Boolean function.
func (m *Manager) Where(f Ref, value uint32) Ref {
	return m.Map(m.NewMapping(func(v uint32) Ref {
		if v == value {
			return True
		}
		return False
	}), f)
}

// Reach returns both Support and Terminals of a function.
func (m *Manager) Reach(f Ref) (levels []Level, values []uint32) {
	m.walk([]Ref{f}, func(n node) {
		if n.level == terminalLevel {
			values = append(values, uint32(n.low))
		} else {
			levels = append(levels, n.level)
		}
	})
	slices.Sort(levels)
	slices.Sort(values)
	return slices.Compact(levels), values
}

// SatCount returns how many assignments of the variables of levels make the
// Boolean function f True. A level given twice counts once. It panics when f
// depends on another variable, or has other terminals. It takes O(nodes of f)
// additions of numbers of len(levels) bits.
func (m *Manager) SatCount(f Ref, levels []Level) *big.Int {
	levels = slices.Clone(levels)
	slices.Sort(levels)
	levels = slices.Compact(levels)
	c := counter{m: m, place: map[Level]uint{terminalLevel: uint(len(levels))}, known: map[Ref]*big.Int{}}
	for i, l := range levels {
		c.place[l] = uint(i)
	}
	count := c.count(f)
	return new(big.Int).Lsh(count, c.placeOf(f))
}

// counter counts satisfying assignments.
type counter struct {
	m     *Manager
	place map[Level]uint // of each variable in the order
	known map[Ref]*big.Int
}

// placeOf returns the place of the first variable of f.
func (c *counter) placeOf(f Ref) uint {
	l := c.m.nodes.at(f).level
	place, ok := c.place[l]
	if !ok {
		panic(fmt.Sprintf("bdd: SatCount of a function that depends on the level %d, which is not counted", l))
	}
	return place
}

// count counts the assignments of the variables from the first one of f on.
func (c *counter) count(f Ref) *big.Int {
	n := *c.m.nodes.at(f)
	if n.level == terminalLevel {
		c.m.mustBoolean("SatCount", f)
		return big.NewInt(int64(n.low))
	}
	if r, ok := c.known[f]; ok {
		return r
	}
	below := c.placeOf(f) + 1
	r := new(big.Int).Lsh(c.count(n.low), c.placeOf(n.low)-below)
	r.Add(r, new(big.Int).Lsh(c.count(n.high), c.placeOf(n.high)-below))
	c.known[f] = r
	return r
}

func (m *Manager) mustBoolean(what string, terminal Ref) {
	if terminal != False && terminal != True {
		panic(fmt.Sprintf("bdd: %s of a function with the terminal %d", what, m.nodes.at(terminal).low))
	}
}

// Pick returns one path of the Boolean function f that ends in True, as the
// values of the variables on it; the other variables may have any values. prefer
// says which branch of a variable to take when both will do, and nil is low
// always. ok is false when f is False. It takes O(depth of f).
func (m *Manager) Pick(f Ref, prefer func(l Level) bool) (path map[Level]bool, ok bool) {
	if f == False {
		return nil, false
	}
	path = map[Level]bool{}
	for !m.IsTerminal(f) {
		n := *m.nodes.at(f)
		high := prefer != nil && prefer(n.level)
		if high && n.high == False || !high && n.low == False {
			high = !high
		}
		path[n.level] = high
		if high {
			f = n.high
		} else {
			f = n.low
		}
	}
	m.mustBoolean("Pick", f)
	return path, true
}
