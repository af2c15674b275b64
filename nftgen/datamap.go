package nftgen

import (
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// MapAssign is "field set f . g map @map", with an optional mask per field: the
// field becomes the value of the element that holds the key. Where none does, the
// rule ends there.
type MapAssign struct {
	Field  Field // what is set
	Fields []Field
	Masks  []Value // nil, or one per field, nil for none
	Map    *Set
}

var _ action = MapAssign{}

func (MapAssign) stmt() {}

// terminal is false: the rule goes on behind it.
func (MapAssign) terminal() bool { return false }

func (s MapAssign) check() error {
	if s.Map == nil || s.Map.Data == nil || s.Map.Bulk.Len() == 0 {
		return fmt.Errorf("write map: there is no map, or it holds no values")
	}
	if s.Field.Text != MetaMark.Text && s.Field.Text != MetaPriority.Text || s.Field.Type != s.Map.Data {
		return fmt.Errorf("write map: %s cannot be set to a value of the map %s", s.Field.Text, s.Map.Name)
	}
	return checkKey(s.Fields, s.Masks, s.Map)
}

func (s MapAssign) text(Family) string {
	return s.Field.Text + " set " + keyText(s.Fields, s.Masks) + " map @" + s.Map.Name
}

func (s MapAssign) compile(c *compiler) error {
	c.add(append(loadAll(s.Fields, s.Masks, s.Map.Interval),
		lookupInto(s.Map.Name, c.ids[s.Map], 1, 1),
		fromLibrary{&expr.Meta{Key: expr.MetaKey(s.Field.load.key), SourceRegister: true, Register: 1}})...)
	return nil
}

// AddValue is AddExtra of an element of a map, which has a value as wide as the
// map's type of data, most significant byte first.
func (b *Bulk) AddValue(low, high []byte, x ElementExtra, v Value) {
	b.AddExtra(low, high, x)
	b.values = append(b.values, v...)
}

// value returns the value of an element of a map.
func (b *Bulk) value(i int, t *Datatype) Value { return b.values[i*t.Bytes : (i+1)*t.Bytes] }

// checkValues refuses elements of a map without values, and of others with.
func (b *Bulk) checkValues(s *Set) error {
	want := 0
	if s.Data != nil {
		want = b.Len() * s.Data.Bytes
	}
	if len(b.values) != want || s.Data != nil && s.Verdicts {
		return fmt.Errorf("write %q: not each element of a map, or one of a set, has a value", s.Name)
	}
	return nil
}

// valueData returns the value of an element as the kernel has it.
func (b *Bulk) valueData(i int, t *Datatype) attributes {
	var data attributes
	v := slices.Clone(b.value(i, t))
	if t.hostNumber() && !hostIsBig {
		slices.Reverse(v)
	}
	data.bytes(unix.NFTA_DATA_VALUE, v...)
	return data
}
