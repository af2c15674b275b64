package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("reject", decodeReject) }

// Reject drops the packet and records the answer that is asked for. Whether the
// stack then finds the packet worth one does not depend on the rules
// ([packet.Host.Answers]).
//
// Kernel: net/netfilter/nft_reject_inet.c and its kin.
type Reject struct {
	Type uint32 // NFT_REJECT_*
	Code uint8
}

// anyCodes are the codes of "icmpx" in ICMP and in ICMPv6.
//
// Kernel: net/netfilter/nft_reject.c, nft_reject_icmp_code and
// nft_reject_icmpv6_code.
var anyCodes = map[int][]uint8{4: {0, 3, 1, 13}, 6: {0, 4, 3, 1}}

// unreachable are the ICMP types of "destination unreachable".
var unreachable = map[int]uint8{4: 3, 6: 1}

func decodeReject(_ *scope, data []byte) (Instruction, error) {
	i := &Reject{}
	err := decodeNest("reject", data, need(unix.NFTA_REJECT_TYPE, decodeU32(&i.Type)),
		may(unix.NFTA_REJECT_ICMP_CODE, decodeU8(&i.Code)))
	if err != nil {
		return nil, err
	}
	if i.Type > unix.NFT_REJECT_ICMPX_UNREACH {
		return nil, notModelled{fmt.Sprintf("reject type %d", i.Type)}
	}
	if i.Type == unix.NFT_REJECT_ICMPX_UNREACH && int(i.Code) >= len(anyCodes[4]) {
		return nil, fmt.Errorf("code %d for both families", i.Code)
	}
	return i, nil
}

func (i *Reject) String() string { return fmt.Sprintf("[ reject type %d code %d ]", i.Type, i.Code) }

// event is the answer to a packet of an IP version.
func (i *Reject) event(version int) packet.RejectEvent {
	e := packet.RejectEvent{Type: unreachable[version], Code: i.Code}
	switch i.Type {
	case unix.NFT_REJECT_TCP_RST:
		e = packet.RejectEvent{Reset: true}
	case unix.NFT_REJECT_ICMPX_UNREACH:
		e.Code = anyCodes[version][i.Code]
	}
	return e
}

func (i *Reject) exec(x *execution) result {
	x.flight.Emit(i.event(x.header.version))
	return x.decide(Verdict{Code: VerdictDrop})
}

func (i *Reject) symbolic(x *symbolicRun) {
	x.emit(symbolic.Token{Kind: "reject", Text: i.event(x.space.Version).String()})
	x.decide(Verdict{Code: VerdictDrop})
}
