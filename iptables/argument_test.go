package iptables

import (
	"math"
	"strings"
	"testing"

	"nftmigrate/diag"
)

// TestArguments reads arguments and prints them; an empty output means that the
// argument is refused.
func TestArguments(t *testing.T) {
	cases := []struct {
		name  string
		fresh func() Value
		cases map[string]string
	}{
		{"U8", func() Value { return new(U8) }, map[string]string{"255": "255", "0xff": "255", "0377": "255", "256": "", "-1": "", "": "", "x": "", "0x": "", "1 ": ""}},
		{"U16", func() Value { return new(U16) }, map[string]string{"65535": "65535", "65536": "", " +7": "7"}},
		{"U32", func() Value { return new(U32) }, map[string]string{"4294967295": "4294967295", "4294967296": ""}},
		{"U64", func() Value { return new(U64) }, map[string]string{"18446744073709551615": "18446744073709551615", "18446744073709551616": ""}},
		{"U8Span", func() Value { return new(U8Span) }, map[string]string{"1:2": "1:2", "2:1": "2:1", "3:3": "3", ":": "0:255", ":5": "0:5", "5:": "5:255", "": "0", "1:2:3": "", "1:256": "", "1-2": ""}},
		{"U16Span", func() Value { return new(U16Span) }, map[string]string{":": "0:65535"}},
		{"U32Span", func() Value { return new(U32Span) }, map[string]string{":": "0:4294967295"}},
		{"U64Span", func() Value { return new(U64Span) }, map[string]string{":": "0:18446744073709551615"}},
		{"MarkMask", func() Value { return new(MarkMask) }, map[string]string{"1": "0x1", "010/0x0f": "0x8/0xf", "1/4294967295": "0x1", "0xff/1": "0xff/0x1", "1/": "", "/1": "", "1/2/3": ""}},
		{"Address", func() Value { return new(Address) }, map[string]string{"10.1.2.3/8": "10.0.0.0/8", "::1": "::1/128", "1::/::ff": "::/::ff", "1.2.3.4/ffff::": "", "host": "", "": "", "1.2.3.4/": "", "fe80::1%lo": "", "1.2.3.4/1/24": ""}},
		{"AddressRange", func() Value { return new(AddressRange) }, map[string]string{"1-2": "1.0.0.0-2.0.0.0", "::1": "::1-::1", "1.1.1.1-::1": "", "-": "", "2-1": "2.0.0.0-1.0.0.0"}},
		{"HostAddress", func() Value { return new(HostAddress) }, map[string]string{"10/8": "0.0.0.10/8", "10.1": "10.0.0.1", "10.1.2.3/16": "10.1.2.3/16", "::1/64": "::1/64", "1.2.3.4/33": "", "host": "", "+1": "", "1.": ""}},
		{"MAC", func() Value { return new(MAC) }, map[string]string{"0:1:2:A:b:ff": "00:01:02:0a:0b:ff", "0:1:2:3:4": "", "000:1:2:3:4:5": "", "g:1:2:3:4:5": ""}},
		{"Interface", func() Value { return new(Interface) }, map[string]string{"eth0": "eth0", "+": "+", "": "", strings.Repeat("x", 16): ""}},
		{"Protocol", func() Value { return new(Protocol) }, map[string]string{"tcp": "tcp", "ICMPv6": "ipv6-icmp", "47": "gre", "50": "esp", "51": "ah", "33": "dccp", "132": "sctp", "136": "udplite", "2": "igmp", "253": "253", "256": "", "x": ""}},
		{"PortSpan", func() Value { return new(PortSpan) }, map[string]string{"ssh": "22", "1:ssh": "1:22", ":": "0:65535", "": "", "2:1": "", "65536": ""}},
		{"PortList", func() Value { return new(PortList) }, map[string]string{"ssh,1:2": "22,1:2", "": "", "1:": "", "1,": ""}},
		{"TCPFlags", func() Value { return new(TCPFlags) }, map[string]string{"all none": "FIN,SYN,RST,PSH,ACK,URG NONE", "SYN": "", "SYN X": "", "X SYN": ""}},
		{"Text", func() Value { return new(Text) }, map[string]string{"ab_-9": "ab_-9", "": `""`, "a b": `"a b"`, `a"'\`: `"a\"\'\\"`}},
		{"Word", func() Value { return new(Word) }, map[string]string{"a b": "a b"}},
	}
	for _, c := range cases {
		for in, want := range c.cases {
			v := c.fresh()
			err := v.Set(in)
			if (err == nil) != (want != "") {
				t.Errorf("%s.Set(%q) = %v, want %q", c.name, in, err, want)
				continue
			}
			if err != nil {
				if err.Error() == "" {
					t.Errorf("%s.Set(%q): the error says nothing", c.name, in)
				}
				continue
			}
			if got := v.String(); got != want {
				t.Errorf("%s.Set(%q) prints %q, want %q", c.name, in, got, want)
			}
		}
	}
}

func TestParseNumberErrors(t *testing.T) {
	for in, want := range map[string]string{
		"256":                       "out of range 0-255",
		"99999999999999999999999":   "out of range 0-255",
		"x":                         "not a number",
		"":                          "not a number",
		"1x":                        "not a number",
		"0x99999999999999999999999": "out of range 0-255",
	} {
		if _, err := ParseNumber(in, math.MaxUint8); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseNumber(%q) = %v, want %q", in, err, want)
		}
	}
}

// TestOptions holds what a grammar of an extension does, apart from the parser.
func TestOptions(t *testing.T) {
	var m tcpTest
	o := m.Options()
	if err := o.Set("source-port", []string{"22"}, true, parseRange()); err != nil || !m.Sport.Present || !m.Sport.Negated || m.Sport.Value.Low != 22 {
		t.Errorf("alias: %v, %+v", err, m.Sport)
	}
	if err := o.Set("sport", []string{"23"}, false, parseRange()); err == nil {
		t.Error("an option is set twice")
	}
	if err := o.Set("syn", nil, false, parseRange()); err != nil || m.Flags.Value != (TCPFlags{Mask: 0x17, Comp: 0x02}) {
		t.Errorf("rewrite: %v, %+v", err, m.Flags)
	}
	for _, bad := range [][]string{{"nosuch"}, {"dport"}, {"dport", "1", "2"}, {"dport", "x"}} {
		if err := o.Set(bad[0], bad[1:], false, parseRange()); err == nil {
			t.Errorf("Set(%q) has no error", bad)
		}
	}
	if got := o.Print(); len(got) != 2 || got[0].Name != "sport" || !got[0].Negated || got[1].Name != "tcp-flags" || len(got[1].Args) != 2 {
		t.Errorf("Print() = %+v", got)
	}
	var l lengthTest
	if missing := l.Options().Missing(); len(missing) != 1 || missing[0] != "length" {
		t.Errorf("Missing() = %q", missing)
	}
	if err := l.Options().Set("length", []string{"5"}, false, parseRange()); err != nil || l.Options().Missing() != nil {
		t.Errorf("Missing() = %q after %v", l.Options().Missing(), err)
	}
	var c commentTest
	if err := c.Options().Set("comment", []string{"x"}, true, parseRange()); err == nil {
		t.Error("a comment is negated")
	}
}

// TestBare gives an option with and without its argument.
func TestBare(t *testing.T) {
	var rate Opt[U32]
	o := Options{Bind("rate", &rate, Bare)}
	if err := o.Set("rate", nil, false, parseRange()); err != nil || !rate.Present || rate.Value != 0 {
		t.Errorf("without an argument: %v, %+v", err, rate)
	}
	rate = Opt[U32]{}
	if err := o.Set("rate", []string{"7"}, false, parseRange()); err != nil || rate.Value != 7 {
		t.Errorf("with an argument: %v, %+v", err, rate)
	}
	rate = Opt[U32]{}
	if err := o.Set("rate", []string{"7", "8"}, false, parseRange()); err == nil {
		t.Errorf("two arguments are taken: %+v", rate)
	}
}

// parseRange returns some place in a source.
func parseRange() diag.Range { return diag.Range{Source: diag.NewSource("test", []byte("x")), End: 1} }
