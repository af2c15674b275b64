package extension

import (
	"bytes"
	"encoding/binary"
	"slices"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// Where things are in an IPv6 packet, and in the packet that an ICMPv6 error is
// about, which stands behind 8 bytes (RFC 8200, section 3; RFC 4443, section 2.1).
const (
	nptSource      = 8
	nptDestination = 24
	nptQuoted      = 8
	nptHeader      = 40
)

// Translate writes the bytes of the new prefix, and adds the difference of the
// prefixes to a word. nft has no sum for that: bytes are looked up in maps, of
// which the rule takes those for the carries that the word has.
//
// The types of ICMPv6 that are errors to the kernel are 1 to 4.
func (t *nptTarget) Translate(r *translate.Rule) error {
	own, other := nptSource, nptDestination
	if t.name == "DNPT" {
		own, other = other, own
	}
	packet := t.rewrite(nftgen.NetworkBytes, nftgen.NetworkBits, own)
	r.Add(packet.prefix...)
	var rows []translate.Row
	for _, c := range packet.changes {
		rows = append(rows, translate.Row{Stmts: slices.Concat(c.tests, c.writes), Then: translate.Match})
	}
	if packet.longest > nptWord3 {
		drop := slices.Concat(bytesOfOnes(nftgen.NetworkBytes, own+8, 8), []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Drop}})
		rows = append(rows, translate.Row{Stmts: drop, Then: translate.Next})
		if r.Hooks&^iptables.Output != 0 { // where nobody is sent an error
			r.Declare(translate.Deviation{
				Code: "npt-no-error",
				Detail: "A packet whose address ends in 64 bits of ones has no word to change: both engines drop it, but xtables sends an error " +
					"(ICMPv6 parameter problem) to its sender as well, which nft cannot ask for.",
			})
		}
	}
	if len(rows) > 0 {
		r.Branch(translate.Branch{Rows: rows, Otherwise: translate.Match})
	}
	t.rewriteQuoted(r, nptQuoted+other)
	return nil
}

// rewriteQuoted translates an address of the packet that an ICMPv6 error is about.
func (t *nptTarget) rewriteQuoted(r *translate.Rule, at int) {
	quoted := t.rewrite(nftgen.TransportBytes, nftgen.TransportBits, at)
	is := []nftgen.Stmt{
		nftgen.InSpan{Field: nftgen.TransportBytes(nftgen.IP6, 0, 1), Low: nftgen.Value{1}, High: nftgen.Value{4}},
		nftgen.Compare{Field: nftgen.MetaLength, Op: nftgen.Ge, Value: binary.BigEndian.AppendUint32(nil, nptHeader+nptQuoted+nptHeader)},
	}
	icmp := nftgen.Compare{Field: nftgen.IP6NextHeader, Op: nftgen.Ne, Value: nftgen.Value{58}}
	rows := []translate.Row{{Stmts: []nftgen.Stmt{icmp}, Then: translate.Match}}
	for _, c := range append(quoted.changes, nptChange{}) {
		if writes := slices.Concat(c.writes, quoted.prefix); len(writes) > 0 {
			rows = append(rows, translate.Row{Stmts: slices.Concat(is, t.begins(at, c.tests), writes), Then: translate.Match})
		}
	}
	if len(rows) > 1 {
		r.Branch(translate.Branch{Rows: rows, Otherwise: translate.Match})
	}
}

// nptWord3 is the longest prefix behind which the fourth word of the address
// changes; of longer ones it is the first of the last four that is not all ones.
const nptWord3 = 48

// An nptRewrite is how an address is rewritten.
type nptRewrite struct {
	longest int
	prefix  []nftgen.Stmt
	changes []nptChange // of a word
}

// An nptChange is the change of a word of a packet that passes tests.
type nptChange struct{ tests, writes []nftgen.Stmt }

// An nptPlace makes the field of bytes, or bits, at an offset from a header.
type nptPlace = func(family nftgen.Family, offset, n int) nftgen.Field

// rewrite makes the change of the address at an offset.
func (t *nptTarget) rewrite(place, bits nptPlace, at int) nptRewrite {
	to := t.To.Value.network.Addr().As16()
	c := nptRewrite{longest: max(t.From.Value.network.Bits(), t.To.Value.network.Bits())}
	whole, rest := c.longest/8, c.longest%8
	if whole > 0 {
		c.prefix = append(c.prefix, nftgen.SetField{Field: place(nftgen.IP6, at, whole), Value: to[:whole]})
	}
	if rest > 0 {
		c.prefix = append(c.prefix, nftgen.SetField{Field: bits(nftgen.IP6, at+whole, rest), Value: nftgen.Value{to[whole] >> (8 - rest)}})
	}
	if c.longest <= nptWord3 {
		c.changes = t.adjust(place, at+6, nil)
		return c
	}
	for n := 0; n < 8; n += 2 {
		tests := append(bytesOfOnes(place, at+8, n), nftgen.Compare{Field: place(nftgen.IP6, at+8+n, 2), Op: nftgen.Ne, Value: nftgen.Value{0xff, 0xff}})
		c.changes = append(c.changes, t.adjust(place, at+8+n, tests)...)
	}
	return c
}

// bytesOfOnes tests n bytes.
func bytesOfOnes(place nptPlace, at, n int) []nftgen.Stmt {
	if n == 0 {
		return nil
	}
	return []nftgen.Stmt{nftgen.Compare{Field: place(nftgen.IP6, at, n), Op: nftgen.Eq, Value: bytes.Repeat([]byte{0xff}, n)}}
}

// adjust adds the difference of the prefixes to the word at an offset, modulo
// 65535: below a bound it is added, from there on as much as is missing to 65535 is
// taken away. The word is not all ones where there are tests.
func (t *nptTarget) adjust(place nptPlace, at int, tests []nftgen.Stmt) []nptChange {
	const modulus = 0xffff
	sum := 0
	from, to := t.From.Value.network.Addr().As16(), t.To.Value.network.Addr().As16()
	for i := 0; i < len(from); i += 2 {
		sum += int(binary.BigEndian.Uint16(from[i:])) - int(binary.BigEndian.Uint16(to[i:]))
	}
	add := (sum%modulus + modulus) % modulus
	word, high, low := place(nftgen.IP6, at, 2), place(nftgen.IP6, at, 1), place(nftgen.IP6, at+1, 1)
	number := func(n int) nftgen.Value { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
	if add == 0 {
		if tests != nil {
			return nil
		}
		return []nptChange{{
			tests:  []nftgen.Stmt{nftgen.Compare{Field: word, Op: nftgen.Eq, Value: number(modulus)}},
			writes: []nftgen.Stmt{nftgen.SetField{Field: word, Value: number(0)}},
		}}
	}
	// change is for a span of low bytes that all carry, or none.
	change := func(words, lows [2]int, by int) nptChange {
		carry := (lows[0]+by&0xff)>>8 + by>>8
		return nptChange{
			tests:  slices.Concat(tests, inSpan(word, number(words[0]), number(words[1])), inSpan(low, number(lows[0])[1:], number(lows[1])[1:])),
			writes: []nftgen.Stmt{shiftBytes(high, words[0]>>8, words[1]>>8, carry), shiftBytes(low, lows[0], lows[1], by)},
		}
	}
	bound := modulus - add
	var changes []nptChange
	for _, part := range []struct {
		words [2]int
		by    int
	}{{[2]int{0, bound - 1}, add}, {[2]int{bound, modulus}, -bound}} {
		carries := 256 - part.by&0xff
		changes = append(changes, change(part.words, [2]int{0, carries - 1}, part.by))
		if carries < 256 {
			changes = append(changes, change(part.words, [2]int{carries, 255}, part.by))
		}
	}
	return changes
}

// inSpan tests a field for a span, which can be one value, or all.
func inSpan(f nftgen.Field, low, high nftgen.Value) []nftgen.Stmt {
	switch {
	case slices.Equal(low, high):
		return []nftgen.Stmt{nftgen.Compare{Field: f, Op: nftgen.Eq, Value: low}}
	case high[0] == 0xff && len(low) == 1 && low[0] == 0:
		return nil
	}
	return []nftgen.Stmt{nftgen.InSpan{Field: f, Low: low, High: high}}
}

// shiftBytes maps the bytes of a span to those that are as far from them, modulo 256.
func shiftBytes(f nftgen.Field, first, last, by int) nftgen.Stmt {
	m := nftgen.MapByte{PairMap: nftgen.PairMap{Field: f}}
	for b := first; b <= last; b++ {
		m.Pairs = append(m.Pairs, nftgen.Pair{From: uint16(b), To: uint16(byte(b + by))})
	}
	return m
}

// begins adds to tests whether the quoted address begins with the prefix that is
// translated. Of two tests for bytes next to one another nft makes one.
func (t *nptTarget) begins(at int, tests []nftgen.Stmt) []nftgen.Stmt {
	from := t.From.Value.network
	address := from.Addr().As16()
	whole, rest := from.Bits()/8, from.Bits()%8
	start := nftgen.Value(address[:whole])
	if len(tests) > 0 && rest == 0 {
		next, ok := tests[0].(nftgen.Compare)
		if ok && next.Op == nftgen.Eq && next.Field.Text == nftgen.TransportBytes(nftgen.IP6, at+whole, len(next.Value)).Text {
			start, tests = slices.Concat(start, next.Value), tests[1:]
		}
	}
	var begin []nftgen.Stmt
	if len(start) > 0 {
		begin = append(begin, nftgen.Compare{Field: nftgen.TransportBytes(nftgen.IP6, at, len(start)), Value: start})
	}
	if rest > 0 {
		mask := nftgen.Value{^byte(0xff >> rest)}
		begin = append(begin, nftgen.Compare{Field: nftgen.TransportBytes(nftgen.IP6, at+whole, 1), Mask: mask, Value: nftgen.Value{address[whole]}})
	}
	return append(begin, tests...)
}
