package bdd

// Copy returns the function that f, of another Manager, is: with the same levels
// and values. It takes O(nodes of f).
func (m *Manager) Copy(from *Manager, f Ref) Ref {
	known := map[Ref]Ref{}
	var copied func(f Ref) Ref
	copied = func(f Ref) Ref {
		if r, ok := known[f]; ok {
			return r
		}
		n := *from.nodes.at(f)
		var r Ref
		if n.level == terminalLevel {
			r = m.Terminal(uint32(n.low))
		} else {
			low := copied(n.low)
			r = m.make(n.level, low, copied(n.high))
		}
		known[f] = r
		return r
	}
	return copied(f)
}
