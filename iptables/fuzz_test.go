package iptables

import (
	"bytes"
	"testing"

	"nftmigrate/diag"
)

// FuzzParse makes sure that no text makes Parse fail other than by diagnostics,
// that all of those have places inside of the text, and that what is read
// prints as a text that reads as the same.
func FuzzParse(f *testing.F) {
	for _, c := range ruleCases {
		f.Add([]byte(tableText(c.in)))
	}
	for _, c := range diagnosticCases {
		f.Add([]byte(tableText(c.in)))
	}
	f.Add([]byte("*filter\r\n:INPUT DROP [1:2]\r\nCOMMIT\r\n*filter\n*nat\n:X - [0:0]\n-A X"))
	f.Add([]byte("# by ip6tables-save\n*raw\n-A OUTPUT -s ::1,::2 -j DROP\nCOMMIT"))
	f.Add([]byte("\x00\xff*filter\n\x80-A\n:\n[\n[:]\n[:] \n!\n-\n--\n\"\n\"\\\nCOMMIT"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, list := Parse(diag.NewSource("fuzz", text), 0, testRegistry{})
		for _, d := range list {
			if d.Code == "too-many-diagnostics" {
				continue
			}
			if d.Subject.Start < 0 || d.Subject.Start > d.Subject.End || int(d.Subject.End) > len(text) || d.Code == "" || d.Summary == "" {
				t.Fatalf("diagnostic is %+v", d)
			}
		}
		if err := diag.Write(new(bytes.Buffer), list); err != nil {
			t.Fatal(err)
		}
		first := printTest(t, r, PrintOptions{Counters: true})
		if list.HasErrors() {
			return
		}
		again, list := Parse(diag.NewSource("printed", []byte(first)), r.Family, testRegistry{})
		if list.HasErrors() {
			t.Fatalf("what is printed has errors: %v\n%s", list, first)
		}
		if second := printTest(t, again, PrintOptions{Counters: true}); second != first {
			t.Fatalf("printed first\n%s\nthen\n%s", first, second)
		}
	})
}
