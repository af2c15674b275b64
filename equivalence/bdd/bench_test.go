package bdd_test

import (
	"fmt"
	"math/rand"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// A header has 104 bits: protocol, source and destination address, destination
// and source port, each with its first bit at the top.
const (
	protocol = iota
	source
	destination
	destinationPort
	sourcePort
	fields
)

var widths = [fields]int{8, 32, 32, 16, 16}

// span is the values of a field from low to high.
type span struct{ low, high uint64 }

// headerRule gives a verdict to the headers inside of a box.
type headerRule struct {
	box     [fields]span
	verdict uint32
}

func wholeBox() (box [fields]span) {
	for i, w := range widths {
		box[i].high = 1<<w - 1
	}
	return box
}

// prefix returns the addresses that share the first length bits of address.
func prefix(address uint32, length int) span {
	rest := uint64(1)<<(32-length) - 1
	return span{uint64(address) &^ rest, uint64(address) | rest}
}

func randomPorts(rng *rand.Rand) span {
	low := uint64(rng.Intn(1 << 16))
	if rng.Intn(4) > 0 {
		return span{low, low}
	}
	return span{low, low + uint64(rng.Intn(1<<16-int(low)))}
}

// kinds are lists as rulesets have them.
var kinds = []struct {
	name string
	list func(rng *rand.Rand, n int) []headerRule
}{
	// Each rule has its own prefixes and ports.
	{"random", func(rng *rand.Rand, n int) []headerRule {
		return listOf(n, func(box *[fields]span) uint32 {
			box[protocol] = []span{{6, 6}, {17, 17}, {0, 255}}[rng.Intn(3)]
			box[source] = prefix(rng.Uint32(), 8+rng.Intn(25))
			box[destination] = prefix(rng.Uint32(), 8+rng.Intn(25))
			box[destinationPort] = randomPorts(rng)
			if rng.Intn(10) == 0 {
				box[sourcePort] = randomPorts(rng)
			}
			return uint32(rng.Intn(2))
		})
	}},
	// Addresses and services come from pools, and many fields are open.
	{"pooled", func(rng *rand.Rand, n int) []headerRule {
		nets, services := make([]span, 100+n/100), make([]span, 50)
		for i := range nets {
			nets[i] = prefix(10<<24|rng.Uint32()>>8, 16+rng.Intn(17))
		}
		for i := range services {
			services[i] = randomPorts(rng)
		}
		return listOf(n, func(box *[fields]span) uint32 {
			box[protocol] = []span{{6, 6}, {17, 17}}[rng.Intn(2)]
			open := rng.Intn(4)
			if open != 0 {
				box[source] = nets[rng.Intn(len(nets))]
			}
			if open != 1 {
				box[destination] = nets[rng.Intn(len(nets))]
			}
			if open > 1 || rng.Intn(10) > 0 {
				box[destinationPort] = services[rng.Intn(len(services))]
			}
			return uint32(rng.Intn(2))
		})
	}},
	// Source addresses are dropped, the others accepted.
	{"block", func(rng *rand.Rand, n int) []headerRule {
		list := listOf(n, func(box *[fields]span) uint32 {
			box[source] = prefix(rng.Uint32(), []int{16, 24, 24, 32, 32, 32}[rng.Intn(6)])
			return 0
		})
		list[n-1] = headerRule{wholeBox(), 1}
		return list
	}},
}

func listOf(n int, fill func(box *[fields]span) uint32) []headerRule {
	list := make([]headerRule, n)
	for i := range list {
		list[i].box = wholeBox()
		list[i].verdict = fill(&list[i].box)
	}
	return list
}

// reorder exchanges neighbours whose order is of no account, pass by pass.
func reorder(rng *rand.Rand, list []headerRule, passes int) {
	for range passes {
		for i := range len(list) - 1 {
			a, b := &list[i], &list[i+1]
			if rng.Intn(2) == 0 && (a.verdict == b.verdict || apart(a.box, b.box)) {
				*a, *b = *b, *a
			}
		}
	}
}

func apart(a, b [fields]span) bool {
	for i := range a {
		if a[i].low > b[i].high || b[i].low > a[i].high {
			return true
		}
	}
	return false
}

// spanDiagram returns yes where the variables from base on, highest bit first,
// are inside of s, and no elsewhere.
func spanDiagram(m *bdd.Manager, base bdd.Level, width int, s span, yes, no bdd.Ref) bdd.Ref {
	inside, atLeast, atMost := yes, yes, yes
	for i := range width {
		l := base + bdd.Level(width-1-i)
		low, high := s.low>>i&1, s.high>>i&1
		switch {
		case low < high:
			inside = m.Make(l, atLeast, atMost)
		case low == 0:
			inside = m.Make(l, inside, no)
		default:
			inside = m.Make(l, no, inside)
		}
		if low == 0 {
			atLeast = m.Make(l, atLeast, yes)
		} else {
			atLeast = m.Make(l, no, atLeast)
		}
		if high == 0 {
			atMost = m.Make(l, atMost, no)
		} else {
			atMost = m.Make(l, yes, atMost)
		}
	}
	return inside
}

func headerDiagram(m *bdd.Manager, op *bdd.Op, list []headerRule) bdd.Ref {
	refs := make([]bdd.Ref, len(list))
	for i, r := range list {
		f, no := m.Terminal(r.verdict), m.Terminal(none)
		base := 104
		for field := fields - 1; field >= 0; field-- {
			base -= widths[field]
			f = spanDiagram(m, bdd.Level(base), widths[field], r.box[field], f, no)
		}
		refs[i] = f
	}
	return merge(m, op, refs)
}

// manyKeys returns n different exact keys and the levels 0 to bits-1.
func manyKeys(rng *rand.Rand, n, bits int) ([]bdd.Level, []bdd.Key) {
	ls := make([]bdd.Level, bits)
	for i := range ls {
		ls[i] = bdd.Level(i)
	}
	seen := map[string]bool{}
	var keys []bdd.Key
	for len(keys) < n {
		k := make([]byte, bits)
		for i := range k {
			k[i] = byte(rng.Intn(2))
		}
		if !seen[string(k)] {
			seen[string(k)] = true
			keys = append(keys, bdd.Key{Bits: k, Value: bdd.True})
		}
	}
	return ls, keys
}

func BenchmarkList(b *testing.B) {
	for _, kind := range kinds {
		for _, n := range []int{1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				list := kind.list(rand.New(rand.NewSource(1)), n)
				b.ReportAllocs()
				var made, nodes int
				for b.Loop() {
					m := bdd.New(bdd.Options{})
					f := headerDiagram(m, compose(m), list)
					made, nodes = m.Size(), m.Count(f)
				}
				b.ReportMetric(float64(made), "made/op")
				b.ReportMetric(float64(nodes), "nodes")
			})
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ls, keys := manyKeys(rand.New(rand.NewSource(1)), n, 48)
			b.ReportAllocs()
			var made int
			for b.Loop() {
				m := bdd.New(bdd.Options{})
				m.Choose(ls, keys, bdd.False)
				made = m.Size()
			}
			b.ReportMetric(float64(made), "made/op")
			b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(n), "ns/key")
		})
	}
}
