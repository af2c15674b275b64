package nftgen

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Vmap is "f . g vmap @map", with an optional mask per field: the verdict of the
// element that holds the key. Where none does, the rule does not match. A map
// without a name stands in the rule itself: "f vmap { a : accept, … }"; it holds
// no intervals.
type Vmap struct {
	Fields []Field
	Masks  []Value // nil, or one per field, nil for none
	Map    *Set
}

var _ action = Vmap{}

func (Vmap) stmt() {}

// terminal is false: a packet whose key is not there goes on.
func (Vmap) terminal() bool { return false }

func (s Vmap) check() error {
	if s.Map == nil || !s.Map.Verdicts || s.Map.Bulk.Len() == 0 {
		return fmt.Errorf("write vmap: there is no map, or it holds no verdicts")
	}
	if s.Map.Name == "" {
		if s.Map.Interval || s.Map.Counter || s.Map.expires() {
			return fmt.Errorf("write vmap: a map without a name holds values alone")
		}
		if err := s.Map.Bulk.check(s.Map); err != nil {
			return err
		}
	}
	return checkKey(s.Fields, s.Masks, s.Map)
}

func (s Vmap) text(Family) string {
	key := keyText(s.Fields, s.Masks) + " vmap "
	if s.Map.Name != "" {
		return key + "@" + s.Map.Name
	}
	b := append([]byte(key), "{ "...)
	for i := range s.Map.Bulk.Len() {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = s.Map.Bulk.appendText(b, s.Map, i)
	}
	return string(append(b, " }"...))
}

func (s Vmap) compile(c *compiler) error {
	name, id := s.Map.Name, c.ids[s.Map]
	if name == "" {
		set := s.Map.lookupSet(0)
		set.fields = s.Fields
		name, id = anonymousMap, c.own(set).id
	}
	c.add(append(loadAll(s.Fields, s.Masks, s.Map.Interval), lookupInto(name, id, 1, 0))...)
	return nil
}

// leads returns the chains that the verdicts of the map lead to.
func (s Vmap) leads() []string {
	var names []string
	seen := make(map[string]bool)
	for _, v := range s.Map.Bulk.to {
		if v.Chain != "" && !seen[v.Chain] {
			seen[v.Chain] = true
			names = append(names, v.Chain)
		}
	}
	return names
}

// data returns a verdict as the data of an element.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_verdict_attributes.
func (s VerdictStmt) data() attributes {
	var a, verdict attributes
	code := map[VerdictKind]int32{Accept: 1, Drop: 0, Return: unix.NFT_RETURN, Continue: unix.NFT_CONTINUE, Jump: unix.NFT_JUMP, Goto: unix.NFT_GOTO}[s.Kind]
	verdict.u32(unix.NFTA_VERDICT_CODE, uint32(code))
	if s.Chain != "" {
		verdict.text(unix.NFTA_VERDICT_CHAIN, s.Chain)
	}
	a.nested(unix.NFTA_DATA_VERDICT, verdict)
	return a
}

// checkVerdicts refuses elements of a map without verdicts, and of others with.
func (b *Bulk) checkVerdicts(s *Set) error {
	if s.Verdicts != (b.to != nil) && b.Len() > 0 || s.Verdicts && len(b.to) != b.Len() {
		return fmt.Errorf("write %q: not each element of a map, or one of a set, has a verdict", s.Name)
	}
	if i := slices.IndexFunc(b.to, func(v VerdictStmt) bool { return v.check() != nil }); i >= 0 {
		return b.to[i].check()
	}
	return nil
}

// Verdict returns the verdict of an element of a map.
func (b *Bulk) Verdict(i int) VerdictStmt { return b.to[i] }

// Element returns the ends of an element's key, which are parts of b.
func (b *Bulk) Element(i int) (low, high []byte) { return b.at(i) }
