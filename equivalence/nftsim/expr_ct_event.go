package nftsim

import (
	"encoding/binary"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// CtEvents chooses which events of a connection listeners are told. Of one that
// nothing has confirmed that is so whether anybody listens or not.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_set_eval.
type CtEvents struct{ From Register }

func (i *CtEvents) String() string { return "[ ct set event with reg " + i.From.String() + " ]" }

func (*CtEvents) tracks(int) bool { return true }

func (i *CtEvents) exec(x *execution) result {
	e := x.flight.Tracking.Entry
	switch {
	case e == nil:
		return proceed
	case e.Status&packet.StatusConfirmed != 0:
		return x.unknown("other events of a connection that is there already")
	}
	x.flight.Emit(packet.EventMaskEvent{Events: binary.NativeEndian.Uint32(x.regs.load(i.From, wordSize))})
	return proceed
}

func (i *CtEvents) symbolic(x *symbolicRun) {
	s := x.space
	w, ok := x.loadNumber(i.From, wordSize)
	if !ok {
		return
	}
	x.split(s.HasEntry(), func(y *symbolicRun) {
		y.undecidedWhere(s.Not(y.now(symbolic.Word{s.Unconfirmed()})[0]), "other events of a connection that is there already")
		mask, constant := uint32(0), true
		for _, bit := range w {
			mask <<= 1
			switch bit {
			case bdd.True:
				mask |= 1
			case bdd.False:
			default:
				constant = false
			}
		}
		switch {
		case y.ended:
		case !constant:
			y.undecided("events that depend on the packet")
		default:
			for _, t := range symbolic.GivenTokens(packet.Given{Mask: true, Told: mask}) {
				y.emit(t)
			}
		}
	}, nothing)
}
