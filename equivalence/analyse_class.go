package equivalence

import (
	"errors"
	"math/big"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A Class is a set of packets at one stage, with their circumstances: devices,
// marks, what connection tracking says, and the answers that stateful matches
// will give. It speaks of a packet as it enters the stage.
//
// A class need not be known exactly, where rules do what is not modelled: then
// there are packets that belong to it for certain, and packets that may. What
// methods say holds for both: a class is [Class.Empty] only when no packet may
// belong to it, and [Class.Within] another only when all that may belong to it
// certainly belong to the other.
//
// Classes of one stage can be put together. Each operation has the memory of the analysis and the time of its options; the
// class that comes of one that runs out has an [Class.Err], may hold any packet,
// and is neither empty nor within another. A Class must not be used by two
// goroutines at once with another class of the same analysis. The zero value is
// no class; its Err says so.
type Class struct {
	at          *scope
	least, most bdd.Ref
	err         error
}

var (
	errNoClass = errors.New("no class of packets")
	errApart   = errors.New("classes of unlike stages")
)

// Err says why a class is not known at all: a budget that ran out, or classes
// that do not go together. It is nil for others.
func (c Class) Err() error {
	if c.at == nil && c.err == nil {
		return errNoClass
	}
	return c.err
}

// Version is the IP version of the packets, and Hook where they are.
func (c Class) Version() int {
	if c.at == nil {
		return 0
	}
	return c.at.space.Version
}

// Hook is where the packets are.
func (c Class) Hook() packet.Hook {
	if c.at == nil {
		return 0
	}
	return c.at.hook
}

// And is the class of packets that are of both.
func (c Class) And(o Class) Class {
	return c.with(o, func(m *bdd.Manager) (least, most bdd.Ref) { return m.And(c.least, o.least), m.And(c.most, o.most) })
}

// Or is the class of packets that are of either.
func (c Class) Or(o Class) Class {
	return c.with(o, func(m *bdd.Manager) (least, most bdd.Ref) { return m.Or(c.least, o.least), m.Or(c.most, o.most) })
}

// Minus is the class of packets that are of the first and not of the other.
func (c Class) Minus(o Class) Class {
	return c.with(o, func(m *bdd.Manager) (least, most bdd.Ref) { return m.Diff(c.least, o.most), m.Diff(c.most, o.least) })
}

// with makes a class of two.
func (c Class) with(o Class, join func(m *bdd.Manager) (least, most bdd.Ref)) Class {
	out := Class{at: c.at, least: bdd.False, most: bdd.True, err: c.together(o)}
	if out.err != nil {
		return out
	}
	least, most := bdd.False, bdd.True
	if out.err = c.at.try(func() { least, most = join(c.at.space.Manager) }); out.err == nil {
		out.least, out.most = least, most
	}
	return out
}

// together says why two classes cannot be compared, or is nil.
func (c Class) together(o Class) error {
	switch {
	case c.Err() != nil:
		return c.Err()
	case o.Err() != nil:
		return o.Err()
	case c.at != o.at:
		return errApart
	}
	return nil
}

// Empty reports whether no packet is of the class.
func (c Class) Empty() bool { return c.Err() == nil && c.most == bdd.False }

// Certain reports whether some packet is of the class, as far as the rules of
// the stage tell.
func (c Class) Certain() bool { return c.Err() == nil && c.least != bdd.False }

// Exact reports whether it is known of each packet whether it is of the class.
func (c Class) Exact() bool { return c.Err() == nil && c.least == c.most }

// Within reports whether every packet of the class is of another.
func (c Class) Within(o Class) bool {
	if c.together(o) != nil {
		return false
	}
	within := false
	err := c.at.try(func() { within = c.at.space.Diff(c.most, o.least) == bdd.False })
	return err == nil && within
}

// A Size is a number of packets. Packets count as different when they differ in
// something that the rules of the stage read, other than the length: of addresses
// in networks that no rule names, of payloads and of names of devices there are
// not as many as there could be, and what matters is the part that a number is of
// All. Packets whose transport header is cut off count only in classes that hold
// no others.
type Size struct {
	// Least are certainly of the class, Most may be; they are equal for a class
	// that is exact.
	Least, Most *big.Int
	// All are the packets that can be at the stage.
	All *big.Int
}

// Size counts the packets of a class.
func (c Class) Size() (Size, error) {
	if err := c.Err(); err != nil {
		return Size{}, err
	}
	var size Size
	err := c.at.try(func() {
		levels := merged(c.at.levels, c.at.space.Support(c.least), c.at.space.Support(c.most))
		size = Size{c.at.count(c.least, levels), c.at.count(c.most, levels), c.at.count(c.at.domain, levels)}
	})
	return size, err
}

// count counts packets as [Size] says.
func (at *scope) count(class bdd.Ref, levels []bdd.Level) *big.Int {
	s := at.space
	if whole := s.And(class, at.whole()); whole != bdd.False {
		class = whole
	}
	length := func(l bdd.Level) bool { return inGroup(l, symbolic.TransportBytes) }
	return s.SatCount(s.Exists(class, length), slices.DeleteFunc(slices.Clone(levels), length))
}

// Packets makes up to n packets of a class, the most ordinary ones first, then
// such as differ from those in what the rules read. They certainly belong to it,
// or, when none does, may. They are of the class as it stands at its stage:
// whether they come there at all, past the rules of the stages before, is for the
// examples of an [Analysis] to show.
func (c Class) Packets(n int) []Example {
	if c.Err() != nil {
		return nil
	}
	s := c.at.space
	rest := c.least
	if rest == bdd.False {
		rest = c.most
	}
	var list []Example
	_ = c.at.try(func() {
		for len(list) < n && rest != bdd.False {
			points := c.at.points(rest, c.at)
			if len(points) == 0 {
				return
			}
			p := points[0]
			if w, ok := c.at.witness(p); ok {
				list = append(list, Example{Packet: w.packet, Host: w.host, untracked: !c.at.tracked})
			}
			var way []bdd.Literal
			for l, v := range p.path {
				way = append(way, bdd.Literal{Level: l, Value: v})
			}
			rest = s.Diff(rest, s.Cube(way))
		}
	})
	return list
}
