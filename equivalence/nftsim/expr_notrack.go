package nftsim

import (
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("notrack", decodeNotrack) }

// Notrack exempts the packet from connection tracking, unless it has been
// tracked already.
//
// Kernel: net/netfilter/nft_ct.c, nft_notrack_eval.
type Notrack struct{}

func decodeNotrack(_ *scope, data []byte) (Instruction, error) {
	return &Notrack{}, decodeNest("notrack", data)
}

func (*Notrack) String() string { return "[ notrack ]" }

func (*Notrack) exec(x *execution) result {
	f := x.flight
	if f.Tracking.Entry != nil || f.Tracking.State == packet.Untracked || f.Notrack || f.Template {
		return proceed
	}
	f.Notrack = true
	f.Emit(packet.NotrackEvent{})
	return proceed
}

func (*Notrack) symbolic(x *symbolicRun) {
	s := x.space
	untracked := s.Number(x.bits(symbolic.Tracking), uint64(packet.Untracked))
	said := s.Or(s.Or(x.bit(symbolic.Notrack), x.space.HasEntry()), s.Or(x.template(), untracked))
	x.split(said, nothing, func(y *symbolicRun) {
		y.emit(symbolic.Token{Kind: "notrack"})
		y.effect = s.Set(y.effect, s.Levels(symbolic.Notrack), []symbolic.Cell{symbolic.One})
	})
}
