package translate

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/nftgen"
)

// A SetMap looks up in an ipset what its elements carry for packets: a mark with
// a mask, and a class of traffic control.
type SetMap struct {
	Name           string
	Range          diag.Range // of the name
	Source         []bool     // of each dimension: from the source side, else from the destination side
	Mark, Priority bool
}

// A carry is what of an element a part of an ipset holds beside the key. The zero
// value is nothing: the part is a set.
type carry struct {
	kind carryKind
	// whole says that the part is a map. Else all its elements carry value, of
	// which mask is what is cleared.
	whole       bool
	value, mask uint32
}

// A carryKind is a field that an element carries a value for.
type carryKind uint8

const (
	carriesNothing carryKind = iota
	carriesMark
	carriesPriority
)

func (k carryKind) field() nftgen.Field {
	if k == carriesPriority {
		return nftgen.MetaPriority
	}
	return nftgen.MetaMark
}

// carryOf returns what an element carries of a kind: of an ipset without skbinfo
// a mark that changes nothing and the class 0. Classes and marks without a mask
// go into a map.
func (k carryKind) carryOf(x *ipset.Extra) carry {
	switch {
	case k == carriesNothing:
		return carry{}
	case k == carriesPriority, x != nil && x.SkbMask == math.MaxUint32:
		return carry{kind: k, whole: true}
	case x == nil:
		return carry{kind: k}
	}
	return carry{kind: k, value: x.SkbMark, mask: x.SkbMask}
}

// value is what an element of a map carries.
func (c carry) valueOf(x *ipset.Extra) uint32 {
	switch {
	case x == nil:
		return 0
	case c.kind == carriesPriority:
		return x.SkbPrio
	}
	return x.SkbMark
}

// suffix is the end of the name of a part.
func (c carry) suffix() string {
	name := map[carryKind]string{carriesMark: "_mark", carriesPriority: "_prio"}[c.kind]
	if c.kind != carriesNothing && !c.whole {
		name += fmt.Sprintf("_%x_%x", c.value, c.mask)
	}
	return name
}

// constant is the assignment of a value that all elements carry; changes is false
// where it changes nothing.
func (c carry) constant() (assign nftgen.Assign, changes bool) {
	assign = nftgen.Assign{Field: c.kind.field(), Xor: binary.BigEndian.AppendUint32(nil, c.value)}
	if c.mask != math.MaxUint32 {
		assign.Keep = binary.BigEndian.AppendUint32(nil, ^c.mask)
	}
	return assign, c.mask != 0 || c.value != 0
}

// LookUp adds the lookup of what elements of an ipset carry as the end of a rule,
// which goes on whatever it finds. The mark comes last, because it may be what is
// looked up.
func (r *Rule) LookUp(m SetMap) error {
	set := r.Shared.ipsets.Set(m.Name)
	test := SetTest{Name: m.Name, Range: m.Range, Source: m.Source, Uncounted: true}
	if set == nil {
		return r.unknownSet(test)
	}
	if o := &set.Options; o.Family != 0 && o.Family != r.ipVersion() {
		return r.wrongFamily(set, m.Range)
	}
	for _, kind := range []carryKind{carriesPriority, carriesMark} {
		if kind == carriesPriority && !m.Priority || kind == carriesMark && !m.Mark {
			continue
		}
		rows, err := r.lookUpRows(set, test, kind, set.Type.IsList())
		if err != nil {
			return err
		}
		if len(rows) == 1 { // a class is set for all elements; if it is not, there is no mark either
			r.Add(rows[0]...)
			continue
		}
		b := Branch{Otherwise: Match}
		for _, row := range rows {
			b.Rows = append(b.Rows, Row{Stmts: row, Then: Match})
		}
		r.Branch(b)
	}
	return nil
}

// lookUpRows returns the alternatives under which an ipset holds what is taken
// from a packet, each with what then happens at its end. A row of tests alone is
// an element that carries nothing; it is only made where that hides other elements.
func (r *Rule) lookUpRows(set *ipset.Set, q SetTest, kind carryKind, hides bool) (rows [][]nftgen.Stmt, err error) {
	if set.Type.IsList() {
		set.Elements(func(_ int, e *ipset.Element) bool {
			var more [][]nftgen.Stmt
			switch {
			case e.Extra != nil && set.Options.HasTimeout && e.Extra.Timeout != 0:
				err = setLeaves(set, e, q.Range)
			case set.Options.SkbInfo:
				c := carry{kind: kind, value: e.Extra.SkbMark, mask: e.Extra.SkbMask}
				if kind == carriesPriority {
					c.value, c.mask = e.Extra.SkbPrio, math.MaxUint32
				}
				more, err = r.constantRows(e.Member, q, c)
			default:
				more, err = r.lookUpRows(e.Member, q, kind, true)
			}
			rows = append(rows, more...)
			return err == nil
		})
		return rows, err
	}
	if !set.Options.SkbInfo {
		c := carry{kind: kind}
		if kind == carriesPriority {
			c.mask = math.MaxUint32
		} else if !hides {
			return nil, nil
		}
		return r.constantRows(set, q, c)
	}
	if len(q.Source) < len(set.Type.Parts) || set.Options.Family != 0 && set.Options.Family != r.ipVersion() ||
		set.Type.Bitmap && set.Type.Parts[0] == ipset.IP && r.ipVersion() != 4 {
		return nil, nil
	}
	if r.Shared.changing(set) != nil {
		return nil, &Untranslatable{
			Summary: fmt.Sprintf("set %q carries marks or classes, and packets change it", set.Name),
			Detail: "An element that a packet adds or renews carries nothing from then on, so the values would change with the elements. " +
				"Keep the elements that carry something in a set of their own.",
			Range: q.Range,
		}
	}
	parts, err := r.Shared.carryParts(set, kind, q.Range)
	if err != nil {
		return nil, err
	}
	for _, p := range parts.list {
		assign, changes := p.carry.constant()
		changes = changes || p.carry.whole
		if p.exceptions || !r.meets(p.proto) || !changes && !hides {
			continue
		}
		named := p.named(r.Shared, true)
		fields, masks := r.setKey(set, p, q.Source)
		for _, row := range r.guarded(p, q.Source, set, nftgen.InSet{Set: named, Fields: fields, Masks: masks}) {
			if p.carry.whole { // tests that stand behind a lookup come before a change
				row = slices.DeleteFunc(slices.Clone(row), func(s nftgen.Stmt) bool { _, in := s.(nftgen.InSet); return in })
				row = append(row, nftgen.MapAssign{Field: kind.field(), Fields: fields, Masks: masks, Map: named})
			} else if changes {
				row = append(slices.Clip(row), assign)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// constantRows are those of a set all of whose elements carry the same.
func (r *Rule) constantRows(set *ipset.Set, q SetTest, c carry) ([][]nftgen.Stmt, error) {
	rows, err := r.setRows(set, q)
	if assign, changes := c.constant(); changes {
		for i := range rows {
			rows[i] = append(slices.Clip(rows[i]), assign)
		}
	}
	return rows, err
}

type carryPartsKey struct {
	set  *ipset.Set
	kind carryKind
}

// carryParts divides an ipset by what its elements carry, when first asked for.
func (s *Shared) carryParts(set *ipset.Set, kind carryKind, where diag.Range) (*setParts, error) {
	parts := Value(s, carryPartsKey{set, kind}, func() *setParts {
		p := &setParts{set: set, byKey: make(map[partKey]*setPart), family: set.Options.Family, carries: kind}
		p.err = p.divide()
		return p
	})
	return parts.at(where)
}
