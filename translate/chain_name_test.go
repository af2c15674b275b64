package translate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"nftmigrate/translate"
)

// TestRenamingIsReversible gives user chains names of any bytes, in several
// tables and of both families, and computes from the names in nftables which
// chain each was.
func TestRenamingIsReversible(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	word := func() string {
		fixed := []string{"nat_x", "x", "mangle_nat_x", "x_v6", "nat", "raw_", "_", "accept", "nat_accept", "1", "v6", "nat_PREROUTING", "a:b", "a+b", "a#b", "x/v6", "_//x"}
		if r.IntN(2) == 0 {
			return fixed[r.IntN(len(fixed))]
		}
		const letters = "abcdefABC/_0123:.-+#,;=@~$%&{}[]()*|<>?\xe9\x80"
		b := make([]byte, 1+r.IntN(28))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		if b[0] == '-' || b[0] == '!' || b[0] == '#' {
			b[0] = 'k'
		}
		return string(b)
	}
	for range 300 {
		var files = make(map[string][]byte)
		for _, f := range []string{"rules.v4", "rules.v6"} {
			text := ""
			for _, table := range []string{"raw", "mangle", "nat", "filter", "security"} {
				hook := map[string]string{"raw": "PREROUTING", "mangle": "PREROUTING", "nat": "PREROUTING", "filter": "INPUT", "security": "INPUT"}[table]
				text += fmt.Sprintf("*%s\n:%s ACCEPT [0:0]\n", table, hook)
				seen := make(map[string]bool)
				rules := ""
				for range 4 {
					if w := word(); !seen[w] {
						seen[w] = true
						text += fmt.Sprintf(":%s - [0:0]\n", w)
						if r.IntN(2) == 0 {
							rules += fmt.Sprintf("-A %s -p tcp -g %s\n", hook, w)
						}
					}
				}
				text += rules + "COMMIT\n"
			}
			files[f] = []byte(text)
		}
		result, list := translated(t, files, translate.Options{})
		if result == nil {
			t.Fatalf("%v\n%s", list, files)
		}
		told := make(map[string]translate.Renaming)
		for _, n := range result.Renamed {
			told[n.Name] = n
		}
		names := make(map[string]bool)
		for _, c := range result.Ruleset.Table.Chains {
			if names[c.Name] {
				t.Fatalf("two chains are called %q", c.Name)
			}
			names[c.Name] = true
			table, chain, _, ok := translate.SourceChain(c.Name)
			want, renamed := told[c.Name]
			switch {
			case !renamed:
				want.Chain = c.Name
			case table == "":
				table = want.Table
			}
			if !ok || chain != want.Chain || renamed && table != want.Table {
				t.Errorf("SourceChain(%q) = %q, %q, %v, want %q, %q", c.Name, table, chain, ok, want.Table, want.Chain)
			}
		}
	}
}
