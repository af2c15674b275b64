package nftsim

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
)

func init() { register("dynset", decodeDynset) }

// A DynsetOp is what Dynset does.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_dynset_ops.
type DynsetOp uint32

// The operations.
const (
	DynsetAdd DynsetOp = iota
	DynsetUpdate
	DynsetDelete
)

var dynsetNames = []string{"add", "update", "delete"}

// Dynset adds the key in registers to a set, renews its timeout, or deletes
// it. Adding and updating then run the element's instructions, and break the
// rule when the set is full.
//
// Kernel: net/netfilter/nft_dynset.c, nft_dynset_eval.
type Dynset struct {
	Set     *Set
	Op      DynsetOp
	Key     Register
	Maps    bool
	Data    Register // with Maps
	Timeout int64    // nanoseconds; 0 is the set's default
	Not     bool     // breaks when the element is there or was added
	Exprs   []Instruction
}

const (
	dynsetExpressions = 10
	dynsetFlagExpr    = 2
	// defaultSize is how many elements a set without a size can take from
	// packets.
	defaultSize = 0xffff
)

func decodeDynset(s *scope, data []byte) (Instruction, error) {
	i := &Dynset{}
	var name string
	var id, flags uint32
	var timeout uint64
	var expr, exprs []byte
	err := decodeNest("dynset", data,
		need(unix.NFTA_DYNSET_SET_NAME, decodeString(&name)), may(unix.NFTA_DYNSET_SET_ID, decodeU32(&id)),
		need(unix.NFTA_DYNSET_OP, decodeU32((*uint32)(&i.Op))), need(unix.NFTA_DYNSET_SREG_KEY, decodeRegister(&i.Key)),
		may(unix.NFTA_DYNSET_SREG_DATA, func(ad *netlink.AttributeDecoder) error {
			i.Maps = true
			return decodeRegister(&i.Data)(ad)
		}),
		may(unix.NFTA_DYNSET_TIMEOUT, decodeU64(&timeout)), may(unix.NFTA_DYNSET_FLAGS, decodeU32(&flags)),
		may(unix.NFTA_DYNSET_EXPR, decodeBytes(&expr)), may(dynsetExpressions, decodeBytes(&exprs)),
		skip(unix.NFTA_DYNSET_PAD))
	if err != nil {
		return nil, err
	}
	if i.Set, err = s.findSet(name, id); err != nil {
		return nil, err
	}
	if int(i.Op) >= len(dynsetNames) {
		return nil, notModelled{fmt.Sprintf("operation %d on a set", i.Op)}
	}
	if rest := flags &^ (unix.NFT_DYNSET_F_INV | dynsetFlagExpr); rest != 0 {
		return nil, notModelled{fmt.Sprintf("dynset flag %#x", rest)}
	}
	i.Not, i.Timeout = flags&unix.NFT_DYNSET_F_INV != 0, nanoseconds(timeout)
	if i.Exprs, err = decodeOneOrMore(s, expr, exprs); err != nil {
		return nil, err
	}
	return i, i.check()
}

// check refuses a set that packets cannot change in this way.
func (i *Dynset) check() error {
	s := i.Set
	switch {
	case s.Flags&(setInterval|setConstant) != 0:
		return fmt.Errorf("set %s cannot be changed by packets", s.Name)
	case i.Timeout != 0 && s.Flags&setTimeout == 0, i.Op == DynsetUpdate && s.Flags&setTimeout == 0:
		return fmt.Errorf("set %s has no timeouts", s.Name)
	case i.Maps != (s.Flags&setMap != 0) || s.Verdicts:
		return fmt.Errorf("data for set %s", s.Name)
	case len(i.Exprs) != 0 && s.Flags&setEval == 0:
		return errors.New("expressions for a set that is not dynamic")
	}
	if s.Size == 0 {
		s.Size = defaultSize
	}
	if i.Maps {
		if err := i.Data.span(s.DataLen); err != nil {
			return err
		}
	}
	return i.Key.span(s.KeyLen)
}

func (i *Dynset) String() string {
	s := fmt.Sprintf("[ dynset %s reg_key %s set %s ", dynsetNames[i.Op], i.Key, i.Set.Name)
	if i.Maps {
		s += fmt.Sprintf("sreg_data %s ", i.Data)
	}
	if i.Timeout != 0 {
		s += fmt.Sprintf("timeout %dms ", i.Timeout/1e6)
	}
	for _, e := range i.Exprs {
		s += fmt.Sprintf("expr %s ", e)
	}
	return s + "]"
}

func (i *Dynset) loads() (Register, int) { return i.Key, i.Set.KeyLen }

func (i *Dynset) tracks(version int) bool {
	for _, e := range i.Exprs {
		if t, ok := e.(tracker); ok && t.tracks(version) {
			return true
		}
	}
	return false
}

func (i *Dynset) exec(x *execution) result {
	if i.Set.Unknown != "" {
		return x.unknown("set %s: %s", i.Set.Name, i.Set.Unknown)
	}
	x.flight.Volatile = true
	key := x.regs.load(i.Key, i.Set.KeyLen)
	i.Set.doubt(x, key)
	if i.Op == DynsetDelete {
		i.Set.remove(key, x.now())
		return proceed
	}
	timeout := i.life()
	e := i.Set.lookupHash(key)
	switch {
	case e == nil || e.expired(x.now()):
		fits, ok := i.Set.room(x.now())
		switch {
		case !ok:
			return x.unknown("whether set %s is full is not modelled: it holds elements that are gone but not collected", i.Set.Name)
		case !fits:
			return i.outcome(false)
		}
		if i.Set.churned(key, x.now()) {
			x.flight.Declared = append(x.flight.Declared, "set-churn")
			x.flight.Unsure, i.Set.unsure = true, true
		}
		e = i.fresh(x, key, timeout)
		i.Set.insert(e)
	case i.Op == DynsetUpdate && e.Timeout != 0:
		e = i.Set.renew(e, after(x.now(), timeout))
	}
	if r := i.Set.runElement(x, e); r != proceed {
		return r
	}
	return i.outcome(true)
}

// outcome goes on with the rule, or not.
func (i *Dynset) outcome(there bool) result {
	if there == i.Not {
		return breaks
	}
	return proceed
}

// fresh makes an element from the registers.
func (i *Dynset) fresh(x *execution, key []byte, timeout int64) *Element {
	e := &Element{Key: append([]byte(nil), key...), Timeout: timeout, Exprs: i.Exprs}
	if e.Exprs == nil {
		e.Exprs = i.Set.Exprs
	}
	if timeout != 0 {
		e.Expires = after(x.now(), timeout)
	}
	if i.Maps {
		e.Data = append([]byte(nil), x.regs.load(i.Data, i.Set.DataLen)...)
	}
	return e
}

// after adds a timeout to a time, and stops at the end of the clock.
func after(now, timeout int64) int64 {
	if timeout > maxTimeout-now {
		return maxTimeout
	}
	return now + timeout
}

// life is how long an element lives that the packet adds, 0 for ever.
func (i *Dynset) life() int64 {
	if i.Timeout == 0 {
		return i.Set.Timeout
	}
	return i.Timeout
}

func (*Dynset) asks(*compiler) bool { return true }

// program are the instructions of an element that it makes.
func (i *Dynset) program() []Instruction {
	if i.Exprs != nil {
		return i.Exprs
	}
	return i.Set.Exprs
}

// symbolic takes the set never to be full. A set that no rule looks into and
// whose elements remember something is no more than a table of what they
// remember: that it was updated cannot be observed.
func (i *Dynset) symbolic(x *symbolicRun) {
	set := i.Set
	if set.Unknown != "" {
		x.undecided("set " + set.Name + ": " + set.Unknown)
		return
	}
	if use, ok := x.rings.uses[i]; ok {
		x.useRing(use, i.Key, false)
		return
	}
	key, ok := x.key(i.Key, set.KeyLen)
	if !ok {
		return
	}
	words, ok := x.describe(key)
	if !ok {
		return
	}
	w := x.keyBits(key)
	if i.Maps {
		value, ok := x.load(i.Data, set.DataLen)
		if !ok {
			return
		}
		w = append(w, value...)
	}
	if i.Op == DynsetDelete {
		i.event(x, words, x.reads(key), w)
		return
	}
	if i.Not {
		x.before([]symbolicStep{stepFunc(breaksRule)})
	}
	x.remember(set, words)
	if c := x.changing[set]; !x.ended && (c.asked || len(c.program) == 0) {
		i.event(x, words, x.reads(key), w)
	}
}

// event tells of the change, behind which lookups can find something else.
func (i *Dynset) event(x *symbolicRun, key string, reads []symbolic.Group, w symbolic.Word) {
	id, in := i.Set.member(key, reads)
	slot, _, ok := x.slot(id, in)
	if !ok {
		return
	}
	timeout := i.life()
	x.cells(w, func(y *symbolicRun, cells []symbolic.Cell) {
		if y.collecting != nil {
			return
		}
		y.emit(symbolic.Token{
			Kind: "set " + dynsetNames[i.Op], Text: fmt.Sprintf("%s timeout %dms", i.Set.words(), timeout/1e6),
			Cells: cells, Slot: slot + 1,
		})
		y.effect = y.touched(y.effect, i.Set)
	})
}
