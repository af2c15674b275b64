package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// CtHelper gives a connection a helper: a new one of the object's protocol, to
// which no rule gave one.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_helper_obj_eval.
type CtHelper struct {
	Object string
	helper helperObject
}

func (i *CtHelper) String() string {
	return fmt.Sprintf("[ objref type %d name %s ]", objectHelper, i.Object)
}

func (*CtHelper) tracks(int) bool { return true }

func (i *CtHelper) event() packet.HelperEvent {
	return packet.HelperEvent{Name: i.helper.name, Protocol: i.helper.protocol}
}

func (i *CtHelper) exec(x *execution) result {
	f := x.flight
	e := f.Tracking.Entry
	if e == nil || e.Status&packet.StatusConfirmed != 0 || e.Protocol != i.helper.protocol || !i.helper.of(f.Packet.Version()) {
		return proceed
	}
	for _, done := range f.Events {
		if _, ok := done.(packet.HelperEvent); ok {
			return proceed
		}
	}
	f.Emit(i.event())
	return proceed
}

func (i *CtHelper) symbolic(x *symbolicRun) {
	s := x.space
	if !i.helper.of(s.Version) {
		return
	}
	of := s.Number(s.Bits(symbolic.CTProtocol), uint64(i.helper.protocol))
	first := s.And(s.And(of, s.HasEntry()), x.now(symbolic.Word{s.Unconfirmed()})[0])
	x.split(s.Diff(first, x.bit(symbolic.Helped)), func(y *symbolicRun) {
		for _, t := range symbolic.GivenTokens(packet.Given{Helper: i.helper.name, Protocol: i.helper.protocol}) {
			y.emit(t)
		}
		y.effect = s.Set(y.effect, s.Levels(symbolic.Helped), []symbolic.Cell{symbolic.One})
	}, nothing)
}
