package nftsim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// A keyPart is a part of the key of a lookup: bits, or the name of a device.
type keyPart struct {
	offset, bytes int
	word          symbolic.Word
	device        symbolic.Group // 0 for bits
}

// A symbolicKey is a key in registers.
type symbolicKey []keyPart

// key reads a key. Where it is neither bits nor whole names, the run ends.
func (x *symbolicRun) key(from Register, n int) (symbolicKey, bool) {
	var key symbolicKey
	at := int(from) * wordSize
	for k := 0; k < n; {
		if h := heldAt(&x.holds, at+k, nameLen); h.kind == deviceName && k+nameLen <= n {
			key = append(key, keyPart{offset: k, bytes: nameLen, device: h.group})
			k += nameLen
			continue
		}
		if kind := x.holds[at+k].kind; kind != data {
			x.undecided(fmt.Sprintf("byte %d of register %s %s", k, from, heldWords[kind]))
			return nil, false
		}
		if last := len(key) - 1; last < 0 || key[last].device != 0 {
			key = append(key, keyPart{offset: k})
		}
		part := &key[len(key)-1]
		part.word = append(part.word, x.regs[8*(at+k):8*(at+k+1)]...)
		part.bytes++
		k++
	}
	return key, true
}

// bits returns the key as bits: of a device the variables of its class.
func (c *compiler) keyBits(key symbolicKey) symbolic.Word {
	var w symbolic.Word
	for _, p := range key {
		if p.device != 0 {
			w = append(w, c.space.Bits(p.device)...)
		} else {
			w = append(w, p.word...)
		}
	}
	return w
}

// A selection is a function from packets to the element that a lookup of a key
// finds, as far as elements differ.
type selection struct {
	f       bdd.Ref    // its terminals are indexes of classes
	classes []*Element // an element of each; nil for none
}

type selectionKey struct {
	set *Set
	key string
}

// selectFrom finds where each element of a set is found. The key must have
// passed [compiler.checkNames].
func (c *compiler) selectFrom(set *Set, key symbolicKey) *selection {
	var text []byte
	for _, p := range key {
		text = binary.AppendUvarint(text, uint64(p.device))
		for _, f := range p.word {
			text = binary.NativeEndian.AppendUint32(text, uint32(f))
		}
	}
	if g := c.space.Generation(); g != c.generation {
		clear(c.selections)
		c.generation = g
	}
	id := selectionKey{set, string(text)}
	if sel, ok := c.selections[id]; ok {
		return sel
	}
	sel := &selection{}
	sel.f = sel.find(c, set, key)
	c.selections[id] = sel
	return sel
}

// checkNames reports whether the set tests device names of a key as a whole.
func checkNames(set *Set, key symbolicKey) bool {
	for _, p := range key {
		if p.device != 0 {
			if _, ok := set.nameTests(p.offset); !ok {
				return false
			}
		}
	}
	return true
}

func (sel *selection) find(c *compiler, set *Set, key symbolicKey) bdd.Ref {
	classes := map[string]uint32{}
	class := func(e *Element) bdd.Ref {
		what := "none"
		if e != nil {
			what = likeness(set, e)
		}
		n, ok := classes[what]
		if !ok {
			n = uint32(len(sel.classes))
			classes[what] = n
			sel.classes = append(sel.classes, e)
		}
		return c.space.Terminal(n)
	}
	class(nil) // is class 0
	rest := class(set.catchall)
	switch {
	case set.tree():
		return c.selectInterval(set, key, func(e *Element) bdd.Ref {
			if e == nil || e.End {
				return rest
			}
			return class(e)
		})
	case set.ranges():
		return c.selectRanges(set, key, class, rest)
	}
	return c.selectExact(set, key, class, rest)
}

// likeness is equal for elements that do the same to packets.
func likeness(set *Set, e *Element) string {
	switch {
	case slices.ContainsFunc(e.Exprs, remembers):
		return fmt.Sprintf("%p", e)
	case e.Verdict != nil:
		return fmt.Sprintf("%d %s", e.Verdict.Code, e.Verdict.Chain)
	case set.Flags&setMap != 0:
		return "data " + string(e.Data)
	}
	return "element"
}

// remembers reports whether an instruction of an element does more than count.
func remembers(i Instruction) bool {
	switch i.(type) {
	case *Counter, *Objref:
		return false
	}
	return true
}

// A choiceKey is a key of choose, one byte for each bit.
type choiceKey struct {
	bits  []byte
	value bdd.Ref
}

// selectExact selects from a hash set.
func (c *compiler) selectExact(set *Set, key symbolicKey, class func(*Element) bdd.Ref, rest bdd.Ref) bdd.Ref {
	names := map[string]int{}
	for n, name := range c.space.Names().Representatives() {
		names[name] = n
	}
	w := c.keyBits(key)
	var keys []choiceKey
	for _, e := range set.Elements {
		if e.Key == nil || set.hash[string(e.Key)] != e {
			continue
		}
		bits, known := make([]byte, 0, len(w)), true
		for _, p := range key {
			part := e.Key[p.offset : p.offset+p.bytes]
			if p.device == 0 {
				bits = appendBits(bits, part)
				continue
			}
			t, ok := testOf(part)
			n, is := names[t.text]
			known = known && ok && is
			bits = append(bits, classBits(n, p.device.Width())...)
		}
		if known {
			keys = append(keys, choiceKey{bits, class(e)})
		}
	}
	return c.choose(w, keys, rest)
}

func appendBits(bits, b []byte) []byte {
	for _, v := range b {
		for shift := 7; shift >= 0; shift-- {
			bits = append(bits, v>>shift&1)
		}
	}
	return bits
}

// choose is the value of the key that a word is, of keys that are unlike. It uses
// up the list.
func (c *compiler) choose(w symbolic.Word, keys []choiceKey, rest bdd.Ref) bdd.Ref {
	s := c.space
	// Constant bits leave some keys out, and those of the rest are alike.
	var places, constants []int
	for i, f := range w {
		if s.IsTerminal(f) {
			constants = append(constants, i)
		} else {
			places = append(places, i)
		}
	}
	if len(constants) > 0 {
		keys = slices.DeleteFunc(keys, func(k choiceKey) bool {
			return slices.ContainsFunc(constants, func(i int) bool { return bdd.Ref(k.bits[i]) != w[i] })
		})
	}
	levels, flips, plain := c.plain(w, places)
	if !plain {
		slices.SortFunc(keys, func(a, b choiceKey) int { return bytes.Compare(a.bits, b.bits) })
		return c.pick(w, keys, 0, rest)
	}
	list := make([]bdd.Key, len(keys))
	for n, k := range keys {
		bits := make([]byte, len(places))
		for i, place := range places {
			bits[i] = k.bits[place] ^ flips[i]
		}
		list[n] = bdd.Key{Bits: bits, Value: k.value}
	}
	return s.Choose(levels, list, rest)
}

// plain reports whether bits of a word are variables, each once, or their
// complements, and which.
func (c *compiler) plain(w symbolic.Word, places []int) (levels []bdd.Level, flips []byte, ok bool) {
	s := c.space
	seen := map[bdd.Level]bool{}
	for _, place := range places {
		l := s.Level(w[place])
		switch {
		case seen[l]:
			return nil, nil, false
		case w[place] == s.Var(l):
			flips = append(flips, 0)
		case w[place] == s.NotVar(l):
			flips = append(flips, 1)
		default:
			return nil, nil, false
		}
		seen[l] = true
		levels = append(levels, l)
	}
	return levels, flips, true
}

// pick is choose for sorted keys that are alike before a bit.
func (c *compiler) pick(w symbolic.Word, keys []choiceKey, bit int, rest bdd.Ref) bdd.Ref {
	if len(keys) == 0 {
		return rest
	}
	if bit == len(w) {
		return keys[0].value
	}
	ones := sort.Search(len(keys), func(i int) bool { return keys[i].bits[bit] == 1 })
	return c.space.ITE(w[bit], c.pick(w, keys[ones:], bit+1, rest), c.pick(w, keys[:ones], bit+1, rest))
}

// selectInterval selects from a set of intervals: the last element that is not
// behind the key decides, as in [Set.lookupTree].
func (c *compiler) selectInterval(set *Set, key symbolicKey, value func(*Element) bdd.Ref) bdd.Ref {
	if key[0].device != 0 {
		var keys []choiceKey
		for n, name := range c.space.Names().Representatives() {
			keys = append(keys, choiceKey{classBits(n, key[0].device.Width()), value(set.lookupTree(padded(name)))})
		}
		return c.choose(c.keyBits(key), keys, value(nil))
	}
	w := key[0].word
	var find func(list []*Element, bit int, before bdd.Ref) bdd.Ref
	find = func(list []*Element, bit int, before bdd.Ref) bdd.Ref {
		if len(list) == 0 {
			return before
		}
		if bit == len(w) {
			return value(list[len(list)-1])
		}
		ones := sort.Search(len(list), func(i int) bool { return bitOf(list[i].Key, bit) })
		if w[bit] == bdd.False {
			return find(list[:ones], bit+1, before)
		}
		last := before
		if ones > 0 {
			last = value(list[ones-1])
		}
		high := find(list[ones:], bit+1, last)
		if w[bit] == bdd.True {
			return high
		}
		return c.space.ITE(w[bit], high, find(list[:ones], bit+1, before))
	}
	return find(set.sorted, 0, value(nil))
}

// partial is a function where it is defined.
type partial struct{ where, value bdd.Ref }

// selectRanges selects from a set of ranges for each field: the first element
// all of whose fields hold the key's decides, as in [Set.holds].
func (c *compiler) selectRanges(set *Set, key symbolicKey, class func(*Element) bdd.Ref, rest bdd.Ref) bdd.Ref {
	var list []partial
	for _, e := range set.Elements {
		if e.Key == nil {
			continue
		}
		last := e.KeyEnd
		if last == nil {
			last = e.Key
		}
		where, at := bdd.True, 0
		for _, n := range set.FieldLens {
			where = c.space.And(where, c.fieldBetween(key, at, n, e.Key[at:at+n], last[at:at+n]))
			at += (n + wordSize - 1) / wordSize * wordSize
		}
		if where != bdd.False {
			list = append(list, partial{where, class(e)})
		}
	}
	found := c.first(list)
	return c.space.ITE(found.where, found.value, rest)
}

// fieldBetween is where a field of a key lies between two constants.
func (c *compiler) fieldBetween(key symbolicKey, at, n int, low, high []byte) bdd.Ref {
	for _, p := range key {
		switch {
		case at < p.offset || at >= p.offset+p.bytes:
		case p.device != 0:
			return c.named(p.device, func(name []byte) bool {
				return bytes.Compare(name, low) >= 0 && bytes.Compare(name, high) <= 0
			})
		default:
			from := 8 * (at - p.offset)
			return c.between(p.word[from:from+8*n], low, high)
		}
	}
	return bdd.False
}

// first is the first of a list that is defined.
func (c *compiler) first(list []partial) partial {
	switch len(list) {
	case 0:
		return partial{bdd.False, bdd.False}
	case 1:
		return list[0]
	}
	half := len(list) / 2
	a, b := c.first(list[:half]), c.first(list[half:])
	return partial{c.space.Or(a.where, b.where), c.space.ITE(a.where, a.value, b.value)}
}
