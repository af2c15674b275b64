package nftsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

func bitOf(b []byte, bit int) bool { return b[bit/8]>>(7-bit%8)&1 == 1 }

// equals is where a word is constant bytes.
func (c *compiler) equals(w symbolic.Word, b []byte) bdd.Ref {
	f := bdd.True
	for i := len(w) - 1; i >= 0; i-- {
		bit := w[i]
		if !bitOf(b, i) {
			bit = c.space.Not(bit)
		}
		f = c.space.And(bit, f)
	}
	return f
}

// below is where a word is less than constant bytes, the first of which weighs
// most.
func (c *compiler) below(w symbolic.Word, b []byte) bdd.Ref {
	f := bdd.False
	for i := len(w) - 1; i >= 0; i-- {
		if bitOf(b, i) {
			f = c.space.ITE(w[i], f, bdd.True)
		} else {
			f = c.space.ITE(w[i], bdd.False, f)
		}
	}
	return f
}

// notAbove is where a word is not greater than constant bytes.
func (c *compiler) notAbove(w symbolic.Word, b []byte) bdd.Ref {
	f := bdd.True
	for i := len(w) - 1; i >= 0; i-- {
		if bitOf(b, i) {
			f = c.space.ITE(w[i], f, bdd.True)
		} else {
			f = c.space.ITE(w[i], bdd.False, f)
		}
	}
	return f
}

// between is where a word lies between two constants, both included.
func (c *compiler) between(w symbolic.Word, low, high []byte) bdd.Ref {
	return c.space.Diff(c.notAbove(w, high), c.below(w, low))
}

// atLeast is where a number is not less than another.
func (c *compiler) atLeast(w symbolic.Word, n uint64) bdd.Ref {
	f := bdd.True
	for i := len(w) - 1; i >= 0; i-- {
		if shift := len(w) - 1 - i; shift < 64 && n>>shift&1 == 1 {
			f = c.space.ITE(w[i], f, bdd.False)
		} else {
			f = c.space.ITE(w[i], bdd.True, f)
		}
	}
	if len(w) < 64 && n>>len(w) != 0 {
		return bdd.False
	}
	return f
}

// plus adds a constant to a number.
func (c *compiler) plus(w symbolic.Word, n uint64) symbolic.Word {
	s := c.space
	sum := make(symbolic.Word, len(w))
	carry := bdd.False
	for i := len(w) - 1; i >= 0; i-- {
		if n>>(len(w)-1-i)&1 == 1 {
			sum[i] = s.Not(s.Xor(w[i], carry))
			carry = s.Or(w[i], carry)
		} else {
			sum[i] = s.Xor(w[i], carry)
			carry = s.And(w[i], carry)
		}
	}
	return sum
}

// choice is one word where a condition holds and another where it does not.
func (c *compiler) choice(where bdd.Ref, yes, no symbolic.Word) symbolic.Word {
	w := make(symbolic.Word, len(yes))
	for i := range w {
		w[i] = c.space.ITE(where, yes[i], no[i])
	}
	return w
}

// constantOf returns the bytes of a word that is constant.
func (c *compiler) constantOf(w symbolic.Word) ([]byte, bool) {
	b := make([]byte, len(w)/8)
	for i, f := range w {
		switch f {
		case bdd.True:
			b[i/8] |= 1 << (7 - i%8)
		case bdd.False:
		default:
			return nil, false
		}
	}
	return b, true
}
