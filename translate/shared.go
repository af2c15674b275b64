package translate

import (
	"fmt"

	"nftmigrate/ipset"
	"nftmigrate/nftgen"
)

// Shared is what the rules of one ruleset share: named objects, sets and helper chains,
// and what extensions keep for themselves between Collect and Translate.
type Shared struct {
	objects []*nftgen.Object
	sets    []*nftgen.Set
	chains  []*nftgen.Chain
	taken   map[string]bool
	// owners are the chains that helper chains were made for.
	owners map[*nftgen.Chain]*nftgen.Chain
	values map[any]any
	stock  stock
	ipsets *ipset.Sets // nil when none were given

	protocols [256]nftgen.Stmt // tests of protocols, as far as they were needed
}

// protocolTest returns the test of a protocol.
func (s *Shared) protocolTest(number uint8) nftgen.Stmt {
	if s.protocols[number] == nil {
		s.protocols[number] = nftgen.Compare{Field: nftgen.MetaL4Proto, Op: nftgen.Eq, Value: nftgen.Value{number}}
	}
	return s.protocols[number]
}

func newShared() *Shared {
	return &Shared{taken: make(map[string]bool), owners: make(map[*nftgen.Chain]*nftgen.Chain), values: make(map[any]any)}
}

// AddSet adds a named set to the table, in the order of the calls. The name is
// made valid and unique; the set is returned.
func (s *Shared) AddSet(set *nftgen.Set) *nftgen.Set {
	set.Name = s.unique("set ", set.Name)
	s.sets = append(s.sets, set)
	return set
}

// AddObject adds a named object to the table, in the order of the calls. The
// name is made valid and unlike that of any other object, of whatever kind.
func (s *Shared) AddObject(o *nftgen.Object) *nftgen.Object {
	o.Name = s.unique("object ", o.Name)
	s.objects = append(s.objects, o)
	return o
}

// AddChain adds a helper chain likewise.
func (s *Shared) AddChain(c *nftgen.Chain) *nftgen.Chain {
	c.Name = s.unique("chain ", c.Name)
	s.chains = append(s.chains, c)
	return c
}

// addHelper adds a chain that holds a part of another one; the text shows it
// behind that one.
func (s *Shared) addHelper(owner *nftgen.Chain, c *nftgen.Chain) *nftgen.Chain {
	s.AddChain(c)
	s.owners[c] = owner
	return c
}

// adopt makes one chain the owner of what another owned.
func (s *Shared) adopt(from, to *nftgen.Chain) {
	for c, owner := range s.owners {
		if owner == from {
			s.owners[c] = to
		}
	}
	delete(s.owners, from)
}

// unique returns a valid name that no object of the kind has yet, and takes it.
func (s *Shared) unique(kind, name string) string {
	name = s.free(kind, name)
	s.taken[kind+name] = true
	return name
}

// free is unique without taking the name.
func (s *Shared) free(kind, name string) string {
	base := nftgen.CleanName(name)
	name = base
	for n := 2; s.taken[kind+name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	return name
}

// Value returns the value kept under a key, made by fresh when there is none.
// Keys are of types private to their extension.
func Value[T any](s *Shared, key any, fresh func() T) T {
	if v, ok := s.values[key]; ok {
		return v.(T)
	}
	v := fresh()
	s.values[key] = v
	return v
}
