package nftsim

import (
	"fmt"
	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

func init() { register("masq", decodeMasq) }

// Masq asks for a translation of the source to the address of the outgoing
// device, and accepts.
//
// Kernel: net/netfilter/nft_masq.c, net/netfilter/nf_nat_masquerade.c.
type Masq struct {
	natPortRange
	Flags uint32
}

func decodeMasq(_ *scope, data []byte) (Instruction, error) {
	i := &Masq{}
	err := decodeNest("masq", data, may(unix.NFTA_MASQ_FLAGS, decodeU32(&i.Flags)),
		may(unix.NFTA_MASQ_REG_PROTO_MIN, decodeRegister(&i.MinPort)),
		may(unix.NFTA_MASQ_REG_PROTO_MAX, decodeRegister(&i.MaxPort)))
	if err != nil {
		return nil, err
	}
	if err := checkNATFlags(i.Flags); err != nil {
		return nil, err
	}
	return i, i.check()
}

func (i *Masq) String() string {
	return "[ masq " + i.natPortRange.String() + natFlagText(i.Flags) + "]"
}

func (*Masq) tracks(int) bool { return true }

func (i *Masq) exec(x *execution) result {
	if x.header.version == 4 && x.source().IsUnspecified() {
		return x.decide(Verdict{Code: VerdictAccept})
	}
	d, r := x.device(x.flight.Out)
	if r != proceed {
		return r
	}
	a := x.outgoingAddress(d)
	if !a.IsValid() {
		return x.decide(Verdict{Code: VerdictDrop})
	}
	e := packet.NATEvent{Min: a, Max: a}
	i.load(x, &e)
	return x.translate(e, i.Flags)
}

func (i *Masq) symbolic(x *symbolicRun) {
	x.translate("masquerade", fmt.Sprintf("ports %t flags %#x", i.MinPort != 0, i.Flags&natCompared), nil, &i.natPortRange)
}
