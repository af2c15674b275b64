package nftgen

import (
	"fmt"
	"math/rand/v2"
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

// escaped are names with what they become.
var escaped = map[string]string{
	"INPUT": "INPUT", "f2b-sshd": "f2b-sshd", "a.b_c": "a.b_c", "a:b": "a/3ab", "a+b": "a/2bb", "a/b": "a/2fb", "#x": "_///23x",
	"1st": "_//1st", "-x": "_//-x", "accept": "_//accept", "Accept": "Accept", "_": "_", "_/": "_/2f", "é": "_///c3/a9", "a/3ab": "a/2f3ab",
	"_//accept": "_/2f/2faccept", ".x": "_//.x", "": "_//",
}

func TestEscapeName(t *testing.T) {
	for name, want := range escaped {
		if got := EscapeName(name); got != want {
			t.Errorf("EscapeName(%q) = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"a/", "a/3", "a/zz", "a/3Ab", "a/61", "a b", "_//a", "/3a"} {
		if s, ok := UnescapeName(name); ok && EscapeName(s) != name && EscapeOwn(s) != name && EscapeBytes(s) != name {
			t.Errorf("UnescapeName(%q) = %q", name, s)
		}
	}
	for _, name := range []string{"a/", "a/3", "a/zz", "a/3Ab", "a/61", "a b"} {
		if s, ok := UnescapeName(name); ok {
			t.Errorf("UnescapeName(%q) = %q, want none", name, s)
		}
	}
}

// TestEscapeIsReversible escapes each byte, pairs of bytes, words of nft and
// random bytes: the result is a valid name, and no two are alike.
func TestEscapeIsReversible(t *testing.T) {
	seen := make(map[string]string)
	try := func(name string) {
		got := EscapeName(name)
		if !ValidName(got) {
			t.Errorf("EscapeName(%q) = %q, which is no valid name", name, got)
		}
		if back, ok := UnescapeName(got); !ok || back != name {
			t.Errorf("UnescapeName(EscapeName(%q)) = %q, %v", name, back, ok)
		}
		if other, ok := seen[got]; ok && other != name {
			t.Errorf("%q and %q both become %q", name, other, got)
		}
		seen[got] = name
	}
	for a := range 256 {
		try(string([]byte{byte(a)}))
		for b := range 256 {
			try(string([]byte{byte(a), byte(b)}))
		}
	}
	for w := range keywords {
		try(w)
		try(own + w)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		b := make([]byte, 1+r.IntN(28))
		for i := range b {
			if b[i] = byte(r.IntN(256)); r.IntN(2) == 0 {
				b[i] = "/_0a3:.-"[r.IntN(8)]
			}
		}
		try(string(b))
	}
}

// TestEscapedNamesInNft loads escaped names and reads them back.
func TestEscapedNamesInNft(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	ns := newNamespace(t)
	var text strings.Builder
	var want []string
	for a := range 256 {
		if a != 0 {
			want = append(want, EscapeName(string([]byte{byte(a)})), EscapeName(string([]byte{'x', byte(a)})))
		}
	}
	for w := range keywords {
		want = append(want, EscapeName(w))
	}
	text.WriteString("table ip t {\n")
	for _, name := range want {
		fmt.Fprintf(&text, "chain %s {\n}\n", name)
	}
	text.WriteString("}\nlist table ip t\n")
	cmd := ns.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v\n%.500s", err, out)
	}
	for _, name := range want {
		if !strings.Contains(string(out), "\tchain "+name+" {\n") {
			t.Errorf("nft does not list %q", name)
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
