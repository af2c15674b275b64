package nftsim

import (
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

func init() { register("lookup", decodeLookup) }

// Lookup looks registers up in a set. Of a map it loads the data, of a verdict
// map the verdict; else it breaks the rule unless the key is there.
//
// Kernel: net/netfilter/nft_lookup.c.
type Lookup struct {
	Set  *Set
	From Register
	Maps bool
	To   Register // with Maps; the verdict register for a verdict map
	Not  bool
}

func decodeLookup(s *scope, data []byte) (Instruction, error) {
	i := &Lookup{}
	var name string
	var id, flags uint32
	err := decodeNest("lookup", data,
		need(unix.NFTA_LOOKUP_SET, decodeString(&name)), need(unix.NFTA_LOOKUP_SREG, decodeRegister(&i.From)),
		may(unix.NFTA_LOOKUP_DREG, func(ad *netlink.AttributeDecoder) error {
			i.Maps = true
			return decodeRegister(&i.To)(ad)
		}),
		may(unix.NFTA_LOOKUP_SET_ID, decodeU32(&id)), may(unix.NFTA_LOOKUP_FLAGS, decodeU32(&flags)))
	if err != nil {
		return nil, err
	}
	if i.Set, err = s.findSet(name, id); err != nil {
		return nil, err
	}
	if rest := flags &^ unix.NFT_LOOKUP_F_INV; rest != 0 {
		return nil, notModelled{fmt.Sprintf("lookup flag %#x", rest)}
	}
	i.Not = flags != 0
	if i.Set.Flags&setObject != 0 {
		return nil, notModelled{"a map of objects"}
	}
	if i.Maps && (i.Not || i.Set.Flags&setMap == 0) {
		return nil, fmt.Errorf("set %s does not map", i.Set.Name)
	}
	if i.Maps && i.Set.Verdicts != (i.To == unix.NFT_REG_VERDICT) {
		return nil, fmt.Errorf("data of map %s in register %s", i.Set.Name, i.To)
	}
	if i.Maps && !i.Set.Verdicts {
		if err := i.To.span(i.Set.DataLen); err != nil {
			return nil, err
		}
	}
	return i, i.From.span(i.Set.KeyLen)
}

func (i *Lookup) String() string {
	s := fmt.Sprintf("[ lookup reg %s set %s", i.From, i.Set.Name)
	if i.Maps {
		s += fmt.Sprintf(" dreg %s", i.To)
	}
	if i.Not {
		s += " 0x1"
	}
	return s + " ]"
}

func (i *Lookup) loads() (Register, int) {
	if i.Maps && !i.Set.Verdicts {
		return i.To, i.Set.DataLen
	}
	return i.From, i.Set.KeyLen
}

func (i *Lookup) exec(x *execution) result {
	if i.Set.Unknown != "" {
		return x.unknown("set %s: %s", i.Set.Name, i.Set.Unknown)
	}
	if i.Set.Flags&(setEval|setTimeout) != 0 {
		x.flight.Volatile = true
	}
	key := x.regs.load(i.From, i.Set.KeyLen)
	i.Set.doubt(x, key)
	e := i.Set.lookup(key, x.now())
	if e == nil {
		if i.Not {
			return proceed
		}
		return breaks
	}
	if i.Not {
		return breaks
	}
	var v *Verdict
	if i.Maps {
		if i.Set.Verdicts {
			v = e.Verdict
		} else {
			x.regs.store(i.To, e.Data)
		}
	}
	if r := i.Set.runElement(x, e); r != proceed {
		return r
	}
	if v != nil {
		return x.decide(*v)
	}
	return proceed
}

// now is the time on the virtual clock in nanoseconds.
func (x *execution) now() int64 { return x.flight.Packet.Time }

func (i *Lookup) asks(c *compiler) bool {
	return c.changing[i.Set] != nil || slices.ContainsFunc(i.Set.Elements, func(e *Element) bool {
		return slices.ContainsFunc(e.Exprs, remembers)
	})
}

func (i *Lookup) symbolic(x *symbolicRun) {
	if i.Set.Unknown != "" {
		x.undecided("set " + i.Set.Name + ": " + i.Set.Unknown)
		return
	}
	if use, ok := x.rings.uses[i]; ok {
		x.useRing(use, i.From, i.Not)
		return
	}
	key, ok := x.key(i.From, i.Set.KeyLen)
	switch {
	case !ok:
		return
	case i.arithmetic():
		x.undecided("arithmetic by maps of bytes")
		return
	case x.changing[i.Set] != nil:
		i.changing(x, key)
		return
	case !checkNames(i.Set, key):
		x.undecided("set " + i.Set.Name + " has ranges of device names")
		return
	}
	sel := x.selectFrom(i.Set, key)
	way := func(class uint32) bdd.Ref {
		e := sel.classes[class]
		if e == nil {
			return x.next()
		}
		y := x.fork(bdd.True)
		i.found(y, e)
		return y.finish()
	}
	if i.membership(sel) {
		there := x.space.Map(x.space.NewMapping(func(class uint32) bdd.Ref {
			if sel.classes[class] != nil {
				return bdd.True
			}
			return bdd.False
		}), sel.f)
		x.require(x.unless(i.Not, there))
		return
	}
	x.end(x.space.Map(x.space.NewMapping(way), sel.f))
}

// arithmetic reports whether a map is from bytes to bytes, of which there are too many
// to go on with each: two of them make all numbers of 16 bits.
func (i *Lookup) arithmetic() bool {
	const few = 16
	return i.Maps && !i.Set.Verdicts && i.Set.KeyLen == 1 && i.Set.DataLen == 1 && len(i.Set.Elements) > few
}

// membership reports whether a rule goes on alike with all elements.
func (i *Lookup) membership(sel *selection) bool {
	remember := slices.ContainsFunc(sel.classes, func(e *Element) bool {
		return e != nil && slices.ContainsFunc(e.Exprs, remembers)
	})
	return i.Not || !i.Maps && !remember
}

// found goes on with an element.
func (i *Lookup) found(x *symbolicRun, e *Element) {
	if i.Maps && !i.Set.Verdicts {
		x.store(i.To, symbolic.ConstantBytes(e.Data))
	}
	var steps []symbolicStep
	for _, expr := range e.Exprs {
		if remembers(expr) {
			steps = append(steps, owned(owner{element: e}, expr))
		}
	}
	if i.Maps && i.Set.Verdicts {
		steps = append(steps, stepFunc(func(y *symbolicRun) { y.decide(*e.Verdict) }))
	}
	x.before(steps)
}

// changing looks into a set that packets change: what it holds is the answer of
// a state.
func (i *Lookup) changing(x *symbolicRun, key symbolicKey) {
	if i.Set.Verdicts {
		x.undecided("set " + i.Set.Name + " maps to verdicts and changes")
		return
	}
	words, ok := x.describe(key)
	if !ok {
		return
	}
	id, in := i.Set.member(words, x.reads(key))
	answer, ok := x.peek(id, in)
	if !ok {
		return
	}
	x.require(x.unless(i.Not, answer[0]))
	if i.Not {
		return
	}
	if i.Maps {
		x.store(i.To, answer[1:])
	}
	x.remember(i.Set, words)
}
