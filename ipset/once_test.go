package ipset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
)

// TestDeferred reads random texts with and without an index from the start on, and
// shows that the sets are the same, and what is wrong with them.
func TestDeferred(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	wrong := 0
	for range 3000 {
		var b strings.Builder
		spread := 1 + r.IntN(3000)
		b.WriteString("create a hash:ip maxelem 30\ncreate b hash:net\n")
		for range r.IntN(40) {
			set := string("ab"[r.IntN(2)])
			address := fmt.Sprintf("10.0.%d.%d", r.IntN(spread)/256, 1+r.IntN(min(spread, 255)))
			switch r.IntN(40) {
			case 0:
				fmt.Fprintf(&b, "del %s %s\n", set, address)
			case 1:
				fmt.Fprintf(&b, "add %s %s -exist\n", set, address)
			case 2:
				fmt.Fprintf(&b, "flush %s\n", set)
			case 3:
				fmt.Fprintf(&b, "destroy %s\ncreate %s hash:ip\n", set, set)
			case 4:
				b.WriteString("swap a b\n")
			case 5:
				fmt.Fprintf(&b, "add %s %s-10.0.0.9\n", set, address)
			case 6:
				fmt.Fprintf(&b, "add b %s/%d nomatch\n", address, 20+r.IntN(13))
			case 7, 8, 9, 10, 11, 12:
				fmt.Fprintf(&b, "add b %s/%d\n", address, 20+r.IntN(13))
			default:
				fmt.Fprintf(&b, "add %s %s\n", set, address)
			}
		}
		text := b.String()
		src := diag.NewSource("test.ipset", []byte(text))
		sets, list := Parse(src)
		eager := NewReader(src)
		eager.readText(text)
		want, wanted := eager.Finish()
		if got, want := printed(t, sets), printed(t, want); got != want {
			t.Fatalf("of the text\n%s\nParse makes\n%s\nand not\n%s", text, got, want)
		}
		if !slices.Equal(list, wanted) {
			t.Fatalf("of the text\n%s\nParse says\n%v\nand not\n%v", text, list, wanted)
		}
		if list.HasErrors() {
			wrong++
		}
	}
	if wrong < 500 || wrong > 2500 {
		t.Errorf("%d of 3000 texts have something wrong", wrong)
	}
}

// TestSortKeys sorts as many keys as are sorted by counting.
func TestSortKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{0, 1, 100, 4096, 100_000} {
		keys := make([]uint64, n)
		for i := range keys {
			keys[i] = r.Uint64() >> (64 - keyBits) >> (r.IntN(4) * 10)
		}
		want := slices.Clone(keys)
		slices.Sort(want)
		if got := sortKeys(keys); !slices.Equal(got, want) {
			t.Errorf("%d keys are not sorted", n)
		}
	}
}
