package nftsim

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
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
