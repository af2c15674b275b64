package bugs_test

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// Reasons for which a change may make no difference.
const (
	aroundIt   = "the rules around decide the same packets in the same way"
	impliedIt  = "other conditions of the rule, or what the kernel does before, imply it"
	sameOrder  = "the chains run in the same order"
	notMasked  = "no packet has what is compared now, or it is masked"
	disjoint   = "the two hold for unlike packets, or do the same"
	noState    = "what runs twice remembers nothing and adds nothing"
	neverMet   = "no packet comes there, or none with this"
	sameAnswer = "the kernel says the same of both, or it is only asked whether there is any"
)

// constantMutations change constants.
var constantMutations = []mutation{
	{"bit of a constant", notMasked, inRules("cmp", func(_ *program, r programRule, at int) [][]expr {
		return valued(r.exprs, at, unix.NFTA_CMP_DATA, bits)
	})},
	{"bit of a mask", notMasked, inRules("bitwise", func(_ *program, r programRule, at int) [][]expr {
		return valued(r.exprs, at, unix.NFTA_BITWISE_MASK, bits)
	})},
	{"bit of an exclusive or", notMasked, inRules("bitwise", func(_ *program, r programRule, at int) [][]expr {
		return valued(r.exprs, at, unix.NFTA_BITWISE_XOR, bits)
	})},
	{"bit of a value that is written", notMasked, inRules("immediate", func(_ *program, r programRule, at int) [][]expr {
		return valued(r.exprs, at, unix.NFTA_IMMEDIATE_DATA, bits)
	})},
	{"end of a range moved by one", neverMet, inAll(
		inRules("cmp", func(_ *program, r programRule, at int) [][]expr {
			if op, _ := number(r.exprs[at].data, unix.NFTA_CMP_OP); op < unix.NFT_CMP_LT {
				return nil
			}
			return valued(r.exprs, at, unix.NFTA_CMP_DATA, neighbours)
		}),
		inRules("range", func(_ *program, r programRule, at int) [][]expr {
			return append(valued(r.exprs, at, unix.NFTA_RANGE_FROM_DATA, neighbours), valued(r.exprs, at, unix.NFTA_RANGE_TO_DATA, neighbours)...)
		}),
	)},
	{"other byte order", notMasked, inAll(
		inRules("cmp", func(_ *program, r programRule, at int) [][]expr {
			return reordered(r.exprs, at, unix.NFTA_CMP_DATA, unix.NFTA_CMP_SREG)
		}),
		inRules("bitwise", func(_ *program, r programRule, at int) [][]expr {
			return reordered(r.exprs, at, unix.NFTA_BITWISE_MASK, unix.NFTA_BITWISE_SREG)
		}),
		inRules("byteorder", func(_ *program, r programRule, at int) [][]expr { return [][]expr{without(r.exprs, at, 1)} }),
		inRules("immediate", func(_ *program, r programRule, at int) [][]expr {
			return valued(r.exprs, at, unix.NFTA_IMMEDIATE_DATA, func(b []byte) [][]byte {
				if len(b) == 4 && at+1 < len(r.exprs) && r.exprs[at+1].name == "nat" {
					return nil // an address
				}
				return turned(b)
			})
		}),
	)},
}

// valued returns lists with each of some other constants in an attribute.
func valued(list []expr, at int, kind uint16, others func([]byte) [][]byte) [][]expr {
	old := constantOf(list[at].data, kind)
	if old == nil {
		return nil
	}
	var ways [][]expr
	for _, b := range others(old) {
		ways = append(ways, with(list, at, kind, value(b)))
	}
	return ways
}

// bits returns the constants with one bit flipped.
func bits(b []byte) [][]byte {
	var list [][]byte
	for i := range 8 * len(b) {
		other := slices.Clone(b)
		other[i/8] ^= 0x80 >> (i % 8)
		list = append(list, other)
	}
	return list
}

// neighbours returns the numbers one less and one more than a number that stands
// with its first byte weighing most.
func neighbours(b []byte) [][]byte {
	var list [][]byte
	for _, step := range []struct{ add, carry byte }{{255, 255}, {1, 0}} {
		other := slices.Clone(b)
		for i := len(b) - 1; i >= 0; i-- {
			if other[i] += step.add; other[i] != step.carry {
				list = append(list, other)
				break
			}
		}
	}
	return list
}

// turned returns a number of several bytes in the other order, unless that is
// the same.
func turned(b []byte) [][]byte {
	other := slices.Clone(b)
	slices.Reverse(other)
	if len(b) > 4 || bytes.Equal(b, other) {
		return nil
	}
	return [][]byte{other}
}

// reordered turns a constant round where the order of bytes is easily mistaken:
// what the kernel keeps as a number, and ports.
func reordered(list []expr, at int, kind, register uint16) [][]expr {
	from, _ := number(list[at].data, register)
	switch loader(list, at, from).name {
	case "meta", "ct", "fib", "numgen":
	case "payload":
		if len(constantOf(list[at].data, kind)) != 2 {
			return nil
		}
	default:
		return nil
	}
	return valued(list, at, kind, turned)
}

// comparisons by what they become.
var (
	opposites = map[uint32]uint32{
		unix.NFT_CMP_LT: unix.NFT_CMP_GTE, unix.NFT_CMP_GTE: unix.NFT_CMP_LT,
		unix.NFT_CMP_LTE: unix.NFT_CMP_GT, unix.NFT_CMP_GT: unix.NFT_CMP_LTE,
	}
	bounds = map[uint32]uint32{
		unix.NFT_CMP_LT: unix.NFT_CMP_LTE, unix.NFT_CMP_LTE: unix.NFT_CMP_LT,
		unix.NFT_CMP_GT: unix.NFT_CMP_GTE, unix.NFT_CMP_GTE: unix.NFT_CMP_GT,
	}
	lostNegation  = map[uint32]uint32{unix.NFT_CMP_NEQ: unix.NFT_CMP_EQ}
	addedNegation = map[uint32]uint32{unix.NFT_CMP_EQ: unix.NFT_CMP_NEQ}
)

// compared changes the operators of comparisons.
func compared(to map[uint32]uint32) func(p *program) []place {
	return inRules("cmp", func(_ *program, r programRule, at int) [][]expr {
		op, _ := number(r.exprs[at].data, unix.NFTA_CMP_OP)
		if other, ok := to[op]; ok {
			return [][]expr{with(r.exprs, at, unix.NFTA_CMP_OP, be32(other))}
		}
		return nil
	})
}

// flagged flips bit 0 of a number that expressions of a name have.
func flagged(name string, kind uint16, when func(old uint32) bool) func(p *program) []place {
	return inRules(name, func(_ *program, r programRule, at int) [][]expr {
		old, _ := number(r.exprs[at].data, kind)
		if !when(old) || name == "lookup" && has(r.exprs[at].data, unix.NFTA_LOOKUP_DREG) {
			return nil
		}
		return [][]expr{withAll(r.exprs, at, nfnetlink.Attr{Type: kind, Data: be32(old ^ 1)})}
	})
}

// lost takes expressions of a name out that fulfil a condition.
func lost(name string, when func(e expr) bool) func(p *program) []place {
	return inRules(name, func(_ *program, r programRule, at int) [][]expr {
		if !when(r.exprs[at]) {
			return nil
		}
		return [][]expr{without(r.exprs, at, 1)}
	})
}

func always(expr) bool { return true }

// matchMutations change how rules compare.
var matchMutations = []mutation{
	{"unequal for equal", "", inAll(compared(addedNegation), flagged("range", unix.NFTA_RANGE_OP, func(op uint32) bool { return op == 0 }))},
	{"negation lost", "", inAll(compared(lostNegation), flagged("range", unix.NFTA_RANGE_OP, func(op uint32) bool { return op == 1 }))},
	{"comparison turned round", "", compared(opposites)},
	{"bound in for out", neverMet, compared(bounds)},
	{"set inverted", "", flagged("lookup", unix.NFTA_LOOKUP_FLAGS, func(uint32) bool { return true })},
	{"condition lost", impliedIt, inAll(lost("cmp", always), lost("range", always),
		lost("lookup", func(e expr) bool { return !has(e.data, unix.NFTA_LOOKUP_DREG) }))},
	// The mistake of nft -o: "tcp flags & syn == syn" becomes "tcp flags == syn".
	{"exact for masked", notMasked, inRules("bitwise", exact)},
}

// exact turns a test of masked bits into one for equality.
func exact(_ *program, r programRule, at int) [][]expr {
	if at+1 == len(r.exprs) || r.exprs[at+1].name != "cmp" {
		return nil
	}
	test := r.exprs[at+1]
	op, _ := number(test.data, unix.NFTA_CMP_OP)
	whole := without(r.exprs, at, 1)
	zero := !slices.ContainsFunc(constantOf(test.data, unix.NFTA_CMP_DATA), func(b byte) bool { return b != 0 })
	if op == unix.NFT_CMP_NEQ && zero { // "ct state new": any bit of the mask
		whole = withAll(whole, at, nfnetlink.Attr{Type: unix.NFTA_CMP_OP, Data: be32(unix.NFT_CMP_EQ)},
			nfnetlink.Attr{Type: unix.NFTA_CMP_DATA, Data: value(constantOf(r.exprs[at].data, unix.NFTA_BITWISE_MASK))})
	}
	return [][]expr{whole}
}

// renumbered changes a number of 4 bytes to others.
func renumbered(list []expr, at int, kind uint16, others func(old uint32) []uint32) [][]expr {
	old, ok := number(list[at].data, kind)
	if !ok {
		return nil
	}
	var ways [][]expr
	for _, n := range others(old) {
		ways = append(ways, with(list, at, kind, be32(n)))
	}
	return ways
}

// swapped returns the keys that a key is taken for.
func swapped(pairs ...[2]uint32) func(old uint32) []uint32 {
	return func(old uint32) []uint32 {
		var list []uint32
		for _, p := range pairs {
			if p[0] == old {
				list = append(list, p[1])
			}
			if p[1] == old {
				list = append(list, p[0])
			}
		}
		return list
	}
}

// mistakes are the keys that are taken for each other.
var (
	metaMistakes = swapped([2]uint32{unix.NFT_META_MARK, unix.NFT_META_PRIORITY},
		[2]uint32{unix.NFT_META_SKUID, unix.NFT_META_SKGID}, [2]uint32{unix.NFT_META_L4PROTO, unix.NFT_META_NFPROTO})
	deviceMistakes = swapped([2]uint32{unix.NFT_META_IIFNAME, unix.NFT_META_OIFNAME})
	ctMistakes     = swapped([2]uint32{unix.NFT_CT_STATE, unix.NFT_CT_STATUS}, [2]uint32{unix.NFT_CT_MARK, unix.NFT_CT_STATUS},
		[2]uint32{unix.NFT_CT_SRC, unix.NFT_CT_DST}, [2]uint32{unix.NFT_CT_PROTO_SRC, unix.NFT_CT_PROTO_DST},
		[2]uint32{unix.NFT_CT_BYTES, unix.NFT_CT_PKTS}, [2]uint32{unix.NFT_CT_AVGPKT, unix.NFT_CT_BYTES})
)

// loading is for expressions that load.
func loading(name string, dreg, kind uint16, others func(old uint32) []uint32) func(p *program) []place {
	return inRules(name, func(_ *program, r programRule, at int) [][]expr {
		if !has(r.exprs[at].data, dreg) {
			return nil
		}
		return renumbered(r.exprs, at, kind, others)
	})
}

// fieldMutations change what is loaded.
var fieldMutations = []mutation{
	{"wrong offset", notMasked, loading("payload", unix.NFTA_PAYLOAD_DREG, unix.NFTA_PAYLOAD_OFFSET, func(old uint32) []uint32 {
		return []uint32{old + 1, old + 2, old ^ 2, old + 4}
	})},
	{"wrong length", notMasked, inRules("payload", shorter)},
	{"wrong header", notMasked, loading("payload", unix.NFTA_PAYLOAD_DREG, unix.NFTA_PAYLOAD_BASE, func(old uint32) []uint32 {
		return []uint32{(old + 1) % 3, (old + 2) % 3}
	})},
	{"wrong key of the packet", sameAnswer, loading("meta", unix.NFTA_META_DREG, unix.NFTA_META_KEY, metaMistakes)},
	{"input device for output device", "", loading("meta", unix.NFTA_META_DREG, unix.NFTA_META_KEY, deviceMistakes)},
	{"wrong key of the connection", sameAnswer, loading("ct", unix.NFTA_CT_DREG, unix.NFTA_CT_KEY, ctMistakes)},
	{"other direction", "", inRules("ct", func(_ *program, r programRule, at int) [][]expr {
		direction := nfnetlink.Find(r.exprs[at].data, unix.NFTA_CT_DIRECTION)
		if len(direction) != 1 || direction[0] > 1 {
			return nil
		}
		return [][]expr{with(r.exprs, at, unix.NFTA_CT_DIRECTION, []byte{direction[0] ^ 1})}
	})},
	{"source for destination of a route", "", loading("fib", unix.NFTA_FIB_DREG, unix.NFTA_FIB_FLAGS, func(old uint32) []uint32 {
		return []uint32{old ^ (unix.NFTA_FIB_F_SADDR | unix.NFTA_FIB_F_DADDR)}
	})},
	{"device of a route", sameAnswer, loading("fib", unix.NFTA_FIB_DREG, unix.NFTA_FIB_FLAGS, func(old uint32) []uint32 {
		if old&(unix.NFTA_FIB_F_IIF|unix.NFTA_FIB_F_OIF) == 0 {
			return []uint32{old | unix.NFTA_FIB_F_IIF}
		}
		return []uint32{old &^ (unix.NFTA_FIB_F_IIF | unix.NFTA_FIB_F_OIF)}
	})},
	{"wrong kind of option or header", "", inRules("exthdr", func(_ *program, r programRule, at int) [][]expr {
		kind := nfnetlink.Find(r.exprs[at].data, unix.NFTA_EXTHDR_TYPE)
		if len(kind) != 1 {
			return nil
		}
		var ways [][]expr
		for _, k := range []byte{kind[0] + 1, kind[0] ^ 8} {
			ways = append(ways, with(r.exprs, at, unix.NFTA_EXTHDR_TYPE, []byte{k}))
		}
		return ways
	})},
}

// shorter loads a byte less than is compared: the last one is then zero.
func shorter(_ *program, r programRule, at int) [][]expr {
	n, _ := number(r.exprs[at].data, unix.NFTA_PAYLOAD_LEN)
	if n < 2 || !has(r.exprs[at].data, unix.NFTA_PAYLOAD_DREG) {
		return nil
	}
	return [][]expr{with(r.exprs, at, unix.NFTA_PAYLOAD_LEN, be32(n-1))}
}
