package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// Secmark gives the packet the security context of an object.
//
// Kernel: net/netfilter/nft_meta.c, nft_secmark_obj_eval.
type Secmark struct {
	Object string
	label  secmarkObject
}

func (i *Secmark) String() string {
	return fmt.Sprintf("[ objref type %d name %s ]", objectSecmark, i.Object)
}

func (i *Secmark) exec(x *execution) result {
	x.flight.Secmark = packet.SecurityID(i.label.context)
	x.flight.Emit(packet.LabelEvent{Context: i.label.context})
	return proceed
}

func (i *Secmark) symbolic(x *symbolicRun) {
	levels := x.space.Levels(symbolic.Secmark)
	x.emit(symbolic.Token{Kind: "label", Text: i.label.context})
	x.write(levels, symbolic.Constant(uint64(packet.SecurityID(i.label.context)), len(levels)))
}
