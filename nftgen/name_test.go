package nftgen

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nftmigrate/internal/testkit"
)

// names are names with whether nft 1.0.6 takes them.
var names = func() map[string]bool {
	m := map[string]bool{
		"INPUT": true, "input": true, "f2b-sshd": true, "a.b/c_d": true, "_x": true, "LOG": true, "x1": true, "Accept": true,
		strings.Repeat("a", 255): true,
		"":                       false, "1a": false, "-a": false, "x:y": false, "a+b": false, "a b": false, "a#b": false, "a$b": false, "a@b": false,
		"a\"b": false, "a;b": false, "a{b": false, "a,b": false, "a=b": false, "a*": false, "a!": false, "a%": false, "/a": false, "é": false,
		"a\nb": false, "a&b": false, "a|b": false, "a<b": false, "a~b": false, "a'b": false, "a(b": false, "a[b": false, "a\\b": false,
		strings.Repeat("a", 256): false,
	}
	for w := range keywords {
		m[w] = false
	}
	return m
}()

// laterWords are words of the language since versions after nft 1.0.6.
var laterWords = strings.Fields("destroy geneve gre gretap last tunnel vni vxlan")

func TestValidName(t *testing.T) {
	for name, want := range names {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%.20q) = %v, want %v", name, got, want)
		}
	}
}

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"INPUT": "INPUT", "a:b": "a_b", "1st": "_1st", "accept": "_accept", "": "_", "é": "__", "-x": "_-x", "a b+c": "a_b_c",
	} {
		if got := CleanName(name); got != want {
			t.Errorf("CleanName(%q) = %q, want %q", name, got, want)
		}
	}
	for name := range names {
		if got := CleanName(name); !ValidName(got) {
			t.Errorf("CleanName(%.20q) = %q, which is no valid name", name, got)
		}
	}
}

// TestNamesInNft gives every name to nft, as a chain with a jump to it and as
// a set with a lookup in it.
func TestNamesInNft(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	ns := newNamespace(t)
	for name, want := range names {
		if name == "" || strings.Contains(name, "\n") || slices.Contains(laterWords, name) {
			continue
		}
		text := fmt.Sprintf("table ip %[1]s {\n set %[1]s {\n type mark\n }\n chain %[1]s {\n }\n chain c {\n meta mark @%[1]s jump %[1]s\n }\n}\n", name)
		cmd := ns.Command("nft", "-c", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if got := err == nil; got != want {
			t.Errorf("nft takes %.20q: %v, want %v\n%.300s", name, got, want, out)
		}
	}
}
