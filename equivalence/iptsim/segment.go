package iptsim

import (
	"encoding/binary"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// stripOptions overwrites all TCP options of some kinds. A malformed header drops
// the packet.
//
// Kernel: net/netfilter/xt_TCPOPTSTRIP.c, tcpoptstrip_mangle_packet.
func stripOptions(v *view, kinds []uint8) predicate.Outcome {
	if v.offset != 0 {
		return 0
	}
	segment := v.header()
	options, ok := tcpOptions(segment)
	if !ok {
		v.f.Hotdrop = true
		return predicate.Drop
	}
	met := map[uint8]bool{}
	for i := 0; i < len(options)-1; {
		kind, size := options[i], optionSize(options, i)
		strips := slices.Contains(kinds, kind)
		if i+size > len(options) {
			if strips { // nftables drops the packet
				v.f.Declared = append(v.f.Declared, oddOptions)
			}
			break
		}
		if strips {
			if met[kind] { // nftables overwrites the first
				v.f.Declared = append(v.f.Declared, oddOptions)
			}
			met[kind] = true
			for k := i; k < i+size; k++ {
				setByte(segment, 20+k, optionNOP, 16)
			}
		}
		i += size
	}
	return 0
}

// oddOptions is the deviation of TCP options that no sender sends: two of one
// kind, or one that ends behind the header.
const oddOptions = "tcpoptstrip-odd"

// setByte sets a byte of a header with an Internet checksum.
func setByte(header []byte, at int, fresh byte, sum int) {
	word := header[at&^1:]
	old := binary.BigEndian.Uint16(word)
	header[at] = fresh
	replaceSum(header[sum:sum+2], old, binary.BigEndian.Uint16(word))
}

// setTCPFlags sets flags of TCP. The kernel takes the data of a later fragment for
// a header.
//
// Kernel: net/ipv4/netfilter/ipt_ECN.c, set_ect_tcp.
func setTCPFlags(v *view, e predicate.SetTCPFlags) predicate.Outcome {
	if v.proto != protoTCP {
		return 0
	}
	if v.offset != 0 {
		v.f.Declared = append(v.f.Declared, ecnFragment)
	}
	segment := v.f.Data[min(v.thoff, len(v.f.Data)):]
	if len(segment) < 20 {
		v.f.Hotdrop = true
		return predicate.Drop
	}
	setByte(segment, 13, segment[13]&e.Keep^e.Xor, 16)
	return 0
}

// ecnFragment is the deviation of later fragments whose data are changed.
const ecnFragment = "ecn-fragment"

// stripOptions is the function of overwriting options.
func (c *compiler) stripOptions(kinds []uint8) bdd.Ref {
	s := c.space
	var steps []bdd.Ref
	for _, kind := range kinds {
		levels := []bdd.Level{symbolic.TCPOption.Level(optionNOP), symbolic.TCPOption.Level(int(kind))}
		cells := []symbolic.Cell{symbolic.One, symbolic.Zero}
		if kind == optionMSS {
			levels, cells = append(levels, s.Levels(symbolic.MSS)...), append(cells, numberCells(0, 16)...)
		}
		strip := s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: s.Write(levels, cells)})
		steps = append(steps, s.ITE(s.Var(symbolic.TCPOption.Level(int(kind))), strip, s.Next()))
	}
	cut := s.Leaf(symbolic.Leaf{Verdict: symbolic.Drop, Why: hotdropCode})
	first := s.Number(s.Bits(symbolic.Fragment), 0)
	return s.ITE(first, s.ITE(c.tcpHeader(), s.List(append(steps, s.Next())), cut), s.Next())
}

// setTCPFlags is the function of setting flags.
func (c *compiler) setTCPFlags(e predicate.SetTCPFlags) bdd.Ref {
	s := c.space
	const flags = 8 * 13
	var levels []bdd.Level
	var cells []symbolic.Cell
	for bit := range 8 {
		l := symbolic.Transport.Level(flags + bit)
		cell := symbolic.Zero
		if e.Keep<<bit&0x80 != 0 {
			cell = symbolic.Old(l, e.Xor<<bit&0x80 != 0)
		} else if e.Xor<<bit&0x80 != 0 {
			cell = symbolic.One
		}
		levels, cells = append(levels, l), append(cells, cell)
	}
	set := s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: s.Write(levels, cells)})
	cut := s.Leaf(symbolic.Leaf{Verdict: symbolic.Drop, Why: hotdropCode})
	later := s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Why: ecnFragment})
	first := s.Number(s.Bits(symbolic.Fragment), 0)
	done := s.ITE(first, s.ITE(c.reaches(20), set, cut), later)
	return s.ITE(s.Number(s.Bits(symbolic.Protocol), protoTCP), done, s.Next())
}
