package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"nftmigrate/internal/rulegen"
)

// Large rulesets are read, analysed and printed by several processors at once. What comes
// out, and what is said about it, is the same as by one.
func TestManyProcessors(t *testing.T) {
	block := string(rulegen.Block(20_000, 1))
	half := strings.Index(block[len(block)/2:], "\n") + len(block)/2 + 1
	with := func(line string) []byte { return []byte(block[:half] + line + "\n" + block[half:]) }
	for name, text := range map[string][]byte{
		"gateway":    rulegen.Gateway(12_000, 1),
		"gateway6":   rulegen.Gateway6(12_000, 1),
		"kube-proxy": rulegen.KubeProxy(1_000, 1),
		"block":      []byte(block),
		"warning":    with("-A FORWARD -i a/b -j DROP"),
		"error":      with("-A FORWARD -m tcp --dport 1 -j DROP"),
		"no chain":   with("-A FORWARDS -j DROP"),
		"new chain":  with("-N SOME\n-A SOME -j DROP\n-A FORWARD -s 192.0.2.1 -j SOME"),
		"insert":     with("-I FORWARD -s 192.0.2.1,192.0.2.2 -j DROP"),
		"list":       with("-A FORWARD -s 192.0.2.1,192.0.2.2 -j DROP"),
		"variables":  with("-A FORWARD -s 192.0.2.1 -j LOG --log-prefix \"$a\"\n-A FORWARD -s 192.0.2.1 -j LOG --log-prefix \"$b\""),
		"no end":     []byte(strings.TrimSuffix(block, "COMMIT\n")),
		"cut":        []byte(strings.TrimSuffix(block, "\nCOMMIT\n")),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rules")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			translated := func(processors, level int) string {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
				var out, errs bytes.Buffer
				code := run([]string{"translate", "--allow", "deviation", "--optimize", strconv.Itoa(level), path}, nil, &out, &errs)
				return fmt.Sprint(code) + "\n" + errs.String() + out.String()
			}
			for _, level := range []int{0, 2} {
				one := translated(1, level)
				for _, n := range []int{2, 5} {
					if translated(n, level) != one {
						t.Errorf("level %d: %d processors make something else of it than one", level, n)
					}
				}
			}
		})
	}
}
