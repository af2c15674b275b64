package bdd

// Together calls each with every pair of terminals that f and g have at one
// point, until it returns false. It makes no functions, and may call each more
// than once with a pair. It takes O(nodes of f × nodes of g) at worst, as long as
// the cache holds.
func (m *Manager) Together(f, g Ref, each func(a, b Ref) bool) {
	m.together(m.newKey(), f, g, each)
}

func (m *Manager) together(key uint32, f, g Ref, each func(a, b Ref) bool) bool {
	a, b := m.nodes.at(f), m.nodes.at(g)
	l := min(a.level, b.level)
	if l == terminalLevel {
		return each(f, g)
	}
	if _, met := m.binary.get(key, f, g); met {
		return true
	}
	m.step()
	m.binary.put(key, f, g, False)
	fLow, fHigh, gLow, gHigh := f, f, g, g
	if a.level == l {
		fLow, fHigh = a.low, a.high
	}
	if b.level == l {
		gLow, gHigh = b.low, b.high
	}
	return m.together(key, fLow, gLow, each) && m.together(key, fHigh, gHigh, each)
}
