package nftgen

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A PairMap is "field map { 2000 : 10000, … }" of a field of one byte or two, in the
// rule itself: what the packet has says which value is taken. Where it is not there,
// the rule ends.
type PairMap struct {
	Field Field
	Pairs []Pair
}

// A Pair maps one value to another as wide. Pairs are sorted by From.
type Pair struct{ From, To uint16 }

// check refuses a map of a field that is not of so many bytes.
func (m *PairMap) check(size int) error {
	if m.Field.Type == nil || m.Field.Type.Bytes != size {
		return fmt.Errorf("write a map: %s is not a field of %d bytes", m.Field.Text, size)
	}
	if len(m.Pairs) == 0 {
		return fmt.Errorf("write a map of %s: it is empty", m.Field.Text)
	}
	for i, p := range m.Pairs[1:] {
		if p.From <= m.Pairs[i].From {
			return fmt.Errorf("write a map of %s: %d stands behind %d", m.Field.Text, p.From, m.Pairs[i].From)
		}
	}
	return nil
}

func (m *PairMap) String() string {
	b := []byte(m.Field.Text + " map { ")
	for i, p := range m.Pairs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "%d : %d", p.From, p.To)
	}
	return string(append(b, " }"...))
}

// pairMap looks the field up and leaves what it is mapped to, which is of a type, in
// the same register.
func (c *compiler) pairMap(m *PairMap, data *Datatype, r uint32) []expression {
	key := []*Datatype{m.Field.Type}
	bulk := NewBulk(key, false)
	for _, p := range m.Pairs {
		from, to := binary.BigEndian.AppendUint16(nil, p.From), binary.BigEndian.AppendUint16(nil, p.To)
		bulk.AddValue(from[2-key[0].Bytes:], nil, ElementExtra{}, to[2-data.Bytes:])
	}
	set := c.own(lookupSet{types: key, fields: []Field{m.Field}, data: data, bulk: bulk})
	return []expression{m.Field.loadInto(r, m.Field.load.length), lookupInto(set.anonymousName(), set.id, r, r)}
}

// lookupInto leaves what a map has for a register in another one, or, for register 0, its
// verdict.
func lookupInto(name string, id, from, to uint32) expression {
	return fromLibrary{&expr.Lookup{SourceRegister: from, DestRegister: to, IsDestRegSet: true, SetName: name, SetID: id}}
}

// anonymousName is the pattern from which the kernel makes the name.
func (s *lookupSet) anonymousName() string {
	if s.isMap() {
		return anonymousMap
	}
	return anonymousSet
}

func (s *lookupSet) isMap() bool { return s.verdicts || s.data != nil }

// mapsTo adds what a map has beside a set.
func (s *lookupSet) mapsTo(a *attributes) {
	switch {
	case s.verdicts:
		a.u32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
		a.u32(unix.NFTA_SET_DATA_LEN, 0)
	case s.data != nil:
		a.u32(unix.NFTA_SET_DATA_TYPE, s.data.Number)
		a.u32(unix.NFTA_SET_DATA_LEN, uint32(s.data.Bytes))
	}
}
