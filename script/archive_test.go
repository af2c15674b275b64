package script_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"nftmigrate/diag"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
)

var update = flag.Bool("update", false, "rewrite the out/ parts of the archives")

// archives calls test with each archive.
func archives(t *testing.T, test func(t *testing.T, path string, a *txtar.Archive, text string)) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d archives: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Files) == 0 || a.Files[0].Name != "script.sh" {
				t.Fatal("the first file is not script.sh")
			}
			test(t, path, a, string(a.Files[0].Data))
		})
	}
}

// TestArchives runs each script in our model: out/v4 and out/v6 are the rules
// that it makes, out/sets the sets, out/diag is what is reported.
func TestArchives(t *testing.T) {
	archives(t, func(t *testing.T, path string, a *txtar.Archive, text string) {
		v4, v6, sets, list := made(t, text)
		var report strings.Builder
		for _, d := range list {
			report.WriteString(d.String() + "\n")
		}
		if list.HasErrors() {
			v4, v6, sets = "", "", "" // not the result
		}
		out := []txtar.File{a.Files[0]}
		for _, file := range []txtar.File{{Name: "out/v4", Data: []byte(v4)}, {Name: "out/v6", Data: []byte(v6)}, {Name: "out/sets", Data: []byte(sets)}, {Name: "out/diag", Data: []byte(report.String())}} {
			if len(file.Data) > 0 {
				if file.Data[len(file.Data)-1] != '\n' {
					file.Data = append(file.Data, '\n')
				}
				out = append(out, file)
			}
		}
		now := txtar.Format(&txtar.Archive{Comment: a.Comment, Files: out})
		if diff := cmp.Diff(string(txtar.Format(a)), string(now)); diff != "" {
			if !*update {
				t.Errorf("archive and outcome differ:\n%s", diff)
			} else if err := os.WriteFile(path, now, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestConfirm runs the same scripts by a real shell with the real tools, and
// compares what they leave in the kernel. Scripts that are not followed are
// left out.
func TestConfirm(t *testing.T) {
	for _, plane := range []string{"legacy", "nft"} {
		t.Run(plane, func(t *testing.T) {
			h := newHost(t, plane)
			defer h.end(t)
			confirmed := 0
			archives(t, func(t *testing.T, path string, a *txtar.Archive, text string) {
				v4, v6, sets, list := made(t, text)
				for _, d := range list {
					if d.Severity == diag.Error && d.Class == diag.Unsupported {
						return // the script is not followed
					}
				}
				h.fresh(t)
				shell := []string{"sh", "-s"}
				if first, _, _ := strings.Cut(text, "\n"); strings.HasPrefix(first, "#!") {
					words := strings.Fields(first[2:])
					shell = append([]string{filepath.Base(words[0])}, append(words[1:], "-s")...)
				}
				_, complaints := h.run(t, text, shell[0], shell[1:]...)
				if diff := cmp.Diff(h.save(t, iptables.IPv4), v4); diff != "" {
					t.Errorf("iptables-save and our model differ (-real +ours):\n%s\n%s", diff, complaints)
				}
				if diff := cmp.Diff(h.save(t, iptables.IPv6), v6); diff != "" {
					t.Errorf("ip6tables-save and our model differ (-real +ours):\n%s\n%s", diff, complaints)
				}
				if strings.Contains(text, "ipset ") {
					testkit.Need(t, testkit.Tool("ipset"))
					saved, _ := h.run(t, "", "ipset", "save")
					if diff := cmp.Diff(normalSets(saved), sets); diff != "" {
						t.Errorf("ipset save and our model differ (-real +ours):\n%s\n%s", diff, complaints)
					}
				}
				confirmed++
			})
			if confirmed == 0 {
				t.Error("no script was confirmed")
			}
		})
	}
}
