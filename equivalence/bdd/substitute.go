package bdd

// Mapping is a unary operation that maps the terminals of a function. Make one
// with [Manager.NewMapping].
type Mapping struct {
	manager    *Manager
	key        uint32 // identity in the cache
	terminal   func(value uint32) Ref
	known      map[uint32]Ref
	generation int
}

// NewMapping makes a mapping that puts terminal(value) in the place of each
// terminal. The result may be any function, and must be the same each time:
// terminal is asked once for each value.
func (m *Manager) NewMapping(terminal func(value uint32) Ref) *Mapping {
	return &Mapping{manager: m, key: m.newKey(), terminal: terminal, known: map[uint32]Ref{}, generation: m.generation}
}

// Map returns f with its terminals mapped. Results are remembered from call to
// call of one Mapping. It takes O(nodes of f) when terminals become terminals;
// otherwise an ITE for each node whose branches reach above it.
func (m *Manager) Map(mp *Mapping, f Ref) Ref {
	if mp.manager != m {
		panic("bdd: the mapping is of another Manager")
	}
	if mp.generation != m.generation {
		clear(mp.known)
		mp.generation = m.generation
	}
	return m.mapped(mp, f)
}

func (m *Manager) mapped(mp *Mapping, f Ref) Ref {
	n := *m.nodes.at(f)
	if n.level == terminalLevel {
		r, ok := mp.known[uint32(n.low)]
		if !ok {
			r = mp.terminal(uint32(n.low))
			mp.known[uint32(n.low)] = r
		}
		return r
	}
	if r, ok := m.binary.get(mp.key, f, 0); ok {
		return r
	}
	m.step()
	low := m.mapped(mp, n.low)
	high := m.mapped(mp, n.high)
	r := m.branch(n.level, low, high)
	m.binary.put(mp.key, f, 0, r)
	return r
}

// Substitution replaces variables by Boolean functions and terminals by
// functions, all at once: what is put in is not substituted again. Make one with
// [Manager.NewSubstitution].
type Substitution struct {
	manager    *Manager
	variable   func(l Level) (Ref, bool)
	terminal   func(value uint32) Ref
	variables  map[Level]Ref
	known      map[Ref]Ref
	generation int
}

// NewSubstitution makes a substitution. variable returns what replaces the
// variable of a level; where ok is false the variable stays. terminal returns
// what replaces a terminal; nil leaves all terminals. Each is asked once for
// each level and value.
func (m *Manager) NewSubstitution(variable func(l Level) (Ref, bool), terminal func(value uint32) Ref) *Substitution {
	return &Substitution{
		manager: m, variable: variable, terminal: terminal,
		variables: map[Level]Ref{}, known: map[Ref]Ref{}, generation: m.generation,
	}
}

// Substitute returns f with its variables and terminals replaced. Every result
// is remembered for as long as the Substitution is: it holds about 16 bytes for
// each node it met. It takes an ITE for each node of f, which is O(1) where the
// variable stays, or becomes a constant, and the branches do not reach above it.
func (m *Manager) Substitute(s *Substitution, f Ref) Ref {
	if s.manager != m {
		panic("bdd: the substitution is of another Manager")
	}
	if s.generation != m.generation {
		clear(s.variables)
		clear(s.known)
		s.generation = m.generation
	}
	return m.substituted(s, f)
}

func (m *Manager) substituted(s *Substitution, f Ref) Ref {
	n := *m.nodes.at(f)
	if n.level == terminalLevel && s.terminal == nil {
		return f
	}
	if r, ok := s.known[f]; ok {
		return r
	}
	var r Ref
	if n.level == terminalLevel {
		r = s.terminal(uint32(n.low))
	} else {
		r = m.substitutedNode(s, n)
	}
	s.known[f] = r
	return r
}

func (m *Manager) substitutedNode(s *Substitution, n node) Ref {
	v, ok := s.variables[n.level]
	if !ok {
		if v, ok = s.variable(n.level); !ok {
			v = hole // the variable stays
		}
		s.variables[n.level] = v
	}
	switch v {
	case False:
		return m.substituted(s, n.low)
	case True:
		return m.substituted(s, n.high)
	}
	m.step()
	low := m.substituted(s, n.low)
	high := m.substituted(s, n.high)
	if v == hole {
		return m.branch(n.level, low, high)
	}
	return m.ITE(v, high, low)
}

// Restrict returns f with the variables that value knows set to what it says.
// Where ok is false the variable stays. It takes O(nodes of f).
func (m *Manager) Restrict(f Ref, value func(l Level) (set, ok bool)) Ref {
	return m.Substitute(m.NewSubstitution(func(l Level) (Ref, bool) {
		set, ok := value(l)
		if set {
			return True, ok
		}
		return False, ok
	}, nil), f)
}

// Exists returns where the Boolean function f can be True with some values of
// the variables that quantify names. It may take exponential time in their
// number.
func (m *Manager) Exists(f Ref, quantify func(l Level) bool) Ref {
	return m.exists(map[Ref]Ref{}, f, quantify)
}

func (m *Manager) exists(known map[Ref]Ref, f Ref, quantify func(l Level) bool) Ref {
	n := *m.nodes.at(f)
	if n.level == terminalLevel {
		return f
	}
	if r, ok := known[f]; ok {
		return r
	}
	r := m.exists(known, n.low, quantify)
	if !quantify(n.level) {
		r = m.make(n.level, r, m.exists(known, n.high, quantify))
	} else if r != True {
		r = m.Or(r, m.exists(known, n.high, quantify))
	}
	known[f] = r
	return r
}
