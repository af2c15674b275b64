package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("synproxy", decodeSynProxy) }

// SynProxy takes a TCP segment with SYN or ACK from the sender and answers in place
// of the server.
//
// Kernel: net/netfilter/nft_synproxy.c, nft_synproxy_do_eval.
type SynProxy struct {
	MSS    uint16
	WScale uint8
	Flags  uint32 // NF_SYNPROXY_OPT_*
}

// Attributes of synproxy.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_synproxy_attributes.
const (
	synProxyMSS    = 1
	synProxyWScale = 2
	synProxyFlags  = 3
)

func decodeSynProxy(_ *scope, data []byte) (Instruction, error) {
	i := &SynProxy{}
	err := decodeNest("synproxy", data, may(synProxyMSS, decodeU16(&i.MSS)), may(synProxyWScale, decodeU8(&i.WScale)),
		need(synProxyFlags, decodeU32(&i.Flags)))
	const known = 0x0f
	if err == nil && i.Flags&^known != 0 {
		return nil, fmt.Errorf("flags %#x", i.Flags)
	}
	return i, err
}

func (i *SynProxy) String() string {
	return fmt.Sprintf("[ synproxy mss %d wscale %d ]", i.MSS, i.WScale)
}

func (*SynProxy) tracks(int) bool { return true }

func (i *SynProxy) event() packet.SynProxyEvent {
	return packet.SynProxyEvent{Options: i.Flags, MSS: i.MSS, WScale: i.WScale}
}

func (i *SynProxy) exec(x *execution) result {
	h := x.header
	if !h.hasProto || h.proto != protoTCP {
		return breaks
	}
	segment := x.tcpHeader()
	if segment == nil {
		return x.decide(Verdict{Code: VerdictDrop})
	}
	const syn, ack = 0x02, 0x10
	if segment[13]&(syn|ack) == 0 {
		return proceed
	}
	x.flight.Emit(i.event())
	return x.decide(Verdict{Code: VerdictDrop})
}

func (i *SynProxy) symbolic(x *symbolicRun) {
	s := x.space
	x.require(s.Number(x.bits(symbolic.Protocol), protoTCP))
	if x.ended {
		return
	}
	drop := func(y *symbolicRun) { y.decide(Verdict{Code: VerdictDrop}) }
	x.split(x.wholeTCP(), func(y *symbolicRun) {
		flags := y.now(s.Bits(symbolic.Transport)[8*13 : 8*14])
		const syn, ack = 6, 3 // from the most significant bit
		y.split(s.Or(flags[syn], flags[ack]), func(z *symbolicRun) {
			z.emit(symbolic.Token{Kind: "synproxy", Text: i.event().String()})
			drop(z)
		}, nothing)
	}, drop)
}
