package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/symbolic"
)

func init() { register("socket", decodeSocket) }

// Socket loads something of the host's socket that takes the packet, and breaks
// where there is none, as there is none for what arrives at a host of the model. A
// socket that is being made, or waits for its end, only tells whether it is
// transparent.
//
// Kernel: net/netfilter/nft_socket.c.
type Socket struct {
	To  Register
	Key uint32 // NFT_SOCKET_*
}

// socketKeys are what is loaded, by key.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_socket_keys.
var socketKeys = []struct {
	name  string
	size  int
	group symbolic.Group
	whole bool // only a whole socket has it
}{
	{"transparent", 1, symbolic.TakerTransparent, false},
	{"mark", 4, symbolic.TakerMark, true},
	{"wildcard", 1, symbolic.TakerWildcard, true},
}

func decodeSocket(_ *scope, data []byte) (Instruction, error) {
	i := &Socket{}
	if err := decodeNest("socket", data, need(1, decodeU32(&i.Key)), need(2, decodeRegister(&i.To))); err != nil {
		return nil, err
	}
	if int(i.Key) >= len(socketKeys) {
		return nil, notModelled{fmt.Sprintf("key %d", i.Key)}
	}
	return i, i.To.span(socketKeys[i.Key].size)
}

func (i *Socket) String() string {
	return fmt.Sprintf("[ socket load %s => reg %s ]", socketKeys[i.Key].name, i.To)
}

func (i *Socket) loads() (Register, int) { return i.To, socketKeys[i.Key].size }

func (i *Socket) exec(x *execution) result {
	if x.flight.In == "" {
		return x.unknown("the socket that sends a packet")
	}
	return breaks
}

func (i *Socket) symbolic(x *symbolicRun) {
	key, s := socketKeys[i.Key], x.space
	x.undecidedWhere(s.Not(s.HasDevice(symbolic.InName)), "the socket that sends a packet")
	if x.ended {
		return
	}
	x.require(s.Bit(symbolic.Taker))
	if key.whole && !x.ended {
		x.require(s.Bit(symbolic.TakerWhole))
	}
	switch {
	case x.ended:
	case key.size == 1:
		x.store(i.To, extend(s.Bits(key.group), 8))
	default:
		x.storeNumber(i.To, s.Bits(key.group))
	}
}
