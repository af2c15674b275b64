package scratch

import (
	"strings"
	"testing"

	"nftmigrate/diag"
)

func TestParseMessages(t *testing.T) {
	src := diag.NewSource("x.nft", []byte("table ip t {\n\tchain c { tcp dprt 22 }\n}\n"))
	for _, c := range []struct {
		name, said string
		refused    bool
		want       []string // place, severity, code
		subject    string
	}{
		{"nothing", "", false, nil, ""},
		{"one", "/dev/stdin:2:16-19: Error: syntax error, unexpected string\n\tchain c { tcp dprt 22 }\n\t              ^^^^\n", true,
			[]string{"x.nft:2:16 error nft-refused"}, "dprt"},
		{"two", "/dev/stdin:1:1-5: Error: a\n/dev/stdin:2:2-6: Error: b\n", true,
			[]string{"x.nft:1:1 error nft-refused", "x.nft:2:2 error nft-refused"}, "table"},
		{"warning", "/dev/stdin:1:1-5: Warning: a\n", false, []string{"x.nft:1:1 warning nft-warning"}, "table"},
		{"warning and refusal", "/dev/stdin:1:1-5: Warning: a\nnetlink: Error\n", true,
			[]string{"x.nft:1:1 warning nft-warning", " error nft-refused"}, "table"},
		{"no place", "netlink: Error: Could not process rule\n", true, []string{" error nft-refused"}, ""},
		{"line past the end", "/dev/stdin:99:1-5: Error: a\n", true, []string{" error nft-refused"}, ""},
		{"column past the end", "/dev/stdin:1:90-95: Error: a\n", true, []string{"x.nft:1:13 error nft-refused"}, ""},
		{"columns reversed", "/dev/stdin:1:5-1: Error: a\n", true, []string{"x.nft:1:5 error nft-refused"}, ""},
		{"line zero", "/dev/stdin:0:0-0: Error: a\n", true, []string{" error nft-refused"}, ""},
		{"number too large", "/dev/stdin:99999999999999999999:1-2: Error: a\n", true, []string{" error nft-refused"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := parseMessages(src, c.said, c.refused)
			var got []string
			for _, d := range list {
				got = append(got, d.Subject.String()+" "+d.Severity.String()+" "+d.Code)
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Fatalf("diagnostics %q, want %q", got, c.want)
			}
			if len(list) > 0 && list[0].Subject.Text() != c.subject {
				t.Errorf("subject %q, want %q", list[0].Subject.Text(), c.subject)
			}
		})
	}
}

func TestUnfit(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // codes
	}{
		{"table ip t { chain c { accept; }; }", ""},
		{`include "a"`, "nft-include"},
		{`table ip t{};include'a'`, "nft-include"},
		{`include/**/"a"`, ""}, // one word to nft
		{"include\\\n\"a\"", "nft-include"},
		{"8include \"a\"", "nft-include"},
		{`# include "a"`, ""},
		{"# \"\ninclude \"a\"", "nft-include"},
		{`comment "include"`, ""},
		{"comment \"a\ninclude\nb\"", ""},
		{`" include "a"`, ""}, // the string is " include "
		{`"" include "a"`, "nft-include"},
		{`"unclosed include`, "nft-include"},
		{"chain included { }", ""},
		{"chain my-include { }", ""},
		{"accept\x00", "nft-zero-byte"},
	} {
		var codes []string
		for _, d := range unfit(diag.NewSource("x.nft", []byte(c.text))) {
			codes = append(codes, d.Code)
		}
		if got := strings.Join(codes, " "); got != c.want {
			t.Errorf("unfit(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func FuzzUnfit(f *testing.F) {
	f.Add("include \"a\"\n# x\n\"", "/dev/stdin:1:2-3: Error: x\n")
	f.Fuzz(func(t *testing.T, text, said string) {
		src := diag.NewSource("x.nft", []byte(text))
		for _, list := range []diag.List{unfit(src), parseMessages(src, said, true)} {
			for _, d := range list {
				_ = d.Subject.Text() // panics on a range outside of the source
			}
		}
	})
}
