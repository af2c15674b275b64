package iptsim

import (
	"fmt"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
)

// carried is what an element carries for packets.
type carried struct{ mark, mask, priority uint32 }

// maxCarried is how many different values of one set are modelled: each takes a
// look at all elements.
const maxCarried = 1 << 12

func carriedBy(e *ipset.Element) carried {
	if e.Extra == nil {
		return carried{}
	}
	return carried{e.Extra.SkbMark, e.Extra.SkbMask, e.Extra.SkbPrio}
}

// bindMap puts into a lookup of what elements carry what it means. An element of
// a set that carries nothing has a mark that changes nothing, and the class 0. Of
// a list the first set that holds the packet decides; where the list itself has
// values, those of its elements count.
//
// Kernel: net/netfilter/ipset/ip_set_core.c, ip_set_match_extensions;
// ip_set_list_set.c, list_set_ktest.
func (t *setTests) bindMap(e predicate.SetMap, family iptables.Family) predicate.SetMap {
	set := t.sets.Set(e.Name)
	switch {
	case set == nil:
		e.Unmodelled = fmt.Sprintf("set %s, which no file gives", e.Name)
	case e.Queue:
		e.Unmodelled = "queues of a device"
	default:
		e.Cases, e.Unmodelled = t.mapCases(set, e, family)
	}
	return e
}

func (t *setTests) mapCases(set *ipset.Set, e predicate.SetMap, family iptables.Family) (cases []predicate.SetMapCase, unmodelled string) {
	test := predicate.NamedSet{Name: set.Name, Source: e.Source}
	if set.Type.IsList() {
		set.Elements(func(_ int, member *ipset.Element) bool {
			if set.Options.HasTimeout && member.Extra.Timeout != 0 {
				unmodelled = "an element of list " + set.Name + " that expires"
				return false
			}
			var more []predicate.SetMapCase
			if set.Options.SkbInfo {
				more = []predicate.SetMapCase{{When: t.test(member.Member, test, family), Assigns: assigns(e, carriedBy(member))}}
			} else if more, unmodelled = t.mapCases(member.Member, e, family); unmodelled != "" {
				return false
			}
			cases = append(cases, more...)
			return true
		})
		return cases, unmodelled
	}
	if !set.Options.SkbInfo {
		return []predicate.SetMapCase{{When: t.test(set, test, family), Assigns: assigns(e, carried{})}}, ""
	}
	if t.changing(set) {
		return nil, "what elements of set " + set.Name + " carry, which come or go"
	}
	seen := map[carried]bool{}
	var values []carried
	set.Elements(func(_ int, e *ipset.Element) bool {
		if v := carriedBy(e); !seen[v] {
			seen[v] = true
			values = append(values, v)
		}
		return len(values) <= maxCarried
	})
	if len(values) > maxCarried {
		return nil, fmt.Sprintf("more than %d values of set %s", maxCarried, set.Name)
	}
	for _, v := range values {
		cases = append(cases, predicate.SetMapCase{When: t.testOf(set, test, family, &v), Assigns: assigns(e, v)})
	}
	return cases, ""
}

// assigns is what is done with what an element carries.
func assigns(e predicate.SetMap, v carried) (list []predicate.Assign) {
	if e.Mark {
		list = append(list, predicate.Assign{
			Field: predicate.Field{ID: predicate.Mark}, Keep: predicate.Number(uint64(^v.mask)), Xor: predicate.Number(uint64(v.mark)),
		})
	}
	if e.Priority {
		list = append(list, predicate.Assign{Field: predicate.Field{ID: predicate.Priority}, Xor: predicate.Number(uint64(v.priority))})
	}
	return list
}

// setMap carries out a lookup of what elements carry.
func setMap(v *view, e predicate.SetMap) (unknown string) {
	if e.Unmodelled != "" {
		return e.Unmodelled
	}
	for _, c := range e.Cases {
		switch predicate.Eval(c.When, v, "") {
		case predicate.Unknown:
			return "set " + e.Name
		case predicate.No:
			continue
		}
		for _, a := range c.Assigns {
			if unknown = assign(v, a); unknown != "" {
				return unknown
			}
		}
		return ""
	}
	return ""
}

// setMap is the function of a lookup of what elements carry.
func (c *compiler) setMap(e predicate.SetMap) bdd.Ref {
	if e.Unmodelled != "" {
		return c.unsure(e.Unmodelled)
	}
	s := c.space
	f := s.Next()
	for i := len(e.Cases) - 1; i >= 0; i-- {
		when, ok := c.pure(e.Cases[i].When)
		if !ok {
			return c.unsure("set " + e.Name)
		}
		var steps []bdd.Ref
		for _, a := range e.Cases[i].Assigns {
			steps = append(steps, c.assign(a))
		}
		f = s.ITE(when, s.List(append(steps, s.Next())), f)
	}
	return f
}
