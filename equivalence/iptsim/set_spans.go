package iptsim

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/ipset"
)

// A tree is what a part of a set says of tuples of values.
type tree struct {
	spans             *predicate.Spans
	devices, prefixes []string
	timed             []predicate.TimedElement // which are not in spans
}

// tree returns a part of a set, made when first asked for.
func (t *setTests) tree(key treeKey) *tree {
	if known := t.trees[key]; known != nil {
		return known
	}
	made := buildTree(key)
	t.trees[key] = made
	return made
}

// silent is where no element says anything, excepted where one with "nomatch"
// decides.
var silent, excepted = &predicate.Spans{}, &predicate.Spans{}

// A prefix is a value of a field, or all that begin with the same bits.
type prefix struct {
	value predicate.Bits
	bits  int
}

// A treeBuilder makes spans of elements. Of each field it has a column with the
// value of every element.
type treeBuilder struct {
	widths  []int
	columns [][]prefix
	leaves  []*predicate.Spans
	// firstOnly: only the longest prefix of the first field that any element has
	// is looked at.
	firstOnly bool
	overlaid  map[[2]*predicate.Spans]*predicate.Spans
}

// buildTree makes the spans of a part of a set. Elements are looked up by exact
// values, except for networks: there the kernel tries the lengths of prefix that
// the set has, from long to short, of two networks the first in the outer loop,
// and the first element that it finds decides. With a device, it ends at the
// first length of which there is any element, whatever its device; those for the
// ports of bridges do not count.
//
// Kernel: net/netfilter/ipset/ip_set_hash_gen.h, mtype_test_cidrs;
// ip_set_hash_netiface.c, hash_netiface4_data_equal.
func buildTree(key treeKey) *tree {
	set, proto := key.set, uint8(max(key.proto, 0))
	b := &treeBuilder{firstOnly: set.Type.Name == "hash:net,iface", overlaid: map[[2]*predicate.Spans]*predicate.Spans{}}
	b.widths = fieldWidths(set, proto)
	b.columns = make([][]prefix, len(b.widths))
	made := &tree{}
	seen := map[string]bool{}
	set.Elements(func(_ int, e *ipset.Element) bool {
		// A rule never looks for the ports of bridges: xt_set has no such flag.
		if e.Proto != proto || e.Physdev {
			return true
		}
		leaf := predicate.Always
		if e.Nomatch || key.valued && carriedBy(e) != key.carries {
			leaf = excepted
		}
		if e.Extra != nil && set.Options.HasTimeout && e.Extra.Timeout != 0 {
			made.timed = append(made.timed, predicate.TimedElement{Key: b.values(set, e), Life: time.Duration(e.Extra.Timeout) * time.Second})
			return true
		}
		b.add(set, e, leaf)
		if e.Iface != "" && !seen[e.Iface] {
			seen[e.Iface] = true
			made.devices = append(made.devices, e.Iface)
			if e.Wildcard {
				made.prefixes = append(made.prefixes, e.Iface)
			}
		}
		return true
	})
	order := make([]int32, len(b.leaves))
	for i := range order {
		order[i] = int32(i)
	}
	wanted := predicate.Always
	if key.exceptions {
		wanted = excepted
	}
	made.spans = answers(b.build(order, 0), wanted, map[*predicate.Spans]*predicate.Spans{})
	return made
}

// fieldWidths are the bits of the fields, in the order of memberFields.
func fieldWidths(set *ipset.Set, proto uint8) []int {
	address := 32
	if set.Options.Family == 6 {
		address = 128
	}
	var port, rest []int
	for _, part := range set.Type.Parts {
		switch part {
		case ipset.IP, ipset.Net:
			rest = append(rest, address)
		case ipset.Port:
			switch {
			case proto == protoICMP || proto == protoICMPv6:
				port = []int{8, 8}
			case set.Type.Bitmap || headerBytes(proto) > 0:
				port = []int{16}
			}
		case ipset.MAC:
			rest = append(rest, 48)
		case ipset.Mark:
			rest = append(rest, 32)
		case ipset.Iface:
			rest = append(rest, 128)
		}
	}
	return append(port, rest...)
}

// add appends an element to the columns.
func (b *treeBuilder) add(set *ipset.Set, e *ipset.Element, leaf *predicate.Spans) {
	level := 0
	put := func(v predicate.Bits, bits int) {
		b.columns[level] = append(b.columns[level], prefix{v, bits})
		level++
	}
	for _, part := range set.Type.Parts {
		if part != ipset.Port {
			continue
		}
		switch {
		case set.Type.Bitmap || headerBytes(e.Proto) > 0 && e.Proto != protoICMP && e.Proto != protoICMPv6:
			put(predicate.Number(uint64(e.Port)), 16)
		case headerBytes(e.Proto) > 0:
			put(predicate.Number(uint64(e.Port>>8)), 8)
			put(predicate.Number(uint64(e.Port&0xff)), 8)
		}
	}
	n := 0
	for _, part := range set.Type.Parts {
		switch part {
		case ipset.IP, ipset.Net:
			bits := int(e.Bits[n])
			if part == ipset.IP && set.Options.Netmask != 0 {
				bits = int(set.Options.Netmask)
			}
			put(addressBits(e.Addr[n]), bits)
			n++
		case ipset.MAC:
			put(predicate.MAC(e.MAC), 48)
		case ipset.Mark:
			put(predicate.Number(uint64(e.Mark)), 32)
		case ipset.Iface:
			bits := 128
			if e.Wildcard {
				bits = 8 * len(e.Iface)
			}
			put(predicate.Name(e.Iface), bits)
		}
	}
	b.leaves = append(b.leaves, leaf)
}

// values packs the values of an element, as [predicate.SetKey] does.
func (b *treeBuilder) values(set *ipset.Set, e *ipset.Element) string {
	one := treeBuilder{columns: make([][]prefix, len(b.widths))}
	one.add(set, e, silent)
	var list []predicate.Bits
	for _, column := range one.columns {
		list = append(list, column[0].value)
	}
	return predicate.SetKey(list)
}

func addressBits(a netip.Addr) predicate.Bits { return predicate.Addr(a) }

// build makes the spans of elements that are alike before a level.
func (b *treeBuilder) build(order []int32, level int) *predicate.Spans {
	if level == len(b.columns) {
		return b.leaves[order[0]]
	}
	column, width := b.columns[level], b.widths[level]
	slices.SortFunc(order, func(x, y int32) int {
		p, q := &column[x], &column[y]
		return cmp.Or(cmp.Compare(p.value.Hi, q.value.Hi), cmp.Compare(p.value.Lo, q.value.Lo), cmp.Compare(p.bits, q.bits))
	})
	type open struct {
		last predicate.Bits
		says *predicate.Spans
	}
	stack := []open{{predicate.Ones(width), silent}}
	s := &spanList{}
	s.from(predicate.Bits{}, silent)
	leave := func() {
		last := stack[len(stack)-1].last
		stack = stack[:len(stack)-1]
		if last.Less(predicate.Ones(width)) {
			s.from(last.Inc(), stack[len(stack)-1].says)
		}
	}
	for start := 0; start < len(order); {
		p := column[order[start]]
		end := start + 1
		for end < len(order) && column[order[end]] == p {
			end++
		}
		for stack[len(stack)-1].last.Less(p.value) {
			leave()
		}
		says := b.build(order[start:end], level+1)
		if outer := stack[len(stack)-1].says; !b.firstOnly || level > 0 {
			says = b.overlay(says, outer)
		}
		s.from(p.value, says)
		stack = append(stack, open{p.value.Or(predicate.Ones(width - p.bits)), says})
		start = end
	}
	for len(stack) > 1 {
		leave()
	}
	return s.spans()
}

// A spanList is spans under construction.
type spanList struct {
	first []predicate.Bits
	next  []*predicate.Spans
}

// from says what holds from a value on.
func (s *spanList) from(v predicate.Bits, says *predicate.Spans) {
	n := len(s.first)
	if n > 0 && s.first[n-1] == v {
		s.first, s.next = s.first[:n-1], s.next[:n-1]
		n--
	}
	if n > 0 && s.next[n-1] == says {
		return
	}
	s.first, s.next = append(s.first, v), append(s.next, says)
}

func (s *spanList) spans() *predicate.Spans {
	if len(s.next) == 1 {
		return s.next[0]
	}
	return &predicate.Spans{First: s.first, Next: s.next}
}

func isLeaf(s *predicate.Spans) bool { return len(s.First) == 0 }

// overlay is what upper says, and lower where that is silent.
func (b *treeBuilder) overlay(upper, lower *predicate.Spans) *predicate.Spans {
	switch {
	case upper == silent || upper == lower:
		return lower
	case isLeaf(upper) || lower == silent:
		return upper
	}
	key := [2]*predicate.Spans{upper, lower}
	if made := b.overlaid[key]; made != nil {
		return made
	}
	list := &spanList{}
	var at predicate.Bits
	for i, j := 0, 0; ; {
		below := lower
		if !isLeaf(lower) {
			below = lower.Next[j]
		}
		list.from(at, b.overlay(upper.Next[i], below))
		more := false
		for _, first := range [2][]predicate.Bits{upper.First[i+1:], lower.First[min(j+1, len(lower.First)):]} {
			if len(first) > 0 && (!more || first[0].Less(at)) {
				at, more = first[0], true
			}
		}
		if !more {
			break
		}
		if i+1 < len(upper.First) && upper.First[i+1] == at {
			i++
		}
		if j+1 < len(lower.First) && lower.First[j+1] == at {
			j++
		}
	}
	made := list.spans()
	b.overlaid[key] = made
	return made
}

// answers turns what elements say into yes, where that is wanted, and no.
func answers(s, wanted *predicate.Spans, known map[*predicate.Spans]*predicate.Spans) *predicate.Spans {
	switch {
	case s == wanted:
		return predicate.Always
	case isLeaf(s):
		return predicate.Never
	}
	if made := known[s]; made != nil {
		return made
	}
	list := &spanList{first: make([]predicate.Bits, 0, len(s.First)), next: make([]*predicate.Spans, 0, len(s.First))}
	for i, first := range s.First {
		list.from(first, answers(s.Next[i], wanted, known))
	}
	made := list.spans()
	known[s] = made
	return made
}
