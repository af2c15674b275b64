package nftsim

import (
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// symbolicCt are the loads of ct, by key. All but that of the state run for
// packets with a connection.
var symbolicCt = map[CtKey]func(x *symbolicRun, i *CtLoad){
	unix.NFT_CT_STATE: func(x *symbolicRun, i *CtLoad) { x.storeNumber(i.To, x.stateWord()) },
	unix.NFT_CT_DIRECTION: func(x *symbolicRun, i *CtLoad) {
		x.store(i.To, extend(x.space.Bits(symbolic.CTDirection), 8))
	},
	unix.NFT_CT_STATUS:     ctNumber(symbolic.CTStatus),
	unix.NFT_CT_MARK:       ctNumber(symbolic.CTMark),
	unix.NFT_CT_SECMARK:    ctNumber(symbolic.CTSecmark),
	unix.NFT_CT_EXPIRATION: ctNumber(symbolic.CTExpires),
	unix.NFT_CT_HELPER: func(x *symbolicRun, i *CtLoad) {
		x.require(x.space.Bit(symbolic.CTHasHelper))
		x.store(i.To, x.space.Bits(symbolic.CTHelper))
	},
	unix.NFT_CT_L3PROTOCOL: func(x *symbolicRun, i *CtLoad) {
		x.store(i.To, symbolic.Constant(uint64(protocolFamilies[x.space.Version]), 8))
	},
	unix.NFT_CT_SRC:       ctTuple(0, symbolic.CTOrigSrc, symbolic.CTReplSrc),
	unix.NFT_CT_DST:       ctTuple(0, symbolic.CTOrigDst, symbolic.CTReplDst),
	unix.NFT_CT_PROTOCOL:  func(x *symbolicRun, i *CtLoad) { x.store(i.To, x.space.Bits(symbolic.CTProtocol)) },
	unix.NFT_CT_PROTO_SRC: ctTuple(0, symbolic.CTOrigSrcPort, symbolic.CTReplSrcPort),
	unix.NFT_CT_PROTO_DST: ctTuple(0, symbolic.CTOrigDstPort, symbolic.CTReplDstPort),
	unix.NFT_CT_LABELS:    func(x *symbolicRun, i *CtLoad) { x.store(i.To, x.bits(symbolic.CTLabels)) },
	unix.NFT_CT_PKTS:      ctCount(symbolic.CTPacketsOrig, symbolic.CTPacketsRepl, symbolic.CTPacketsBoth),
	unix.NFT_CT_BYTES:     ctCount(symbolic.CTBytesOrig, symbolic.CTBytesRepl, symbolic.CTBytesBoth),
	unix.NFT_CT_AVGPKT:    ctCount(symbolic.CTAverageOrig, symbolic.CTAverageRepl, symbolic.CTAverageBoth),
	unix.NFT_CT_ZONE:      ctNumber(symbolic.CTZone),
	unix.NFT_CT_SRC_IP:    ctTuple(4, symbolic.CTOrigSrc, symbolic.CTReplSrc),
	unix.NFT_CT_DST_IP:    ctTuple(4, symbolic.CTOrigDst, symbolic.CTReplDst),
	unix.NFT_CT_SRC_IP6:   ctTuple(6, symbolic.CTOrigSrc, symbolic.CTReplSrc),
	unix.NFT_CT_DST_IP6:   ctTuple(6, symbolic.CTOrigDst, symbolic.CTReplDst),
}

// stateWord is the word of loadState.
func (x *symbolicRun) stateWord() symbolic.Word {
	s := x.space
	state := x.bits(symbolic.Tracking)
	w := symbolic.Constant(0, 32)
	for st := packet.State(0); st <= packet.Untracked; st++ {
		is := s.Number(state, uint64(st))
		bits := symbolic.Constant(uint64(stateBits[st]), len(w))
		if st == 0 {
			bits = x.choice(x.bit(symbolic.Notrack), symbolic.Constant(uint64(stateBits[packet.Untracked]), len(w)), bits)
			bits = x.choice(x.template(), symbolic.Constant(uint64(stateBits[packet.New]), len(w)), bits)
		}
		for k := range w {
			w[k] = s.Or(w[k], s.And(is, bits[k]))
		}
	}
	return w
}

// ctNumber loads a number in host byte order.
func ctNumber(g symbolic.Group) func(*symbolicRun, *CtLoad) {
	return func(x *symbolicRun, i *CtLoad) { x.storeNumber(i.To, x.bits(g)) }
}

// ctTuple loads a part of a tuple as on the wire; with a version, only from
// connections of that version, which are those of its packets.
func ctTuple(version int, original, reply symbolic.Group) func(*symbolicRun, *CtLoad) {
	return func(x *symbolicRun, i *CtLoad) {
		if version != 0 && version != x.space.Version {
			x.end(x.next())
			return
		}
		g := original
		if i.Direction == DirReply {
			g = reply
		}
		x.store(i.To, x.space.Bits(g))
	}
}

// ctCount loads a counter of one direction or of both.
func ctCount(original, reply, both symbolic.Group) func(*symbolicRun, *CtLoad) {
	return func(x *symbolicRun, i *CtLoad) {
		g := map[Direction]symbolic.Group{DirOriginal: original, DirReply: reply, DirNone: both}[i.Direction]
		counted := x.space.Bit(symbolic.CTAccounting)
		x.storeNumber(i.To, x.choice(counted, x.space.Bits(g), symbolic.Constant(0, g.Width())))
	}
}

func (i *CtLoad) symbolic(x *symbolicRun) {
	load := symbolicCt[i.Key]
	if load == nil {
		x.undecided("loading ct " + ctKeys[i.Key].name)
		return
	}
	if i.Key != unix.NFT_CT_STATE {
		x.undecidedWhere(x.template(), "loading ct "+ctKeys[i.Key].name+" of a template")
		x.require(x.space.HasEntry())
	}
	if !x.ended {
		load(x, i)
	}
}

func (i *CtSet) symbolic(x *symbolicRun) {
	var levels []bdd.Level
	var w symbolic.Word
	ok := false
	switch i.Key {
	case unix.NFT_CT_MARK:
		levels = x.space.Levels(symbolic.CTMark)
		w, ok = x.loadNumber(i.From, wordSize)
	case unix.NFT_CT_SECMARK:
		levels = x.space.Levels(symbolic.CTSecmark)
		w, ok = x.loadNumber(i.From, wordSize)
	case unix.NFT_CT_LABELS:
		levels = x.space.Levels(symbolic.CTLabels)
		if w, ok = x.load(i.From, len(levels)/8); ok {
			w = slices.Clone(w)
			for k, bit := range x.bits(symbolic.CTLabels) {
				w[k] = x.space.Or(bit, w[k])
			}
		}
	default:
		x.undecided("setting ct " + ctKeys[i.Key].name)
	}
	if ok {
		x.split(x.space.HasEntry(), func(y *symbolicRun) { y.write(levels, w) }, nothing)
	}
}
