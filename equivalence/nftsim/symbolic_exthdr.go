package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// wholeTCP is where tcpHeader finds a header.
func (x *symbolicRun) wholeTCP() bdd.Ref {
	s := x.space
	w, _ := s.Bytes(symbolic.Transport, 12, 1)
	claims := x.now(w)[:4]
	whole := bdd.False
	for words := tcpLen / 4; words < 16; words++ {
		whole = s.Or(whole, s.And(s.Number(claims, uint64(words)), x.reaches(4*words)))
	}
	return s.And(s.Diff(x.isProto(protoTCP), x.later()), whole)
}

// hasOption is where a TCP header, when there is one, has an option of a kind.
// Options are taken to be well formed.
func (x *symbolicRun) hasOption(kind uint8) bdd.Ref {
	return x.now(symbolic.Word{x.space.Var(symbolic.TCPOption.Level(int(kind)))})[0]
}

func (i *ExthdrLoad) symbolic(x *symbolicRun) {
	s := x.space
	switch {
	case !i.TCP && s.Version == 4:
		x.end(x.next()) // there are none
		return
	case !i.TCP && i.asks(x.compiler):
		i.extension(x)
		return
	case !i.TCP:
		i.protocol(x)
		return
	}
	found := s.And(x.wholeTCP(), x.hasOption(i.Type))
	first := i.Offset == 0 && i.Len == 1 // the kind, which each option has
	if i.Present && first {
		x.store(i.To, extend(symbolic.Word{found}, 8))
		return
	}
	if !i.Present {
		x.require(found)
	}
	switch {
	case x.ended:
	case i.Present:
		x.undecided("the length of a TCP option")
	case first:
		x.store(i.To, symbolic.Constant(uint64(i.Type), 8))
	case i.Type == optionMSS && i.Offset == 2 && i.Len == 2:
		x.store(i.To, x.bits(symbolic.MSS))
	default:
		x.undecided("the value of a TCP option")
	}
}

func (i *ExthdrLoad) asks(c *compiler) bool {
	return !i.TCP && c.space.Version == 6 && extension6[i.Type] && i.Type != protoNone
}

// protocol loads from a header that is none of the extensions: it is there when it
// is that of the transport protocol, which a later fragment has not.
func (i *ExthdrLoad) protocol(x *symbolicRun) {
	s := x.space
	is := s.And(s.Bit(symbolic.TransportFound), s.Number(s.Bits(symbolic.Protocol), uint64(i.Type)))
	found := s.And(is, s.Number(s.Bits(symbolic.Fragment), 0))
	if i.Present {
		x.store(i.To, extend(symbolic.Word{found}, 8))
		return
	}
	x.require(found)
	if x.ended {
		return
	}
	w, ok := s.Bytes(symbolic.Transport, i.Offset, i.Len)
	if !ok {
		x.undecided(beyond)
		return
	}
	x.require(x.reaches(i.Offset + i.Len))
	x.store(i.To, x.now(w))
}

// extension loads from an IPv6 extension header. There are no variables for
// them, so whether there is one, and its first bytes, are what a state answers
// that is the same for all who ask. A fragment header tells a bit more: a packet
// that is a fragment has one.
func (i *ExthdrLoad) extension(x *symbolicRun) {
	// There were so many bytes when the header was found.
	least := map[uint8]int{protoFragment: 4, protoRouting: 4}[i.Type]
	least = max(least, 2)
	known := least
	if i.Type == protoFragment {
		known = 8
	}
	in := symbolic.Instance{
		Kind: symbolic.ExtensionKind, Parameters: fmt.Sprint(i.Type), Width: 1 + 8*known, Silent: true,
	}
	slot, answer, ok := x.slot(instanceID{key: in.Kind, nth: int(i.Type)}, in)
	if !ok {
		return
	}
	s := x.space
	var found bdd.Ref
	var bytes symbolic.Word
	if x.collecting != nil {
		found, bytes = answer[0], answer[1:]
	} else {
		found, bytes = s.Extension(slot)
	}
	if i.Type == protoFragment {
		offset, more := s.Bits(symbolic.Fragment), s.Bit(symbolic.MoreFragments)
		found = s.Or(found, s.Or(s.Not(s.Number(offset, 0)), more))
		copy(bytes[16:], offset)
		bytes[31] = more
	}
	switch end := i.Offset + i.Len; {
	case i.Present:
		x.store(i.To, extend(symbolic.Word{found}, 8))
	case end > least && end <= known:
		// Something behind the header says that it is whole.
		whole := s.And(s.Bit(symbolic.TransportFound), x.reaches(1))
		x.undecidedWhere(s.Diff(found, whole), "an IPv6 extension header that may be cut off")
		x.require(found)
		x.store(i.To, bytes[8*i.Offset:8*end])
	case end > least:
		x.undecidedWhere(found, "an IPv6 extension header that may be cut off")
		x.require(found)
	default:
		x.require(found)
		x.store(i.To, bytes[8*i.Offset:8*end])
	}
}

// symbolic lowers the maximum segment size to a constant or to what the path
// takes. A header that is not whole breaks the rule, a missing option does
// nothing.
func (i *ExthdrWrite) symbolic(x *symbolicRun) {
	most := x.bits(symbolic.PathMSS)
	if x.holding(i.From, i.Len).kind != pathSegmentBE {
		w, ok := x.load(i.From, i.Len)
		if !ok {
			return
		}
		most = w
	}
	x.require(x.wholeTCP())
	if x.ended {
		return
	}
	x.split(x.hasOption(i.Type), func(y *symbolicRun) {
		if i.Type != optionMSS || i.Offset != 2 || i.Len != 2 {
			y.undecided("writing a TCP option")
			return
		}
		size := y.bits(symbolic.MSS)
		y.split(y.exceeds(size, most), func(z *symbolicRun) { z.write(z.space.Levels(symbolic.MSS), most) }, nothing)
	}, nothing)
}

func (i *ExthdrReset) symbolic(x *symbolicRun) {
	x.require(x.wholeTCP())
	if x.ended {
		return
	}
	x.split(x.hasOption(i.Type), func(y *symbolicRun) {
		const noOperation = 1
		levels := []bdd.Level{symbolic.TCPOption.Level(noOperation), symbolic.TCPOption.Level(int(i.Type))}
		to := symbolic.Word{bdd.True, bdd.False}
		switch i.Type {
		case noOperation:
			return
		case optionMSS:
			levels, to = append(levels, y.space.Levels(symbolic.MSS)...), append(to, symbolic.Constant(0, 16)...)
		}
		y.write(levels, to)
	}, nothing)
}

// exceeds is where a number is greater than another of the same width.
func (x *symbolicRun) exceeds(a, b symbolic.Word) bdd.Ref {
	s, equal, f := x.space, bdd.True, bdd.False
	for i := range a {
		f = s.Or(f, s.And(equal, s.Diff(a[i], b[i])))
		equal = s.Diff(equal, s.Xor(a[i], b[i]))
	}
	return f
}
