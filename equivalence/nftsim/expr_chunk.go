package nftsim

import (
	"encoding/binary"
	"fmt"

	"nftmigrate/equivalence/symbolic"
)

// ChunkLoad loads whether an SCTP packet has a chunk of a type. The walk ends at
// bytes that are no chunk.
//
// Kernel: net/netfilter/nft_exthdr.c, nft_exthdr_sctp_eval.
type ChunkLoad struct {
	Type uint8
	To   Register
}

const (
	protoSCTP     = 132
	sctpHeaderLen = 12
	chunkLen      = 4
)

func (i *ChunkLoad) String() string {
	return fmt.Sprintf("[ exthdr load 1b @ %d + 0 present => reg %s ]", i.Type, i.To)
}

func (i *ChunkLoad) loads() (Register, int) { return i.To, 1 }

func (i *ChunkLoad) exec(x *execution) result {
	there := uint8(0)
	if h := x.header; h.hasProto && h.proto == protoSCTP {
		data := x.flight.Data
		for at := h.offset + sctpHeaderLen; at+chunkLen <= len(data); {
			length := int(binary.BigEndian.Uint16(data[at+2:]))
			if length == 0 {
				break
			}
			if data[at] == i.Type {
				there = 1
				break
			}
			at += (length + chunkLen - 1) &^ (chunkLen - 1)
		}
	}
	x.regs.storeU8(i.To, there)
	return proceed
}

func (i *ChunkLoad) symbolic(x *symbolicRun) {
	there := x.space.Var(symbolic.Chunk.Level(int(i.Type)))
	x.store(i.To, extend(symbolic.Word{x.space.And(x.isProto(protoSCTP), there)}, 8))
}
