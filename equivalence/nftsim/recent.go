package nftsim

import (
	"bytes"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
)

// A ring is sets that together answer whether an address was seen at least a
// number of times within some seconds.
//
// Its slots hold the last times of each address: the elements live for the
// seconds, and each time the address is seen, it is written into the slot that
// was written the longest time ago. The address is in all slots exactly when it
// was seen as often as there are slots. Which slot is the next is told by
// pointers, one for each slot but the first: sets that hold the address when the
// next time goes to their slot. They are written together with slots and live as
// long.
//
//	pointer 2 holds it: into slot 2, out of pointer 2, into pointer 3, return
//	pointer 3 holds it: into slot 3, out of pointer 3, return
//	into slot 1, into pointer 2
//
// A chain of such rules remembers that an address is seen. A ring of one slot
// has no pointers, and needs no chain: it remembers by writing the slot. A ring
// forgets an address when all sets delete it.
//
// That a ring is a list is shown by TestRingIsList, which runs the instructions.
type ring struct {
	symbolic.RecentList
	slots, pointers []*Set
	asked           bool // whether it holds an address
}

func (r *ring) sets() []*Set { return slices.Concat(r.slots, r.pointers) }

// A ringUse is what an instruction, or a chain, does with a ring.
type ringUse struct {
	ring        *ring
	does        ringDeed
	destination bool
	hit         int  // of a question: which slot
	own         bool // packets of the other IP version pass the chain
}

type ringDeed uint8

const (
	ringAsks ringDeed = iota + 1 // whether a slot holds the address
	ringRemembers
	ringForgets
	ringPart // is part of what another instruction, or the chain, does
)

// rings are the rings of a machine, with all that is done with them.
type rings struct {
	uses   map[Instruction]ringUse
	chains map[*Chain]ringUse // chains that do nothing else than remember
}

// hz is how many ticks the kernels have in a second.
const hz = 250

// secondsOf returns the age up to which a list of recent addresses counts a time
// when the elements of a set do, 0 for any.
//
// xtables counts a time of T ticks when now - T <= S*HZ, an element lives while
// now - T < timeout*HZ, rounded down: both are the same when the timeout has one
// tick more than S seconds, which is from 4 up to less than 8 ms more for
// HZ 250. With another HZ the last one differs by up to 10 ms.
//
// Kernel: net/netfilter/xt_recent.c, recent_mt, time_after; include/net/
// netfilter/nf_tables.h, __nft_set_elem_expired; net/netfilter/nf_tables_api.c,
// nf_msecs_to_jiffies64.
func secondsOf(s *Set) (seconds uint32, ok bool) {
	if s.Flags&setTimeout == 0 {
		return 0, s.Timeout == 0
	}
	ticks := s.Timeout/int64(time.Second/hz) - 1
	if ticks < hz || ticks%hz != 0 || ticks/hz >= 1<<32 {
		return 0, false
	}
	return uint32(ticks / hz), true
}

// leastSize is how many addresses a list of xtables holds, so that no set may
// hold less.
const leastSize = 100

// canRing reports whether a set can be of a ring: packets add single addresses to
// it, which have nothing but a time.
func (s *Set) canRing() bool {
	if s.Unknown != "" || s.Flags&^(setTimeout|setEval) != 0 || len(s.Elements) > 0 || len(s.Exprs) > 0 || len(s.FieldLens) > 1 {
		return false
	}
	if s.Size < leastSize || s.KeyLen != 4 && s.KeyLen != 16 || !sees(s.Table.Family, s.version()) {
		return false
	}
	_, ok := secondsOf(s)
	return ok
}

// version is that of the addresses that a set of single ones holds.
func (s *Set) version() int {
	if s.KeyLen == 4 {
		return 4
	}
	return 6
}

// An addressKey is the address of a packet under a mask.
type addressKey struct {
	destination bool
	mask        string // of bytes
}

// A deed is what one instruction does with a set that can be of a ring.
type deed struct {
	i    Instruction
	set  *Set
	does deedKind
	key  addressKey
	odd  bool // is none that a ring has
}

// like reports whether two deeds are the same, in other instructions.
func (d deed) like(o deed) bool {
	return d.set == o.set && d.does == o.does && d.key == o.key && d.odd == o.odd
}

type deedKind uint8

const (
	tests deedKind = iota
	puts
	drops
)

// A readRule is a rule as far as rings go.
type readRule struct {
	deeds   []deed
	verdict *Verdict
	// plain says that there is nothing else in the rule; runs says the same of
	// what is between the deeds.
	plain bool
	runs  []bool // runs[i]: nothing else happens between deeds i and i+1
	// version is the IP version for which the rule is, 0 for any. What it does
	// with addresses of the other one is odd.
	version int
}

// findRings reads the rings from the rules. A set is of a ring only when all
// instructions that use it are known for what a ring does.
func (m *Machine) findRings() *rings {
	f := &ringFinder{read: map[*Rule]readRule{}, of: map[*Set]*ring{}, bad: map[*ring]bool{}}
	f.out = &rings{uses: map[Instruction]ringUse{}, chains: map[*Chain]ringUse{}}
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				f.read[r] = readRuleOf(r)
			}
		}
	}
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			f.chain(c)
		}
	}
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			f.single(c)
		}
	}
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			f.forgets(c)
			f.others(c)
		}
		for _, s := range t.Sets {
			f.inside(s.Exprs)
			for _, e := range s.Elements {
				f.inside(e.Exprs)
			}
		}
	}
	f.judge()
	return f.out
}

type ringFinder struct {
	read map[*Rule]readRule
	of   map[*Set]*ring
	bad  map[*ring]bool
	out  *rings
}

// readRuleOf reads a rule. It follows the addresses of the packet through the
// registers.
func readRuleOf(r *Rule) readRule {
	out := readRule{plain: true}
	var words addressWords
	clean := true // since the last deed
	other := func() { out.plain, clean = false, false }
	list := r.Instructions
	if out.version = versionOf(list); out.version != 0 {
		list = list[2:]
	}
	for _, i := range list {
		var d deed
		switch i := i.(type) {
		case *Counter:
			continue
		case *PayloadLoad:
			if !loadsAddress(i) {
				other()
			}
			words.load(i)
			continue
		case *Bitwise:
			words.mask(i)
			continue
		case *Immediate:
			if i.Verdict == nil || out.verdict != nil {
				other()
			} else {
				out.verdict = i.Verdict
			}
			words.forget(written(i))
			continue
		case *Lookup:
			d = deed{i: i, set: i.Set, does: tests, odd: i.Maps}
			d.key, d.odd = words.key(i.From, i.Set, d.odd)
			if i.Not {
				out.plain = false
			}
			words.forget(written(i))
		case *Dynset:
			d = deed{i: i, set: i.Set, odd: i.Maps || i.Not || len(i.Exprs) > 0}
			switch {
			case i.Op == DynsetDelete:
				d.does = drops
			case i.Op == DynsetUpdate && i.Set.Flags&setTimeout != 0, i.Op == DynsetAdd && i.Set.Flags&setTimeout == 0:
				d.does = puts
				d.odd = d.odd || i.Timeout != 0 && i.Timeout != i.Set.Timeout
			default:
				d.odd = true
			}
			d.key, d.odd = words.key(i.Key, i.Set, d.odd)
		default:
			other()
			words.forget(written(i))
			continue
		}
		if !d.set.canRing() {
			other()
			continue
		}
		d.odd = d.odd || out.version != 0 && out.version != d.set.version()
		if out.verdict != nil {
			other() // the verdict comes first
		}
		if len(out.deeds) > 0 {
			out.runs = append(out.runs, clean)
		}
		out.deeds = append(out.deeds, d)
		clean = true
	}
	return out
}

// versionOf returns the IP version that the first instructions of a rule compare
// the packet's with, 0 for none.
func versionOf(list []Instruction) int {
	if len(list) < 2 {
		return 0
	}
	load, ok := list[0].(*MetaLoad)
	compare, compares := list[1].(*Cmp)
	if !ok || !compares || load.Key != unix.NFT_META_NFPROTO || load.To != compare.From || compare.Op != unix.NFT_CMP_EQ {
		return 0
	}
	for version, family := range protocolFamilies {
		if bytes.Equal(compare.Data, []byte{family}) {
			return version
		}
	}
	return 0
}

// addressWords tells which words of the registers hold a part of the packet's
// addresses: a word of the network header under a mask.
type addressWords [registerBytes / wordSize]struct {
	offset int
	mask   [wordSize]byte
	known  bool
}

func (w *addressWords) forget(to Register, n int) {
	for k := int(to); k < int(to)+(n+wordSize-1)/wordSize; k++ {
		w[k].known = false
	}
}

func (w *addressWords) load(i *PayloadLoad) {
	w.forget(i.loads())
	if i.Base != unix.NFT_PAYLOAD_NETWORK_HEADER || i.Len%wordSize != 0 {
		return
	}
	for k := range i.Len / wordSize {
		word := &w[int(i.To)+k]
		word.offset, word.known, word.mask = i.Offset+wordSize*k, true, [wordSize]byte{0xff, 0xff, 0xff, 0xff}
	}
}

func (w *addressWords) mask(i *Bitwise) {
	before := *w
	w.forget(i.loads())
	if i.Op != MaskXor || i.Len%wordSize != 0 || slices.ContainsFunc(i.Xor, func(b byte) bool { return b != 0 }) {
		return
	}
	for k := range i.Len / wordSize {
		word := before[int(i.From)+k]
		for n := range word.mask {
			word.mask[n] &= i.Mask[wordSize*k+n]
		}
		w[int(i.To)+k] = word
	}
}

// addressOffsets are where the addresses of the packet are in the network header.
//
// RFC 791 section 3.1, RFC 8200 section 3.
var addressOffsets = map[int][2]int{4: {12, 16}, 6: {8, 24}}

// key returns the address that a key is; odd when it is none.
func (w *addressWords) key(from Register, s *Set, odd bool) (addressKey, bool) {
	var k addressKey
	if odd || s.KeyLen != 4 && s.KeyLen != 16 {
		return k, true
	}
	first := w[from].offset
	for at := range s.KeyLen / wordSize {
		word := w[int(from)+at]
		if !word.known || word.offset != first+wordSize*at {
			return k, true
		}
		k.mask += string(word.mask[:])
	}
	sides := addressOffsets[s.version()]
	k.destination = first == sides[1]
	return k, first != sides[0] && first != sides[1]
}

// loadsAddress reports whether a load is that of an address, which every packet
// has.
func loadsAddress(i *PayloadLoad) bool {
	if i.Base != unix.NFT_PAYLOAD_NETWORK_HEADER {
		return false
	}
	for version, sides := range addressOffsets {
		size := map[int]int{4: 4, 6: 16}[version]
		if i.Len == size && (i.Offset == sides[0] || i.Offset == sides[1]) {
			return true
		}
	}
	return false
}

// chain notes a chain that remembers in a ring of several slots.
func (f *ringFinder) chain(c *Chain) {
	if c.Base != nil || c.Unknown != "" || len(c.Rules) < 2 {
		return
	}
	r, key, ok := f.parse(c)
	if !ok {
		return
	}
	if known := f.of[r.slots[0]]; known != nil {
		// The same ring for another side of the packet.
		if !slices.Equal(known.slots, r.slots) || !slices.Equal(known.pointers, r.pointers) || string(known.Mask) != key.mask {
			f.spoil(r)
			return
		}
		r = known
	} else {
		if slices.ContainsFunc(r.sets(), func(s *Set) bool { return f.of[s] != nil }) {
			f.spoil(r)
			return
		}
		for _, s := range r.sets() {
			f.of[s] = r
		}
	}
	own := !slices.ContainsFunc(c.Rules, func(rule *Rule) bool { return f.read[rule].version == 0 })
	f.out.chains[c] = ringUse{ring: r, does: ringRemembers, destination: key.destination, own: own}
	for _, rule := range c.Rules {
		for _, d := range f.read[rule].deeds {
			f.out.uses[d.i] = ringUse{ring: r, does: ringPart}
		}
	}
}

// spoil gives up the rings that share sets with one.
func (f *ringFinder) spoil(r *ring) {
	for _, s := range r.sets() {
		if known := f.of[s]; known != nil {
			f.bad[known] = true
		}
	}
}

// parse reads a chain as that of a ring of at least two slots.
func (f *ringFinder) parse(c *Chain) (r *ring, key addressKey, ok bool) {
	last := f.read[c.Rules[len(c.Rules)-1]]
	moves := map[*Set]readRule{} // by the pointer that they test
	for _, rule := range c.Rules[:len(c.Rules)-1] {
		read := f.read[rule]
		if !read.plain || len(read.deeds) < 3 || read.deeds[0].does != tests || read.verdict == nil || read.verdict.Code != VerdictReturn ||
			read.deeds[0].odd || len(last.deeds) == 0 || read.deeds[0].key != last.deeds[0].key {
			return nil, key, false
		}
		pointer := read.deeds[0].set
		if before, twice := moves[pointer]; twice {
			// Who has the pointer has returned.
			if !slices.EqualFunc(before.deeds, read.deeds, deed.like) {
				return nil, key, false
			}
			continue
		}
		moves[pointer] = read
	}
	if !last.plain || last.verdict != nil && last.verdict.Code != VerdictReturn || len(last.deeds) == 0 {
		return nil, key, false
	}
	key = last.deeds[0].key
	r = &ring{}
	for at := last.deeds; ; {
		slot, next, dropped, ok := step(at, moves, key)
		if !ok || slices.Contains(r.sets(), slot) || next != nil && slices.Contains(r.sets(), next) {
			return nil, key, false
		}
		if len(r.slots) == 0 && dropped != nil || len(r.slots) > 0 && dropped != r.pointers[len(r.pointers)-1] {
			return nil, key, false
		}
		r.slots = append(r.slots, slot)
		if next == nil {
			break
		}
		r.pointers = append(r.pointers, next)
		at = moves[next].deeds[1:]
	}
	if len(r.slots) != len(moves)+1 {
		return nil, key, false
	}
	return r, key, r.describe(key)
}

// step reads what one rule of a ring does behind its test: it writes a slot, and
// the pointer to the next one when there is one, and deletes from a pointer.
func step(deeds []deed, moves map[*Set]readRule, key addressKey) (slot, next, dropped *Set, ok bool) {
	for _, d := range deeds {
		to := &slot
		switch _, isPointer := moves[d.set]; {
		case d.odd || d.key != key:
			return nil, nil, nil, false
		case d.does == drops:
			to = &dropped
		case d.does == tests:
			return nil, nil, nil, false
		case isPointer:
			to = &next
		}
		if *to != nil {
			return nil, nil, nil, false
		}
		*to = d.set
	}
	return slot, next, dropped, slot != nil
}

// describe says what the ring answers. ok is false when its sets are unlike.
func (r *ring) describe(key addressKey) (ok bool) {
	first := r.slots[0]
	for _, s := range r.sets() {
		if s.Timeout != first.Timeout || s.Flags != first.Flags || s.KeyLen != first.KeyLen || s.Table != first.Table {
			return false
		}
	}
	seconds, ok := secondsOf(first)
	r.RecentList = symbolic.RecentList{Version: first.version(), Mask: []byte(key.mask), Seconds: seconds, Hits: len(r.slots)}
	return ok
}

// single notes rings of one slot, which are written outside of chains of rings.
func (f *ringFinder) single(c *Chain) {
	for _, rule := range c.Rules {
		for _, d := range f.read[rule].deeds {
			if _, done := f.out.uses[d.i]; done || d.does != puts || d.odd {
				continue
			}
			r := f.of[d.set]
			if r == nil {
				r = &ring{slots: []*Set{d.set}}
				if !r.describe(d.key) {
					continue
				}
				f.of[d.set] = r
			}
			if len(r.slots) == 1 && string(r.Mask) == d.key.mask {
				f.out.uses[d.i] = ringUse{ring: r, does: ringRemembers, destination: d.key.destination}
			}
		}
	}
}

// forgets notes deletions from all sets of a ring: in a rule, or in rules one
// behind another that do nothing else.
func (f *ringFinder) forgets(c *Chain) {
	var block []deed
	flush := func() {
		f.block(block)
		block = nil
	}
	for _, rule := range c.Rules {
		read := f.read[rule]
		pure := read.plain && !slices.ContainsFunc(read.deeds, func(d deed) bool { return d.does != drops })
		if !pure {
			flush()
		}
		for i, d := range read.deeds {
			if d.does != drops || d.odd || i > 0 && !read.runs[i-1] {
				flush()
			}
			if d.does == drops && !d.odd {
				block = append(block, d)
			}
		}
		if !pure || read.verdict != nil {
			flush()
		}
	}
	flush()
}

// block notes the rings that a run of deletions empties. The first deletion
// stands for all.
func (f *ringFinder) block(deeds []deed) {
	for i, d := range deeds {
		r := f.of[d.set]
		if r == nil || f.out.uses[d.i].ring != nil {
			continue
		}
		var own []deed
		for _, other := range deeds[i:] {
			if f.of[other.set] == r {
				own = append(own, other)
			}
		}
		sets := r.sets()
		for _, o := range own {
			at := slices.Index(sets, o.set)
			if at < 0 || o.key != d.key || o.key.mask != string(r.Mask) {
				own = nil
				break
			}
			sets = slices.Delete(sets, at, at+1)
		}
		if own == nil || len(sets) > 0 {
			continue
		}
		for n, o := range own {
			f.out.uses[o.i] = ringUse{ring: r, does: ringPart}
			if n == 0 {
				f.out.uses[o.i] = ringUse{ring: r, does: ringForgets, destination: d.key.destination}
			}
		}
	}
}

// others notes questions, and rings that are used in ways that are not known.
func (f *ringFinder) others(c *Chain) {
	for _, rule := range c.Rules {
		for _, i := range rule.Instructions {
			if d, ok := i.(*Dynset); ok {
				f.inside(d.Exprs)
			}
		}
		for _, d := range f.read[rule].deeds {
			r := f.of[d.set]
			if r == nil || f.out.uses[d.i].ring != nil {
				continue
			}
			hit := slices.Index(r.slots, d.set)
			if d.odd || d.does != tests || hit < 0 || d.key.mask != string(r.Mask) {
				f.bad[r] = true
				continue
			}
			r.asked = true
			f.out.uses[d.i] = ringUse{ring: r, does: ringAsks, destination: d.key.destination, hit: hit}
		}
	}
}

// inside gives up rings that instructions of elements use.
func (f *ringFinder) inside(list []Instruction) {
	for _, i := range list {
		switch i := i.(type) {
		case *Lookup:
			f.bad[f.of[i.Set]] = true
		case *Dynset:
			f.bad[f.of[i.Set]] = true
		}
	}
}

// judge takes out what belongs to rings that are none.
func (f *ringFinder) judge() {
	for i, use := range f.out.uses {
		if f.bad[use.ring] {
			delete(f.out.uses, i)
		}
	}
	for c, use := range f.out.chains {
		if f.bad[use.ring] {
			delete(f.out.chains, c)
		}
	}
}
