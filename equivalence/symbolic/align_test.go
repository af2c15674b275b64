package symbolic

import (
	"math/rand/v2"
	"slices"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// TestAlign puts the stretches of random lists together again, and counts how
// much of lists with one mistake is not the same.
func TestAlign(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for round := range 2000 {
		a := make([]bdd.Ref, r.IntN(40))
		kinds := 3 + r.IntN(100)
		for i := range a {
			a[i] = bdd.Ref(r.IntN(kinds))
		}
		b := slices.Clone(a)
		edits := r.IntN(4)
		for range edits {
			switch at := r.IntN(len(b) + 1); {
			case r.IntN(2) == 0 && at < len(b):
				b = slices.Delete(b, at, at+1)
			default:
				b = slices.Insert(b, at, bdd.Ref(1000+r.IntN(5)))
			}
		}
		var backA, backB []bdd.Ref
		other := 0
		for _, part := range align(a, b) {
			backA, backB = append(backA, part.a...), append(backB, part.b...)
			switch {
			case part.same != slices.Equal(part.a, part.b) && part.same:
				t.Fatalf("round %d: %v and %v are not the same", round, part.a, part.b)
			case !part.same:
				other += len(part.a) + len(part.b)
			}
		}
		if !slices.Equal(backA, a) || !slices.Equal(backB, b) {
			t.Fatalf("round %d: %v and %v became %v and %v", round, a, b, backA, backB)
		}
		if edits < 2 && other > 1 {
			t.Errorf("round %d: one mistake leaves %d others", round, other)
		}
	}
}
