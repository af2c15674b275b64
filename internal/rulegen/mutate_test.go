package rulegen

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// changes returns the lines in which two texts of the same length differ.
func changes(a, b []byte) []int {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	if len(x) != len(y) {
		return nil
	}
	var at []int
	for i := range x {
		if !bytes.Equal(x[i], y[i]) {
			at = append(at, i+1)
		}
	}
	return at
}

func TestMutateChangesOneThing(t *testing.T) {
	words := []string{"port ", "-s ", "-d ", "without its negation", "changed places", "-j "}
	seen := map[string]bool{}
	for _, s := range Shapes {
		text := s.Generate(200, 11)
		for seed := range uint64(60) {
			mutated, what := Mutate(text, seed)
			if what == "" {
				t.Fatalf("%s, seed %d: nothing changed", s.Name, seed)
			}
			at := changes(text, mutated)
			if swap := strings.Contains(what, "changed places"); swap && (len(at) != 2 || at[1] != at[0]+1) || !swap && len(at) != 1 {
				t.Errorf("%s, seed %d: %s: lines %v have changed", s.Name, seed, what, at)
			}
			wantPrinted(t, s, mutated)
			change, _, _ := strings.Cut(what, ": -A ")
			for _, w := range words {
				seen[w] = seen[w] || strings.Contains(change, w)
			}
		}
	}
	for _, w := range words {
		if !seen[w] {
			t.Errorf("no mutant with %q", w)
		}
	}
}

// TestMutateIsNoticed wants no change that another rule hides, where a packet
// can be looked for.
func TestMutateIsNoticed(t *testing.T) {
	text := []byte(`*filter
:FORWARD DROP [0:0]
-A FORWARD -s 10.0.0.0/8 -j ACCEPT
-A FORWARD -s 10.1.0.0/16 -p tcp -m tcp --dport 1 -j ACCEPT
-A FORWARD -s 11.0.0.0/8 -j DROP
COMMIT
`)
	noticed := []string{
		"line 3, -s ", "line 3, -j DROP instead",
		"line 4, -s ", // out of the network of the first rule
		"line 5, -j ACCEPT instead",
	}
	found := map[string]bool{}
	for seed := range uint64(200) {
		_, what := Mutate(text, seed)
		i := slices.IndexFunc(noticed, func(n string) bool { return strings.HasPrefix(what, n) })
		if i < 0 {
			t.Fatalf("seed %d: no packet can notice: %s", seed, what)
		}
		found[noticed[i]] = true
	}
	if len(found) != len(noticed) {
		t.Errorf("only these changes are made: %v", found)
	}
}

func TestMutateNothing(t *testing.T) {
	for _, text := range []string{
		"", "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n",
		"*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i eth0\nCOMMIT\n",
		"*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j DROP\n-A FORWARD -p tcp -m tcp --dport 3 -j ACCEPT\nCOMMIT",
	} {
		if mutated, what := Mutate([]byte(text), 1); string(mutated) != text && what == "" {
			t.Errorf("%q became %q", text, mutated)
		}
	}
}
