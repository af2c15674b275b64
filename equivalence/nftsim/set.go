package nftsim

import (
	"bytes"
	"slices"
	"sort"
	"time"
)

// A Set is a decoded set, map or verdict map.
type Set struct {
	Table      *Table
	Name       string
	Flags      uint32
	KeyLen     int
	DataLen    int   // of maps to values
	Verdicts   bool  // a map to verdicts
	FieldLens  []int // of a concatenation, in bytes, without padding; nil when not described
	Size       uint32
	Timeout    int64 // default for elements, nanoseconds, 0 is none
	Exprs      []Instruction
	Elements   []*Element
	Unknown    string // what is not modelled; every lookup is then undecided
	id         uint32
	hash       map[string]*Element // the elements of the batch, of sets without intervals
	catchall   *Element
	sorted     []*Element          // the elements of an interval set, by key, ends before starts
	live       map[string]*Element // what packets added, renewed or deleted
	graves     []int64             // when elements died that packets deleted or replaced
	died       map[string][]int64  // when elements of a key were deleted lately
	elemStates map[*Element]states
	unsure     bool // a kernel may have found an element that had run out, or not
}

// Set flags.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_set_flags.
const (
	setAnonymous = 0x1
	setConstant  = 0x2
	setInterval  = 0x4
	setMap       = 0x8
	setTimeout   = 0x10
	setEval      = 0x20
	setObject    = 0x40
	setConcat    = 0x80
	setExpr      = 0x100
	setModelled  = setAnonymous | setConstant | setInterval | setMap | setTimeout | setEval | setConcat | setExpr
)

// An Element is an element of a set. In an interval set without KeyEnd a start
// and an end are two elements, and the end is not part of the interval.
type Element struct {
	Key     []byte
	KeyEnd  []byte // last key of a concatenation of intervals; nil is Key
	End     bool
	Data    []byte
	Verdict *Verdict
	Exprs   []Instruction
	Comment string
	// Timeout renews an element that packets update; Expires is when it goes
	// away on the virtual clock. 0 is never.
	Timeout, Expires int64
	deleted          bool // by a packet
}

// expired says whether an element has run out at a time.
//
// Kernel: include/net/netfilter/nf_tables.h, nft_set_elem_expired. The kernel
// counts in ticks of at most 10 ms, this machine in nanoseconds.
func (e *Element) expired(now int64) bool { return e.Expires != 0 && now >= e.Expires }

// ranges says whether the set's elements are intervals per field.
//
// Kernel: net/netfilter/nft_set_pipapo.c.
func (s *Set) ranges() bool { return s.Flags&setInterval != 0 && len(s.FieldLens) > 1 }

// tree says whether the set's elements are starts and ends of intervals.
//
// Kernel: net/netfilter/nft_set_rbtree.c.
func (s *Set) tree() bool { return s.Flags&setInterval != 0 && len(s.FieldLens) <= 1 }

// add puts an element of the batch into the set.
func (s *Set) add(e *Element) {
	s.Elements = append(s.Elements, e)
}

// index prepares the lookups, when all elements are there.
func (s *Set) index() {
	s.hash = map[string]*Element{}
	for _, e := range s.Elements {
		switch {
		case e.Key == nil:
			s.catchall = e
		case s.tree():
			s.sorted = append(s.sorted, e)
		case s.ranges():
		default:
			if s.hash[string(e.Key)] == nil {
				s.hash[string(e.Key)] = e
			}
		}
	}
	slices.SortStableFunc(s.sorted, func(a, b *Element) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		switch {
		case a.End && !b.End:
			return -1
		case b.End && !a.End:
			return 1
		}
		return 0
	})
}

// reset forgets what packets did to the set.
func (s *Set) reset() {
	s.live, s.graves = map[string]*Element{}, nil
	s.elemStates = map[*Element]states{}
	s.unsure, s.died = false, map[string][]int64{}
}

// lookup finds the element that holds a key, or nil.
func (s *Set) lookup(key []byte, now int64) *Element {
	var e *Element
	switch {
	case s.tree():
		e = s.lookupTree(key)
	case s.ranges():
		e = s.lookupRanges(key, now)
	default:
		e = s.lookupHash(key)
	}
	if e == nil || e.expired(now) {
		e = s.catchall
	}
	if e == nil || e.expired(now) {
		return nil
	}
	return e
}

func (s *Set) lookupHash(key []byte) *Element {
	if e, ok := s.live[string(key)]; ok {
		if e.deleted {
			return nil
		}
		return e
	}
	return s.hash[string(key)]
}

// lookupTree finds the last element at or below the key; it holds the key when
// it starts an interval.
//
// Kernel: net/netfilter/nft_set_rbtree.c, __nft_rbtree_lookup.
func (s *Set) lookupTree(key []byte) *Element {
	n := sort.Search(len(s.sorted), func(i int) bool { return bytes.Compare(s.sorted[i].Key, key) > 0 })
	if n == 0 || s.sorted[n-1].End {
		return nil
	}
	return s.sorted[n-1]
}

// lookupRanges finds the first element each of whose fields holds the key's.
//
// Kernel: net/netfilter/nft_set_pipapo.c, nft_pipapo_lookup.
func (s *Set) lookupRanges(key []byte, now int64) *Element {
	for _, e := range s.Elements {
		if e.Key != nil && !e.expired(now) && s.holds(e, key) {
			return e
		}
	}
	return nil
}

func (s *Set) holds(e *Element, key []byte) bool {
	last := e.KeyEnd
	if last == nil {
		last = e.Key
	}
	at := 0
	for _, n := range s.FieldLens {
		if bytes.Compare(key[at:at+n], e.Key[at:at+n]) < 0 || bytes.Compare(key[at:at+n], last[at:at+n]) > 0 {
			return false
		}
		at += (n + wordSize - 1) / wordSize * wordSize
	}
	return true
}

// slack is by how many nanoseconds the clock of this machine may differ from
// that of a kernel that runs the same packets.
const slack = int64(200 * time.Millisecond)

// doubt notes that an element runs out about now; what the set holds is not
// sure from then on.
func (s *Set) doubt(x *execution, key []byte) {
	if e := s.lookupHash(key); e != nil && e.Expires != 0 {
		age := x.now() - e.Expires
		s.unsure = s.unsure || max(age, -age) <= slack
	}
	if s.unsure {
		x.flight.Unsure = true
	}
}

// collectInterval is how long an element that has run out or was deleted can
// still take up room: until the kernel's next collection.
//
// Kernel: include/net/netfilter/nf_tables.h, nft_set_gc_interval; net/netfilter/
// nft_set_hash.c, nft_rhash_delete, which only marks an element.
const collectInterval = int64(time.Second)

// room says whether an element more fits into the set. ok is false when that
// depends on whether the kernel has collected what is gone already.
func (s *Set) room(now int64) (fits, ok bool) {
	if s.Size == 0 || len(s.hash)+len(s.live)+len(s.graves) < int(s.Size) {
		return true, true
	}
	there, gone := 0, 0
	count := func(e *Element) {
		switch {
		case !e.expired(now):
			there++
		case now-e.Expires <= collectInterval:
			gone++
		}
	}
	for k, e := range s.hash {
		if s.live[k] == nil {
			count(e)
		}
	}
	for _, e := range s.live {
		if !e.deleted {
			count(e)
		}
	}
	s.graves = slices.DeleteFunc(s.graves, func(died int64) bool { return now-died > collectInterval })
	gone += len(s.graves)
	size := int(s.Size)
	return there < size, there >= size || there+gone < size
}

// insert adds an element for a packet.
func (s *Set) insert(e *Element) {
	if old := s.lookupHash(e.Key); old != nil {
		s.graves = append(s.graves, old.Expires)
	}
	s.live[string(e.Key)] = e
}

// renew gives an element a new time to run out. The batch's elements stay as
// they are: the copy stands before them until the next reset.
func (s *Set) renew(e *Element, expires int64) *Element {
	if s.live[string(e.Key)] == e {
		e.Expires = expires
		return e
	}
	renewed := *e
	renewed.Expires = expires
	s.live[string(e.Key)] = &renewed
	if st := s.elemStates[e]; st != nil {
		s.elemStates[&renewed] = st
	}
	return &renewed
}

// remove deletes an element for a packet.
func (s *Set) remove(key []byte, now int64) {
	e := s.lookupHash(key)
	if e == nil || e.expired(now) {
		return
	}
	s.graves = append(s.graves, now)
	s.died[string(key)] = append(s.died[string(key)], now)
	s.live[string(key)] = &Element{deleted: true}
}

// churned reports whether a key was deleted so often since the kernel's last
// collection that it may not be added again: what was deleted stays in the hash
// table, in one chain for the key, and the table takes no chain of more than 16.
//
// Kernel: net/netfilter/nft_set_hash.c, nft_rhash_update; lib/rhashtable.c,
// RHT_ELASTICITY.
func (s *Set) churned(key []byte, now int64) bool {
	const elasticity = 16
	recent := slices.DeleteFunc(s.died[string(key)], func(died int64) bool { return now-died > collectInterval+slack })
	s.died[string(key)] = recent
	return len(recent) >= elasticity
}

// runElement runs the instructions of an element, as a lookup or an update of
// it does.
//
// Kernel: include/net/netfilter/nf_tables_core.h, nft_set_elem_update_expr.
func (s *Set) runElement(x *execution, e *Element) result {
	if len(e.Exprs) == 0 {
		return proceed
	}
	if s.elemStates[e] == nil {
		s.elemStates[e] = states{}
	}
	outer := x.states
	x.states = s.elemStates[e]
	defer func() { x.states = outer }()
	for _, i := range e.Exprs {
		if r := i.exec(x); r != proceed {
			return r
		}
	}
	return proceed
}
