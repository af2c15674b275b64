package script_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/script"
)

// FuzzRun makes sure that no text makes Run fail other than by diagnostics, that
// all of those have places inside of the text, and that the rules of a script
// without errors print as a text that iptables-restore takes.
func FuzzRun(f *testing.F) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		f.Fatalf("%d archives: %v", len(archives), err)
	}
	for _, name := range archives {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(text).Files {
			if strings.HasSuffix(file.Name, ".sh") {
				f.Add(file.Data)
			}
		}
	}
	f.Add([]byte("iptables -A INPUT -s $A${B:-c}`x`$((1+1))\\\n<<X\n*filter\nX\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		script.Recognise(text)
		result, list := script.Run(diag.NewSource("fuzz.sh", text), extension.Registry)
		for _, d := range list {
			if d.Subject.Start < 0 || d.Subject.Start > d.Subject.End || int(d.Subject.End) > len(text) || d.Code == "" || d.Summary == "" || d.Severity == 0 {
				t.Fatalf("diagnostic is %+v", d)
			}
		}
		if err := diag.Write(new(bytes.Buffer), list); err != nil {
			t.Fatal(err)
		}
		for _, rs := range []*iptables.Ruleset{result.V4, result.V6} {
			if rs == nil || list.HasErrors() {
				continue
			}
			var first bytes.Buffer
			if err := iptables.Print(&first, rs, iptables.PrintOptions{Counters: true}); err != nil {
				t.Fatal(err)
			}
			again, list := iptables.Parse(diag.NewSource("printed", first.Bytes()), rs.Family, extension.Registry)
			if list.HasErrors() {
				t.Fatalf("what is printed has errors: %v\n%s", list, first.String())
			}
			var second bytes.Buffer
			if err := iptables.Print(&second, again, iptables.PrintOptions{Counters: true}); err != nil {
				t.Fatal(err)
			}
			if first.String() != second.String() {
				t.Fatalf("printed first\n%s\nthen\n%s", first.String(), second.String())
			}
		}
	})
}
