package equivalence

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A Cover says a class in words: each packet of a cube is of the class, and the
// cubes may overlap. It speaks of packets whose transport header is whole (20
// bytes of TCP, 8 of others), when there are such in the class.
type Cover struct {
	Cubes []Cube
	// Cut says that there are also packets in the class with a transport header
	// that is cut off.
	Cut bool
	// Exact says that each packet of the class is in a cube, and that it is known
	// which packets are of the class: when it is not, the cubes are of all that
	// may.
	Exact bool
	// Rest is how many packets of the class no cube holds, nil when it was not
	// counted because a budget ran out.
	Rest *big.Int
}

// A Cube is the packets that fulfil some conditions, all of them.
type Cube struct {
	Conditions []Condition
	// Packets is how many packets of the class are in the cube.
	Packets *big.Int
}

// A Condition is what packets fulfil, such as that the destination port is 22 or
// 80 to 88.
type Condition struct {
	// Field is what is tested: "source", "destination port", "ct state".
	Field string
	// Values are single values, ranges, networks, or values under a mask, any of
	// which will do; with Not, all but these.
	Values []string
	Not    bool
	// Usual says that ordinary packets fulfil it: that a header is whole, or
	// that a packet with ports is no later fragment. Words leave it out.
	Usual bool

	words string
}

// String says a cube in words: "in eth0, tcp from 10.0.0.0/24 to port 22, ct
// state new".
func (c Cube) String() string {
	var words []string
	for _, t := range c.Conditions {
		if !t.Usual {
			words = append(words, t.String())
		}
	}
	if len(words) == 0 {
		return "all packets"
	}
	text := words[0]
	for _, w := range words[1:] {
		switch before, _, _ := strings.Cut(w, " "); before {
		case "from", "to":
			text += " " + w
		default:
			text += ", " + w
		}
	}
	return text
}

// String says a condition in words, of many values only some.
func (t Condition) String() string {
	const few = 8
	values := strings.Join(t.Values, ", ")
	switch n := len(t.Values); {
	case n > few:
		values = fmt.Sprintf("%s or %d others", strings.Join(t.Values[:few-2], ", "), n-few+2)
	case n > 1:
		values = strings.Join(t.Values[:n-1], ", ") + " or " + t.Values[n-1]
	}
	if t.Not {
		values = "any but " + values
	}
	return fmt.Sprintf(t.words, values)
}

// Words says a class in at most n cubes, the largest first. It can take the time
// of the analysis's options.
func (c Class) Words(n int) Cover {
	var cover Cover
	if c.Err() != nil {
		return cover
	}
	s := c.at.space
	_ = c.at.try(func() {
		w := newWording(c)
		cover.Cut = w.cut
		for len(cover.Cubes) < n && w.rest != bdd.False {
			cube, where := w.largest()
			cover.Cubes = append(cover.Cubes, cube)
			w.rest = s.Diff(w.rest, where)
		}
		cover.Rest = w.count(w.rest, w.levels)
		cover.Exact = w.rest == bdd.False && c.Exact()
	})
	return cover
}

// A wording is the search for cubes of a class.
type wording struct {
	*scope
	class, outside, rest bdd.Ref
	cut                  bool
	levels               []bdd.Level
	fields               []*field
	possible             map[*field]bdd.Ref // values that packets can have
}

func newWording(c Class) *wording {
	s := c.at.space
	w := &wording{scope: c.at, class: c.most, possible: map[*field]bdd.Ref{}}
	domain := c.at.domain
	if whole := s.And(c.most, c.at.whole()); whole != bdd.False {
		w.cut = whole != w.class
		w.class, domain = whole, s.And(domain, c.at.whole())
	}
	w.rest, w.outside = w.class, s.Diff(domain, w.class)
	w.levels = merged(c.at.levels, s.Support(w.class))
	w.fields = fieldsOf(s, merged(s.Support(w.class), s.Support(w.outside)))
	for _, f := range w.fields {
		if !f.bits {
			w.possible[f] = s.Exists(domain, func(l bdd.Level) bool { return !f.has(l) })
		}
	}
	return w
}

// whole is where the transport header is whole.
func (at *scope) whole() bdd.Ref {
	s := at.space
	bytes, tcp := s.Bits(symbolic.TransportBytes), s.Number(s.Bits(symbolic.Protocol), packet.TCP)
	least := func(n int64) bdd.Ref {
		return between(s, bytes, big.NewInt(n), big.NewInt(symbolic.MostTransportBytes))
	}
	const leastTCP, leastOther = 20, 8
	return s.ITE(tcp, least(leastTCP), least(leastOther))
}

// largest finds a large cube of the class that holds some of the rest.
func (w *wording) largest() (Cube, bdd.Ref) {
	s := w.space
	prefer := []func(bdd.Level) bool{nil, func(bdd.Level) bool { return true }}
	for i, st := range w.starts(w.hook, w.early) {
		if i%2 == 0 {
			prefer = append(prefer, st.usual)
		}
	}
	var best cubing
	var most *big.Int
	var said int // how many values the best one takes
	seen := map[bdd.Ref]bool{}
	for _, p := range prefer {
		path, ok := s.Pick(w.rest, p)
		if !ok {
			continue
		}
		for _, addressesLast := range []bool{true, false} {
			cube := w.widen(path, addressesLast)
			where := cube.all(s)
			if seen[where] {
				continue
			}
			seen[where] = true
			size := w.count(s.And(w.rest, where), w.levels)
			if better := most == nil || size.Cmp(most) > 0; better || size.Cmp(most) == 0 && w.values(cube) < said {
				best, most, said = cube, size, w.values(cube)
			}
		}
	}
	where := best.all(s)
	return Cube{Conditions: w.tests(best), Packets: w.count(s.And(w.class, where), w.levels)}, where
}

// values is how many values the tests of a cube have.
func (w *wording) values(c cubing) int {
	n := 0
	for _, t := range w.tests(c) {
		n += len(t.Values)
	}
	return n
}

// A cubing is a cube: a condition for each field that it tests, in terms of the
// field's variables.
type cubing map[*field]bdd.Ref

func (c cubing) all(m interface{ And(f, g bdd.Ref) bdd.Ref }) bdd.Ref {
	// The order of fields does not matter for the result.
	var list []bdd.Ref
	for _, f := range c {
		list = append(list, f)
	}
	slices.Sort(list)
	all := bdd.True
	for _, f := range list {
		all = m.And(all, f)
	}
	return all
}

// but is all but one field of a cube.
func (c cubing) but(m interface{ And(f, g bdd.Ref) bdd.Ref }, f *field) bdd.Ref {
	others := cubing{}
	for g, where := range c {
		if g != f {
			others[g] = where
		}
	}
	return others.all(m)
}

// widen makes a cube around a path of the class, as wide as the class allows, one
// field after the other: those first that matter least to people.
func (w *wording) widen(path map[bdd.Level]bool, addressesLast bool) cubing {
	s := w.space
	fields := slices.Clone(w.fields)
	slices.SortStableFunc(fields, func(x, y *field) int { return x.rank(addressesLast) - y.rank(addressesLast) })
	cube := cubing{}
	for _, f := range fields {
		var literals []bdd.Literal
		for _, l := range f.levels {
			if v, ok := path[l]; ok {
				literals = append(literals, bdd.Literal{Level: l, Value: v})
			}
		}
		if len(literals) > 0 {
			cube[f] = s.Cube(literals)
		}
	}
	for _, f := range fields {
		if _, tested := cube[f]; !tested {
			continue
		}
		others := cube.but(s, f)
		elsewhere := func(l bdd.Level) bool { return !f.has(l) }
		bad := s.Exists(s.And(w.outside, others), elsewhere)
		switch {
		case bad == bdd.False:
			delete(cube, f)
		case f.bits:
			cube[f] = w.fewerBits(cube[f], bad)
		default:
			good := s.Diff(s.Exists(s.And(w.class, others), elsewhere), bad)
			cube[f] = w.readable(f, cube[f], good, s.Diff(w.possible[f], bad))
		}
	}
	w.trim(cube)
	return cube
}

// trim leaves out values with which a cube holds nothing of the rest.
func (w *wording) trim(cube cubing) {
	s := w.space
	for _, f := range w.fields {
		values, tested := cube[f]
		if !tested || f.bits {
			continue
		}
		needed := s.And(values, s.Exists(s.And(w.rest, cube.but(s, f)), func(l bdd.Level) bool { return !f.has(l) }))
		list, ok := f.ranges(s, needed, maxRanges)
		if now, many := f.ranges(s, values, maxRanges); ok && needed != bdd.False && (!many || len(list) <= len(now)) {
			cube[f] = needed
		}
	}
}

// fewerBits leaves out the bits of a cube that need not be tested.
func (w *wording) fewerBits(cube, bad bdd.Ref) bdd.Ref {
	s := w.space
	for _, l := range s.Support(cube) {
		less := s.Exists(cube, func(k bdd.Level) bool { return k == l })
		if s.And(less, bad) == bdd.False {
			cube = less
		}
	}
	return cube
}

// readable chooses values of a field that can be said: all that are good, or
// with those that do not matter, or the range around the one of a path.
func (w *wording) readable(f *field, own, good, allowed bdd.Ref) bdd.Ref {
	s := w.space
	const most = 6
	var best bdd.Ref
	fewest := most + 1
	for _, values := range []bdd.Ref{allowed, good} {
		for _, not := range []bool{false, true} {
			said := values
			if not {
				said = s.Diff(w.possible[f], values)
			}
			if list, ok := f.ranges(s, said, fewest); ok && len(list) < fewest && s.And(own, values) == own {
				best, fewest = values, len(list)
			}
		}
	}
	if fewest <= most {
		return best
	}
	// The range of good values around the lowest of the path's.
	return f.around(s, good, own)
}

// tests says the conditions of a cube.
func (w *wording) tests(c cubing) []Condition {
	var list []Condition
	fields := make([]*field, 0, len(c))
	for f := range c {
		fields = append(fields, f)
	}
	slices.SortFunc(fields, func(x, y *field) int { return x.place - y.place })
	proto := uint8(0)
	for _, f := range fields {
		t := w.test(f, c[f])
		if f.name == "protocol" && len(t.Values) == 1 && !t.Not {
			if list, ok := f.ranges(w.space, c[f], 1); ok && list[0].low.Cmp(list[0].high) == 0 {
				proto = uint8(list[0].low.Uint64())
			}
		}
		list = append(list, t)
	}
	for i := range list {
		list[i].adapt(proto, list)
	}
	return list
}

func (w *wording) test(f *field, where bdd.Ref) Condition {
	s := w.space
	t := Condition{Field: f.name, words: f.words}
	if f.bits {
		t.Values = []string{f.masked(s, where)}
		return t
	}
	values, ok := f.ranges(s, where, maxRanges)
	others, okNot := f.ranges(s, s.Diff(w.possible[f], where), maxRanges)
	if okNot && len(others) > 0 && (!ok || len(others) < len(values) || len(others) == len(values) && f.rather != nil && f.rather(values)) {
		values, t.Not = others, true
	}
	for _, v := range values {
		t.Values = append(t.Values, f.format(v)...)
	}
	t.Usual = f.usual != nil && f.usual(values, t.Not)
	return t
}
