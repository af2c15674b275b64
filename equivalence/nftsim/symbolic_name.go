package nftsim

import (
	"bytes"
	"math/big"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// A nameTest is a test that a device name passes when it is the text, or begins
// with it.
type nameTest struct {
	text   string
	prefix bool
}

func (t nameTest) note(tests *symbolic.NameTests) {
	if t.prefix {
		tests.Prefix(t.text)
	} else {
		tests.Exact(t.text)
	}
}

// testOf is the test that the first bytes of a name's buffer are equal to data.
// ok is false when no name passes it.
func testOf(data []byte) (t nameTest, ok bool) {
	name, rest, ended := bytes.Cut(data, []byte{0})
	if len(bytes.Trim(rest, "\x00")) > 0 || len(name) >= nameLen {
		return t, false
	}
	return nameTest{text: string(name), prefix: !ended}, true
}

// spanTest is the test that a name lies between two others, both included, when
// it is one: a name, or the names with a prefix.
func spanTest(low, high []byte) (t nameTest, ok bool) {
	if bytes.Equal(low, high) {
		return testOf(low)
	}
	text := bytes.TrimRight(low, "\x00")
	if bytes.IndexByte(text, 0) >= 0 || !bytes.HasPrefix(high, text) || len(bytes.Trim(high[len(text):], "\xff")) > 0 {
		return t, false
	}
	return nameTest{text: string(text), prefix: true}, true
}

// spansOf are the intervals of a set of intervals, as first and last key.
func (s *Set) spansOf() [][2][]byte {
	var spans [][2][]byte
	for i, e := range s.sorted {
		switch {
		case e.End || i+1 < len(s.sorted) && bytes.Equal(s.sorted[i+1].Key, e.Key):
		case i+1 == len(s.sorted):
			spans = append(spans, [2][]byte{e.Key, bytes.Repeat([]byte{0xff}, s.KeyLen)})
		default:
			before := new(big.Int).SetBytes(s.sorted[i+1].Key)
			before.Sub(before, big.NewInt(1))
			spans = append(spans, [2][]byte{e.Key, before.FillBytes(make([]byte, s.KeyLen))})
		}
	}
	return spans
}

// nameTests are the tests that a lookup in the set makes of a name, whose buffer
// is at an offset of the key. ok is false when some test is not of a name as a
// whole.
func (s *Set) nameTests(offset int) (tests []nameTest, ok bool) {
	spans := [][2][]byte{}
	switch {
	case s.tree():
		if offset != 0 || s.KeyLen != nameLen {
			return nil, false
		}
		spans = s.spansOf()
	case s.ranges():
		at, field := 0, false
		for _, n := range s.FieldLens {
			field = field || at == offset && n == nameLen
			at += (n + wordSize - 1) / wordSize * wordSize
		}
		if !field {
			return nil, false
		}
		for _, e := range s.Elements {
			if e.Key == nil {
				continue
			}
			high := e.KeyEnd
			if high == nil {
				high = e.Key
			}
			spans = append(spans, [2][]byte{e.Key[offset : offset+nameLen], high[offset : offset+nameLen]})
		}
	default:
		for _, e := range s.Elements {
			if e.Key != nil {
				part := e.Key[offset : offset+nameLen]
				spans = append(spans, [2][]byte{part, part})
			}
		}
	}
	for _, span := range spans {
		t, ok := spanTest(span[0], span[1])
		if !ok {
			if bytes.Equal(span[0], span[1]) {
				continue // no name is equal to it
			}
			return nil, false
		}
		tests = append(tests, t)
	}
	return tests, true
}

// noteNames notes the tests of device names of a rule. It follows names through
// the registers as a symbolic run does, over all instructions.
func noteNames(r *Rule, tests *symbolic.NameTests) {
	var holds [registerBytes]held
	for _, i := range r.Instructions {
		switch i := i.(type) {
		case *Cmp:
			if heldAt(&holds, int(i.From)*wordSize, len(i.Data)).kind == deviceName {
				if t, ok := testOf(i.Data); ok {
					t.note(tests)
				}
			}
		case *Lookup:
			for offset := 0; offset+nameLen <= i.Set.KeyLen; offset += wordSize {
				if heldAt(&holds, int(i.From)*wordSize+offset, nameLen).kind == deviceName {
					list, _ := i.Set.nameTests(offset)
					for _, t := range list {
						t.note(tests)
					}
				}
			}
		}
		to, n := written(i)
		for k := range n {
			holds[int(to)*wordSize+k] = held{}
		}
		if m, ok := i.(*MetaLoad); ok && nameGroups[m.Key] != 0 {
			for k := range nameLen {
				holds[int(to)*wordSize+k] = held{deviceName, nameGroups[m.Key], k}
			}
		}
	}
}

// nameGroups are the devices whose names meta loads.
var nameGroups = map[MetaKey]symbolic.Group{
	unix.NFT_META_IIFNAME: symbolic.InName, unix.NFT_META_OIFNAME: symbolic.OutName,
}

// written returns the registers that an instruction writes, in whole words.
func written(i Instruction) (Register, int) {
	to, n := Register(0), 0
	switch i := i.(type) {
	case *Immediate:
		to, n = i.To, len(i.Data)
	case *Lookup:
		if i.Maps && !i.Set.Verdicts {
			to, n = i.To, i.Set.DataLen
		}
	case *Dynset:
	case loader:
		to, n = i.loads()
	}
	return to, (n + wordSize - 1) / wordSize * wordSize
}

// padded is a name in its buffer.
func padded(name string) []byte {
	b := make([]byte, nameLen)
	copy(b[:nameLen-1], name)
	return b
}

// named is where a device has a name that passes a test. The test must tell
// apart no names of one class.
func (c *compiler) named(g symbolic.Group, test func(name []byte) bool) bdd.Ref {
	levels := c.space.Levels(g)
	var keys []bdd.Key
	for class, name := range c.space.Names().Representatives() {
		if test(padded(name)) {
			keys = append(keys, bdd.Key{Bits: classBits(class, len(levels)), Value: bdd.True})
		}
	}
	return c.space.Choose(levels, keys, bdd.False)
}

// classBits are the values of the variables of a class of names.
func classBits(class, width int) []byte {
	b := make([]byte, width)
	for i := range b {
		b[i] = byte(class >> (width - 1 - i) & 1)
	}
	return b
}
