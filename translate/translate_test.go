package translate_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

var update = flag.Bool("update", false, "rewrite the archives")

// TestArchives translates the rules of each archive and compares the text and
// the diagnostics, each with its line and code.
func TestArchives(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files := make(map[string][]byte)
			for _, f := range a.Files {
				files[f.Name] = f.Data
			}
			options := translate.Options{Strict: strings.Contains(path, "strict")}
			if strings.Contains(path, "optimized") {
				options.Optimize = 2
			}
			text, list := run(t, files, options)
			got := map[string]string{"out/nft": text, "out/diag": list}
			for i := range a.Files {
				f := &a.Files[i]
				want, ok := got[f.Name]
				if !ok {
					continue
				}
				delete(got, f.Name)
				if *update {
					f.Data = []byte(want)
				} else if diff := cmp.Diff(string(f.Data), want); diff != "" {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
			}
			for name, data := range got {
				if data != "" {
					t.Errorf("the archive has no %s:\n%s", name, data)
				}
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// run returns the text of the translation and its diagnostics.
func run(t *testing.T, files map[string][]byte, o translate.Options) (text, list string) {
	t.Helper()
	result, diags := translated(t, files, o)
	var b bytes.Buffer
	for _, d := range diags {
		fmt.Fprintf(&b, "%s:%d: %s [%s]\n", d.Subject.Source.Name, d.Subject.Line(), d.Severity, d.Code)
	}
	list = b.String()
	if result == nil {
		return "", list
	}
	b.Reset()
	if err := nftgen.Print(&b, result.Ruleset); err != nil {
		t.Fatalf("print: %v", err)
	}
	if _, err := nftgen.Encode(result.Ruleset); err != nil {
		t.Fatalf("encode: %v", err)
	}
	return b.String(), list
}

func translated(t *testing.T, files map[string][]byte, o translate.Options) (*translate.Result, diag.List) {
	t.Helper()
	var rulesets [2]*iptables.Ruleset
	for i, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
		name := fmt.Sprintf("rules.v%d", family)
		data, ok := files[name]
		if !ok {
			continue
		}
		rs, list := iptables.Parse(diag.NewSource(name, data), family, extension.Registry)
		if list.HasErrors() {
			var b bytes.Buffer
			diag.Write(&b, list)
			t.Fatalf("parse %s:\n%s", name, b.String())
		}
		rulesets[i] = rs
	}
	return translate.Translate(rulesets[0], rulesets[1], o)
}

// TestDeterministic translates the same rules many times.
func TestDeterministic(t *testing.T) {
	data, err := os.ReadFile("testdata/branches.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, f := range txtar.Parse(data).Files {
		files[f.Name] = f.Data
	}
	first, _ := run(t, files, translate.Options{})
	for range 20 {
		if again, _ := run(t, files, translate.Options{}); again != first {
			t.Fatalf("a second translation differs:\n%s", cmp.Diff(first, again))
		}
	}
}

func BenchmarkTranslate(b *testing.B) {
	var text strings.Builder
	text.WriteString("*filter\n:INPUT DROP [0:0]\n")
	const rules = 10_000
	for i := range rules {
		fmt.Fprintf(&text, "-A INPUT -s 10.%d.%d.0/24 -p tcp -m tcp --dport %d -j ACCEPT\n", i>>8&255, i&255, 1+i%60000)
	}
	text.WriteString("COMMIT\n")
	rs, list := iptables.Parse(diag.NewSource("rules.v4", []byte(text.String())), iptables.IPv4, extension.Registry)
	if list.HasErrors() {
		b.Fatal(list)
	}
	b.ResetTimer()
	for range b.N {
		if result, list := translate.Translate(rs, nil, translate.Options{}); result == nil {
			b.Fatal(list)
		}
	}
	b.ReportMetric(float64(rules*b.N)/b.Elapsed().Seconds(), "rules/s")
}
