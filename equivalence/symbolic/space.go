package symbolic

import (
	"encoding/binary"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// A Word is a number of which each bit is a function of the packet, the most
// significant first.
type Word []bdd.Ref

// A Space holds the functions of one IP version. It is not safe for concurrent
// use.
type Space struct {
	*bdd.Manager
	Version int // 4 or 6
	// Provenance asks that leaves say which rule decided.
	Provenance bool
	// Marked asks that leaves of single rules say whether they match, see
	// [ChainRule].
	Marked bool
	// Headers says of which packets the functions speak.
	Headers Headers
	// Firm asks for functions that know of the refusals of firm instances.
	Firm bool
	// Parts lets Compare tell only a part of a class that is too ragged.
	Parts bool
	// slotsEnd is the level behind those of answers.
	slotsEnd int
	// Unfragmented says that the functions speak of whole packets only, as where
	// the host tracks connections.
	Unfragmented bool
	// Unauthenticated says that the functions speak of packets without an IPv6
	// authentication header only.
	Unauthenticated bool
	given           []packet.Given // what templates say, by number
	authAsked       bool           // some rule looks for the header
	tests           *NameTests
	names           *Names
	slots           []slot
	readers         map[Group][]Slot // whose entry a group selects
	effects         effects
	leaves          []Leaf
	leafIDs         map[Leaf]uint32
	next            bdd.Ref
	returned        *bdd.Mapping
	sequence        *bdd.Op
	memo            map[memoKey]bdd.Ref
	varies          map[any]bool // functions of memo that depend on the hook
	hook            int          // that is fixed, or -1
	hookRead        bool
	starts          bool // see At
	early           bool
	nameWords       map[Group]Word
	prepends        map[Effect]*bdd.Mapping
	gone            *bdd.Mapping
	jumped          map[bdd.Ref]bdd.Ref
	// anyWrites says that some effect writes or asks; movingWrites is what
	// moving found.
	anyWrites    bool
	movingWrites map[bdd.Ref][]uint32
	places       map[int]string
	programs
}

// NewSpace makes an empty space over classes of device names and instances, of
// which the n-th has Slot n.
func NewSpace(m *bdd.Manager, version int, tests *NameTests, instances []Instance) *Space {
	s := &Space{
		Manager: m, Version: version, tests: tests, names: tests.Names(),
		effects: newEffects(), leafIDs: map[Leaf]uint32{},
		memo: map[memoKey]bdd.Ref{}, varies: map[any]bool{}, hook: -1, nameWords: map[Group]Word{},
		prepends: map[Effect]*bdd.Mapping{}, movingWrites: map[bdd.Ref][]uint32{}, jumped: map[bdd.Ref]bdd.Ref{},
	}
	s.addSlots(instances)
	s.next = s.Leaf(Leaf{Verdict: Continue})
	s.returned = m.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict == Return {
			l.Verdict = Continue
		}
		return s.Leaf(l)
	})
	s.gone = m.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict == Continue {
			l.Verdict = Return
		}
		return s.Leaf(l)
	})
	s.sequence = m.NewOp("sequence", s.sequenceLeaf)
	return s
}

// Headers says how much of a packet's transport header there has to be.
type Headers uint8

// AnyHeaders is all packets. WholeHeaders are those whose transport protocol was
// found, with at least as many bytes as its header has without options: 20 of TCP (RFC 9293
// section 3.1), 8 of others (UDP, RFC 768; ICMP, RFC 792). CutHeaders are the
// others.
const (
	AnyHeaders Headers = iota
	WholeHeaders
	CutHeaders
)

const (
	leastTCP   = 20
	leastOther = 8
)

// whole holds for packets with whole headers, by the given number of bytes.
func (s *Space) whole(bytes Word) bdd.Ref {
	tcp := s.Number(s.Bits(Protocol), packet.TCP)
	return s.ITE(tcp, s.atLeast(bytes, leastTCP), s.atLeast(bytes, leastOther))
}

func (s *Space) atLeast(w Word, n uint64) bdd.Ref {
	f := bdd.True
	for i := len(w) - 1; i >= 0; i-- {
		if n>>(len(w)-1-i)&1 == 1 {
			f = s.And(w[i], f)
		} else {
			f = s.Or(w[i], f)
		}
	}
	return f
}

// transportBytes are the bits of TransportBytes: for whole headers, what is less
// than whole counts as just whole, so that nothing depends on it.
func (s *Space) transportBytes() Word {
	if w := s.nameWords[TransportBytes]; w != nil {
		return w
	}
	w := s.Variables(TransportBytes)
	if s.Headers == WholeHeaders {
		tcp, whole := s.Number(s.Bits(Protocol), packet.TCP), s.whole(w)
		clamped := make(Word, len(w))
		for i := range w {
			least := bdd.False
			if leastTCP>>(len(w)-1-i)&1 == 1 {
				least = s.Or(least, tcp)
			}
			if leastOther>>(len(w)-1-i)&1 == 1 {
				least = s.Or(least, s.Not(tcp))
			}
			clamped[i] = s.ITE(whole, w[i], least)
		}
		w = clamped
	}
	s.nameWords[TransportBytes] = w
	return w
}

// AtStage fixes where the functions stand that are made from now on: the hook,
// on which fewer then depend; whether the stage sees only packets that start a
// connection; whether it does before connection tracking. Those of [Space.Memo]
// are made for each of that where it matters.
func (s *Space) AtStage(st *Stage) {
	s.hook, s.starts, s.early = int(st.Hook), st.Kind == packet.NAT, BeforeTracking(st.Hook, st.Priority)
}

// A Standing is where functions stand that are made from now on: those of one
// Standing can be kept and used again.
type Standing struct {
	hook, generation int
	starts, early    bool
}

// Standing returns where functions stand now.
func (s *Space) Standing() Standing { return Standing{s.hook, s.Generation(), s.starts, s.early} }

// ReadsHook reports whether what is made within depends on the hook.
func (s *Space) ReadsHook(within func()) bool {
	outer := s.hookRead
	s.hookRead = false
	within()
	reads := s.hookRead
	s.hookRead = reads || outer
	return reads
}

// NoteHook says that a function depends on the hook that was made before.
func (s *Space) NoteHook() { s.hookRead = true }

// BeforeTracking reports whether packets come to a place before connection
// tracking has looked at them.
//
// Kernel: include/uapi/linux/netfilter_ipv4.h, NF_IP_PRI_CONNTRACK.
func BeforeTracking(h packet.Hook, priority int32) bool {
	const conntrack = -200
	return (h == packet.Prerouting || h == packet.Output) && priority < conntrack
}

// Exempted holds for packets that a rule of the stage exempted from tracking. Of
// those that were before, Tracking tells.
func (s *Space) Exempted() bdd.Ref {
	if s.Unfragmented && s.hook >= 0 && !s.early {
		return bdd.False
	}
	return s.Bit(Notrack)
}

// Templated holds for packets to which a rule before connection tracking gave a
// template. Behind it, they have a connection or none like others.
func (s *Space) Templated() bdd.Ref {
	if s.Unfragmented && s.hook >= 0 && !s.early {
		return bdd.False
	}
	return s.And(s.Bit(Template), s.Number(s.tracking(), 0))
}

// tracking are the bits of Tracking: of numbers that it cannot have at the stage,
// those of one that it can have, so that functions do not depend on them.
func (s *Space) tracking() Word {
	w := s.Variables(Tracking)
	switch {
	case !s.Unfragmented || s.hook < 0:
	case s.early:
		return Constant(0, len(w))
	case s.starts: // New is 1, Related 3
		return Word{bdd.False, w[1], bdd.True}
	default: // 0 counts as 1, 6 and 7 as 4 and 5
		return Word{w[0], s.Diff(w[1], w[0]), s.Or(w[2], s.Not(s.Or(w[0], w[1])))}
	}
	return w
}

// Variables are the bits of a group wherever the packet is.
func (s *Space) Variables(g Group) Word {
	levels := s.Levels(g)
	w := make(Word, len(levels))
	for i, l := range levels {
		w[i] = s.Var(l)
	}
	return w
}

// HasEntry holds for packets with a conntrack entry: those of a connection that
// tracking has found or made.
func (s *Space) HasEntry() bdd.Ref {
	if s.starts {
		return bdd.True
	}
	return s.hasEntry(s.Bits(Tracking))
}

// entry is HasEntry wherever the packet is.
func (s *Space) entry() bdd.Ref { return s.hasEntry(s.Variables(Tracking)) }

func (s *Space) hasEntry(state Word) bdd.Ref {
	has := bdd.False
	for _, found := range []packet.State{packet.New, packet.Established, packet.Related} {
		has = s.Or(has, s.Number(state, uint64(found)))
	}
	return has
}

type memoKey struct {
	key           any
	hook          int
	starts, early bool
}

// Memo returns the function of a key, which build makes the first time: that of
// a chain, however many rules jump to it.
func (s *Space) Memo(key any, build func() bdd.Ref) bdd.Ref {
	s.forget()
	k := memoKey{key, -1, s.starts, s.early}
	if s.varies[key] {
		k.hook, s.hookRead = s.hook, true
	}
	if f, ok := s.memo[k]; ok {
		return f
	}
	outer := s.hookRead
	s.hookRead = false
	f := build()
	if s.hookRead {
		s.varies[key] = true
		k.hook = s.hook
	}
	s.memo[k] = f
	s.hookRead = s.hookRead || outer
	return f
}

// Names returns the classes of device names.
func (s *Space) Names() *Names { return s.names }

// NameTests returns the tests that tell the classes apart.
func (s *Space) NameTests() *NameTests { return s.tests }

// Bits returns the variables of a group as a number. Addresses have the width of
// the version.
func (s *Space) Bits(g Group) Word {
	switch {
	case g == TransportBytes:
		return s.transportBytes()
	case g == Tracking:
		return s.tracking()
	case s.Unfragmented && (g == Fragment || g == MoreFragments):
		return Constant(0, g.Width())
	case g == Hook:
		s.hookRead = true
		if s.hook >= 0 {
			return Constant(uint64(s.hook), g.Width())
		}
	}
	skip, width := 0, g.Width()
	if width == addressBits && s.Version == 4 && isAddress(g) {
		skip = addressBits - 32
	}
	w := make(Word, width-skip)
	for i := range w {
		w[i] = s.Var(g.Level(skip + i))
	}
	return w
}

// Levels are the variables of Bits.
func (s *Space) Levels(g Group) []bdd.Level {
	skip, width := 0, g.Width()
	if width == addressBits && s.Version == 4 && isAddress(g) {
		skip = addressBits - 32
	}
	l := make([]bdd.Level, width-skip)
	for i := range l {
		l[i] = g.Level(skip + i)
	}
	return l
}

func isAddress(g Group) bool {
	return g == Source || g == Destination || g >= CTOrigSrc && g <= CTReplDst
}

// Bit returns the variable of a group of one bit.
func (s *Space) Bit(g Group) bdd.Ref {
	switch {
	case s.Unfragmented && g == MoreFragments:
		return bdd.False
	case s.Unauthenticated && g == BehindAuth:
		s.authAsked = true
		return bdd.False
	case g == TransportFound && (s.Version == 4 || s.Headers == WholeHeaders):
		return bdd.True
	}
	return s.Var(g.Level(g.Width() - 1))
}

// Bytes returns n bytes of a group of bytes (Transport, Auth, Link), from an
// offset. ok is false when the group does not reach so far.
func (s *Space) Bytes(g Group, offset, n int) (w Word, ok bool) {
	if offset < 0 || 8*(offset+n) > g.Width() {
		return nil, false
	}
	for bit := 8 * offset; bit < 8*(offset+n); bit++ {
		w = append(w, s.Var(g.Level(bit)))
	}
	return w, true
}

// networkPart says which group names a part of the network header: bits
// [first, first+width) of the header are the last width bits of the group.
type networkPart struct {
	first, width int
	group        Group
}

// networkParts are the parts by version (RFC 791 section 3.1, RFC 8200
// section 3).
var networkParts = map[int][]networkPart{
	4: {
		{4, 4, HeaderWords}, {8, 8, TOS}, {16, 16, Length}, {50, 1, MoreFragments}, {51, 13, Fragment},
		{64, 8, TTL}, {72, 8, Protocol}, {96, 32, Source}, {128, 32, Destination},
	},
	6: {{4, 8, TOS}, {48, 8, NextHeader}, {56, 8, TTL}, {64, 128, Source}, {192, 128, Destination}},
}

// NetworkLevels returns the variables of n bytes of the network header. ok is
// false behind the header without options.
func (s *Space) NetworkLevels(offset, n int) (levels []bdd.Level, ok bool) {
	size := networkSize
	if s.Version == 4 {
		size = 20
	}
	if offset < 0 || offset+n > size {
		return nil, false
	}
	for bit := 8 * offset; bit < 8*(offset+n); bit++ {
		l := NetworkRest.Level(bit)
		for _, p := range networkParts[s.Version] {
			if bit >= p.first && bit < p.first+p.width {
				l = p.group.Level(p.group.Width() - p.width + bit - p.first)
			}
		}
		levels = append(levels, l)
	}
	return levels, true
}

// Network returns n bytes of the network header.
func (s *Space) Network(offset, n int) (w Word, ok bool) {
	levels, ok := s.NetworkLevels(offset, n)
	for _, l := range levels {
		bit := s.Var(l)
		if g, _, _ := GroupOf(l); s.Unfragmented && (g == Fragment || g == MoreFragments) {
			bit = bdd.False
		}
		w = append(w, bit)
	}
	return w, ok
}

// DeviceName returns the 128 bits of a device name, padded with zeros, as
// functions of its class (InName or OutName).
func (s *Space) DeviceName(g Group) Word {
	if w, ok := s.nameWords[g]; ok {
		return w
	}
	levels := s.Levels(g)
	w := make(Word, 128)
	for bit := range w {
		var keys []bdd.Key
		for class, name := range s.names.list {
			if bit/8 < len(name) && name[bit/8]>>(7-bit%8)&1 == 1 {
				keys = append(keys, bdd.Key{Bits: numberBits(uint64(class), len(levels)), Value: bdd.True})
			}
		}
		w[bit] = s.Choose(levels, keys, bdd.False)
	}
	s.nameWords[g] = w
	return w
}

// HasDevice holds when a packet has such a device.
func (s *Space) HasDevice(g Group) bdd.Ref {
	switch {
	case g == InName && s.hook >= 0 && s.hook <= int(packet.Forward):
		s.hookRead = true
		return bdd.True
	case g == OutName && s.hook >= int(packet.Forward):
		s.hookRead = true
		return bdd.True
	}
	return s.hasDevice(g)
}

// hasDevice is HasDevice wherever the packet is.
func (s *Space) hasDevice(g Group) bdd.Ref { return s.Not(s.Number(s.Bits(g), 0)) }

// Number is the function that a word is a number.
func (s *Space) Number(w Word, n uint64) bdd.Ref {
	f := bdd.True
	for i := len(w) - 1; i >= 0; i-- {
		bit := w[i]
		if shift := len(w) - 1 - i; shift > 63 || n>>shift&1 == 0 {
			bit = s.Not(bit)
		}
		f = s.And(bit, f)
	}
	return f
}

// Constant is the word of a constant of a width.
func Constant(n uint64, width int) Word {
	w := make(Word, width)
	for i := range w {
		w[i] = bdd.False
		if shift := width - 1 - i; shift < 64 && n>>shift&1 == 1 {
			w[i] = bdd.True
		}
	}
	return w
}

// ConstantBytes is the word of constant bytes.
func ConstantBytes(b []byte) Word {
	w := make(Word, 0, 8*len(b))
	for _, v := range b {
		w = append(w, Constant(uint64(v), 8)...)
	}
	return w
}

func numberBits(n uint64, width int) []byte {
	b := make([]byte, width)
	for i := range b {
		if shift := width - 1 - i; shift < 64 {
			b[i] = byte(n >> shift & 1)
		}
	}
	return b
}

// SwapNative turns a number into the bytes in which this machine holds it, as a
// word, or back.
func SwapNative(w Word) Word {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return w
	}
	out := make(Word, 0, len(w))
	for at := len(w) - 8; at >= 0; at -= 8 {
		out = append(out, w[at:at+8]...)
	}
	return out
}

// Place returns words for a rule of a leaf's By.
func (s *Space) Place(by int) string { return s.places[by] }

// NamePlace gives a rule of a leaf's By its words, and returns its number.
func (s *Space) NamePlace(words string) int {
	if s.places == nil {
		s.places = map[int]string{}
	}
	by := len(s.places) + 1
	s.places[by] = words
	return by
}
