package predicate

// Eval evaluates a predicate on a packet. scope names the place of the match
// (table, chain, rule, match) and separates the states of instances that are
// private to it.
func Eval(p Predicate, r Reader, scope string) Truth { return p.eval(r, scope) }

func (p Const) eval(Reader, string) Truth { return Of(bool(p)) }

func (p All) eval(r Reader, scope string) Truth {
	result := Yes
	for _, part := range p {
		switch part.eval(r, scope) {
		case No:
			return No
		case Unknown:
			result = Unknown
		}
	}
	return result
}

func (p Any) eval(r Reader, scope string) Truth {
	result := No
	for _, part := range p {
		switch part.eval(r, scope) {
		case Yes:
			return Yes
		case Unknown:
			result = Unknown
		}
	}
	return result
}

func (p Not) eval(r Reader, scope string) Truth {
	switch p.P.eval(r, scope) {
	case Yes:
		return No
	case No:
		return Yes
	}
	return Unknown
}

func (p Between) eval(r Reader, _ string) Truth {
	v, present := r.Field(p.Field)
	if present != Yes {
		return present
	}
	return Of(!v.Less(p.Low) && !p.High.Less(v))
}

func (p Masked) eval(r Reader, _ string) Truth {
	v, present := r.Field(p.Field)
	if present != Yes {
		return present
	}
	return Of(v.And(p.Mask) == p.Value)
}

func (p In) eval(r Reader, _ string) Truth {
	v, present := r.Field(p.Field)
	if present != Yes {
		return present
	}
	for _, s := range p.Spans {
		if !v.Less(s.Low) && !s.High.Less(v) {
			return Yes
		}
	}
	return No
}

func (p Present) eval(r Reader, _ string) Truth {
	_, present := r.Field(p.Field)
	return present
}

func (p Stateful) eval(r Reader, scope string) Truth { return p.Instance.Ask(r, scope) }

func (Unmodelled) eval(Reader, string) Truth { return Unknown }

func (p SetLabel) eval(r Reader, _ string) Truth {
	if labels, ok := r.(interface{ SetLabel(bit uint8) bool }); ok {
		return Of(labels.SetLabel(p.Bit))
	}
	return Unknown
}
