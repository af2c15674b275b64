package nftsim

import (
	"encoding/binary"
	"fmt"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// CtZone tells connection tracking in which zone to look for the packet, or for
// packets of one direction. A packet that has a connection or a template keeps
// it; one that was exempted is exempted no more.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_set_zone_eval.
type CtZone struct {
	From Register
	Of   Direction
}

var zoneDirections = map[Direction]packet.ZoneDirection{
	DirNone: packet.ZoneBoth, DirOriginal: packet.ZoneOriginal, DirReply: packet.ZoneReply,
}

func (i *CtZone) String() string {
	if i.Of == DirNone {
		return fmt.Sprintf("[ ct set zone with reg %s ]", i.From)
	}
	return fmt.Sprintf("[ ct set zone with reg %s , dir %s ]", i.From, directionNames[i.Of])
}

func (*CtZone) tracks(int) bool { return true }

// templated reports whether rules take a template for the packet's connection.
func templated(f *packet.Flight) bool { return f.Template && f.Tracking.State == 0 }

func (i *CtZone) exec(x *execution) result {
	f := x.flight
	switch {
	case f.Tracking.Entry != nil || templated(f):
		return proceed
	case f.Tracking.State != 0:
		return x.unknown("a zone behind connection tracking")
	}
	f.Template, f.Notrack = true, false
	f.Emit(packet.ZoneEvent{Zone: binary.NativeEndian.Uint16(x.regs.load(i.From, 2)), Of: zoneDirections[i.Of]})
	return proceed
}

// template holds for packets with a template, which tracking has not looked at.
func (x *symbolicRun) template() bdd.Ref {
	return x.now(symbolic.Word{x.space.Templated()})[0]
}

func (i *CtZone) symbolic(x *symbolicRun) {
	s := x.space
	w, ok := x.loadNumber(i.From, 2)
	if !ok {
		return
	}
	x.split(s.Or(s.HasEntry(), x.template()), nothing, func(y *symbolicRun) {
		y.undecidedWhere(s.Not(s.Number(y.bits(symbolic.Tracking), 0)), "a zone behind connection tracking")
		if y.ended {
			return
		}
		y.cells(w, func(z *symbolicRun, cells []symbolic.Cell) {
			z.emit(symbolic.Token{Kind: "zone", Text: zoneDirections[i.Of].String(), Cells: cells})
			z.effect = s.Set(z.effect, s.Levels(symbolic.Template), []symbolic.Cell{symbolic.One})
			z.effect = s.Set(z.effect, s.Levels(symbolic.Notrack), []symbolic.Cell{symbolic.Zero})
		})
	})
}
