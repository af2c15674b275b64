package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// held says what a byte of the registers is in a symbolic run.
type held struct {
	kind  heldKind
	group symbolic.Group // of a device: InName or OutName
	at    int            // which byte of it
}

type heldKind uint8

const (
	unwritten     heldKind = iota // by this rule
	data                          // bits
	deviceName                    // a name, of which the class is known
	deviceIndex                   // an index, which the rules' host gives
	pathSegment                   // the largest segment of the path, in host byte order
	pathSegmentBE                 // likewise, in network byte order
)

var heldWords = map[heldKind]string{
	unwritten: "is read before the rule has written it", deviceName: "holds a device name, which is not compared as a whole",
	deviceIndex: "holds the index of a device of an unknown host", pathSegment: "holds what the path takes",
	pathSegmentBE: "holds what the path takes",
}

// load returns bytes of the registers. Where they are no bits, the run ends.
func (x *symbolicRun) load(from Register, n int) (symbolic.Word, bool) {
	at := int(from) * wordSize
	for k, h := range x.holds[at : at+n] {
		if h.kind != data {
			x.undecided(fmt.Sprintf("byte %d of register %s %s", k, from, heldWords[h.kind]))
			return nil, false
		}
	}
	return append(symbolic.Word(nil), x.regs[8*at:8*(at+n)]...), true
}

// holding returns what n bytes from a register on are, when all are of one
// device and kind, in order and from the first byte on.
func (x *symbolicRun) holding(from Register, n int) held {
	return heldAt(&x.holds, int(from)*wordSize, n)
}

// heldAt is holding for any place in the register file.
func heldAt(holds *[registerBytes]held, at, n int) held {
	if at+n > len(holds) {
		return held{}
	}
	first := holds[at]
	for k, h := range holds[at : at+n] {
		if h != (held{first.kind, first.group, k}) {
			return held{}
		}
	}
	return first
}

// store puts bits into registers and fills up the last word with zeros.
func (x *symbolicRun) store(to Register, w symbolic.Word) {
	at := int(to) * wordSize
	n := len(w) / 8
	for k := 0; k < n || (at+k)%wordSize != 0; k++ {
		x.holds[at+k] = held{kind: data}
		for bit := range 8 {
			v := bdd.False
			if k < n {
				v = w[8*k+bit]
			}
			x.regs[8*(at+k)+bit] = v
		}
	}
}

// mark puts something that is no bits into registers.
func (x *symbolicRun) mark(to Register, n int, kind heldKind, g symbolic.Group) {
	x.store(to, make(symbolic.Word, 8*n))
	for k := range n {
		x.holds[int(to)*wordSize+k] = held{kind, g, k}
	}
}

// storeNumber puts a number into registers in host byte order.
func (x *symbolicRun) storeNumber(to Register, w symbolic.Word) {
	x.store(to, symbolic.SwapNative(w))
}

// extend fills a number up with zeros on its left.
func extend(w symbolic.Word, width int) symbolic.Word {
	return append(symbolic.Constant(0, width-len(w)), w...)
}

// loadNumber returns a number that registers hold in host byte order.
func (x *symbolicRun) loadNumber(from Register, n int) (symbolic.Word, bool) {
	w, ok := x.load(from, n)
	return symbolic.SwapNative(w), ok
}

// storeBytes puts bits into registers and leaves what is behind them.
func (x *symbolicRun) storeBytes(to Register, w symbolic.Word) {
	at := int(to) * wordSize
	copy(x.regs[8*at:], w)
	for k := range len(w) / 8 {
		x.holds[at+k] = held{kind: data}
	}
}
