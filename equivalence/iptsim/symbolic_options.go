package iptsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// optionsOf returns the list of options that a predicate asks for.
func optionsOf(p predicate.Predicate) (predicate.HeaderOptions, bool) {
	state, _ := p.(predicate.Stateful)
	o, ok := state.Instance.(predicate.HeaderOptions)
	return o, ok
}

// headerOptions is the function of a list of options of an IPv6 header. Of one that
// does not stand right behind the IPv6 header the bytes are not told.
//
// Kernel: net/ipv6/netfilter/ip6t_hbh.c.
func (c *compiler) headerOptions(o predicate.HeaderOptions, what string) bdd.Ref {
	s := c.space
	there := c.extension(predicate.Header(o.Header, 0), 0)
	open := 0 // options behind which the next can be anywhere
	for _, want := range o.List[:max(len(o.List)-1, 0)] {
		if want.Type != 0 && !want.Sized {
			open++
		}
	}
	if !there.known || o.Header != protoHopByHop || open > 1 {
		return c.unsure(what)
	}
	walk := &optionsWalk{c, o.List, map[[2]int]optionsAnswer{}}
	const before = 2
	answer := walk.from(0, before)
	begins := s.FirstExtension(o.Header)
	lost := s.And(there.present, s.Or(s.Not(begins), answer.unknown))
	holds := s.ITE(s.And(there.present, answer.yes), s.Next(), c.skip(symbolic.NoEffect))
	return s.ITE(lost, c.unsure(what), holds)
}

// An optionsWalk looks at the options of the header right behind that of IPv6.
type optionsWalk struct {
	*compiler
	list []predicate.HeaderOption
	met  map[[2]int]optionsAnswer
}

// An optionsAnswer says where the rest of a list is there, and where that is not
// told.
type optionsAnswer struct{ yes, unknown bdd.Ref }

// from is the answer for the options from the n-th on, the first of which is at an
// offset of the header.
func (w *optionsWalk) from(n, offset int) optionsAnswer {
	if n == len(w.list) {
		return optionsAnswer{bdd.True, bdd.False}
	}
	at := [2]int{n, offset}
	if a, ok := w.met[at]; ok {
		return a
	}
	a := w.option(n, offset)
	w.met[at] = a
	return a
}

func (w *optionsWalk) option(n, offset int) optionsAnswer {
	s, want, last := w.space, w.list[n], n == len(w.list)-1
	kind, there, ok := w.byteAt(offset)
	if !ok {
		return optionsAnswer{bdd.False, w.left(offset + 1)}
	}
	here := s.All(w.left(offset+1), there, s.Number(kind, uint64(want.Type)))
	under := func(where bdd.Ref, a optionsAnswer) optionsAnswer {
		return optionsAnswer{s.And(where, a.yes), s.And(where, a.unknown)}
	}
	if want.Type == 0 {
		return under(here, w.from(n+1, offset+1))
	}
	length, there, ok := w.byteAt(offset + 1)
	if !ok {
		return optionsAnswer{bdd.False, s.And(here, w.left(offset+2))}
	}
	here = s.All(here, w.left(offset+2), there)
	const head, most = 2, 256
	all := optionsAnswer{bdd.False, bdd.False}
	for size := range most {
		switch {
		case want.Sized && size != int(want.Length):
			continue
		case last && want.Sized:
			return under(s.And(here, s.Number(length, uint64(size))), w.from(n+1, 0))
		case last:
			return under(here, w.from(n+1, 0))
		}
		next := offset + head + size
		a := under(s.All(here, s.Number(length, uint64(size)), w.left(next)), w.from(n+1, next))
		all.yes, all.unknown = s.Or(all.yes, a.yes), s.Or(all.unknown, a.unknown)
	}
	return all
}

// byteAt is a byte of the header, and whether the packet has it.
func (w *optionsWalk) byteAt(offset int) (symbolic.Word, bdd.Ref, bool) {
	const header = 40
	return w.space.Packet(header+offset, 1)
}

// left holds when the header, by its own length, has so many bytes.
func (w *optionsWalk) left(bytes int) bdd.Ref {
	length, _, _ := w.byteAt(1)
	const unit, most = 8, 255
	units := (bytes+unit-1)/unit - 1
	if units > most {
		return bdd.False
	}
	return w.between(symbolicField{word: length}, predicate.Number(uint64(units)), predicate.Number(most))
}
