package iptsim

import (
	"encoding/binary"
	"sort"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// A memberKey is spans about some words.
type memberKey struct {
	spans      *predicate.Spans
	words      string
	generation int
}

// member is the function of membership of a set.
func (c *compiler) member(p predicate.Member) (f bdd.Ref, ok bool) {
	s := c.space
	present := bdd.True
	words := make([]symbolic.Word, len(p.Fields))
	for i, field := range p.Fields {
		v := c.field(field)
		if !v.known || v.scale != 0 {
			return 0, false
		}
		present = s.And(present, v.present)
		words[i] = v.word
		if p.Masks != nil {
			words[i] = maskedWord(v.word, p.Masks[i])
		}
	}
	return s.And(present, c.spans(p.Spans, words)), true
}

func maskedWord(w symbolic.Word, mask predicate.Bits) symbolic.Word {
	out := make(symbolic.Word, len(w))
	for i := range w {
		if out[i] = bdd.False; bitOf(mask, len(w)-1-i) {
			out[i] = w[i]
		}
	}
	return out
}

// spans is where words lead to yes. It takes as long as there are spans, and
// makes those that are shared once.
func (c *compiler) spans(p *predicate.Spans, words []symbolic.Word) bdd.Ref {
	if len(p.First) == 0 {
		if p.Holds {
			return bdd.True
		}
		return bdd.False
	}
	var text []byte
	for _, w := range words {
		text = binary.AppendUvarint(text, uint64(len(w)))
		for _, f := range w {
			text = binary.NativeEndian.AppendUint32(text, uint32(f))
		}
	}
	key := memberKey{p, string(text), c.space.Generation()}
	if f, ok := c.members[key]; ok {
		return f
	}
	w := words[0]
	value := func(i int) bdd.Ref { return c.spans(p.Next[i], words[1:]) }
	var find func(from, to, bit int, before bdd.Ref) bdd.Ref
	find = func(from, to, bit int, before bdd.Ref) bdd.Ref {
		if from == to {
			return before
		}
		place := len(w) - 1 - bit
		if place < 0 {
			return value(to - 1)
		}
		ones := from + sort.Search(to-from, func(i int) bool { return bitOf(p.First[from+i], place) })
		if w[bit] == bdd.False {
			return find(from, ones, bit+1, before)
		}
		last := before
		if ones > from {
			last = value(ones - 1)
		}
		high := find(ones, to, bit+1, last)
		if w[bit] == bdd.True {
			return high
		}
		return c.space.ITE(w[bit], high, find(from, ones, bit+1, before))
	}
	f := find(0, len(p.First), 0, bdd.False)
	if c.members == nil {
		c.members = map[memberKey]bdd.Ref{}
	}
	c.members[key] = f
	return f
}
