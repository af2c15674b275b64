package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("queue", decodeQueue) }

// Queue hands the packet over to a program that listens to one of the queues. The
// queue is chosen by a hash of the addresses, or by the processor.
//
// Kernel: net/netfilter/nft_queue.c.
type Queue struct {
	First, Total uint16
	Flags        uint16 // NFT_QUEUE_FLAG_*
}

func decodeQueue(_ *scope, data []byte) (Instruction, error) {
	i := &Queue{Total: 1}
	err := decodeNest("queue", data, need(unix.NFTA_QUEUE_NUM, decodeU16(&i.First)),
		may(unix.NFTA_QUEUE_TOTAL, decodeU16(&i.Total)), may(unix.NFTA_QUEUE_FLAGS, decodeU16(&i.Flags)))
	switch {
	case err != nil:
		return nil, err
	case i.Total == 0, int(i.First)+int(i.Total) > 1<<16:
		return nil, fmt.Errorf("%d queues from %d on", i.Total, i.First)
	case i.Flags&^unix.NFT_QUEUE_FLAG_MASK != 0:
		return nil, fmt.Errorf("flags %#x", i.Flags)
	}
	return i, nil
}

func (i *Queue) String() string {
	s := fmt.Sprintf("[ queue num %d", i.First)
	if i.Total > 1 {
		s += fmt.Sprintf("-%d", i.First+i.Total-1)
	}
	if i.Flags&unix.NFT_QUEUE_FLAG_BYPASS != 0 {
		s += " bypass"
	}
	if i.Flags&unix.NFT_QUEUE_FLAG_CPU_FANOUT != 0 {
		s += " fanout"
	}
	return s + " ]"
}

// event leaves out the choice where there is one queue.
func (i *Queue) event() packet.QueueEvent {
	return packet.QueueEvent{
		First: i.First, Last: i.First + i.Total - 1, Bypass: i.Flags&unix.NFT_QUEUE_FLAG_BYPASS != 0,
		Fanout: i.Flags&unix.NFT_QUEUE_FLAG_CPU_FANOUT != 0 && i.Total > 1,
	}
}

func (i *Queue) exec(x *execution) result {
	x.flight.Queue(i.event())
	return x.decide(Verdict{Code: VerdictAccept})
}

func (i *Queue) symbolic(x *symbolicRun) {
	x.emit(symbolic.Token{Kind: "queue", Text: i.event().String()})
	x.decide(Verdict{Code: VerdictAccept})
}
