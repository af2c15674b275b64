package iptables

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"nftmigrate/diag"
)

// ruleCases are lines of a table with user-defined chains A and B, and what
// they print as. An empty output means that the line is refused; the confirm
// test holds all of this against iptables-legacy-restore, but for those with a
// reason why they differ.
var ruleCases = []struct {
	family Family
	in     string
	want   string // lines without chain declarations, joined by "\n"
	// differs says why iptables-legacy 1.8.9 does otherwise.
	differs string
}{
	{in: "-A INPUT", want: "-A INPUT"},
	{in: " -A  INPUT\t-j\tDROP ", want: "-A INPUT -j DROP"},
	{in: "--append INPUT --jump DROP", want: "-A INPUT -j DROP"},
	{in: "--append=INPUT --goto=A", want: "-A INPUT -g A"},
	{in: "-AINPUT -ptcp -mtcp -gA", want: "-A INPUT -p tcp -m tcp -g A", differs: "the whole word is taken as the protocol"},
	{in: "-AINPUT -jDROP", want: "-A INPUT -j DROP", differs: "the whole word is taken as the target"},
	{in: "-A INPUT -p tcp -mtcp -gA", want: "-A INPUT -p tcp -m tcp -g A"},
	{in: `"-A" "INPUT" -j "DROP"`, want: "-A INPUT -j DROP"},
	{in: "-A INPUT -fj DROP", want: "-A INPUT -f -j DROP"},
	{in: "-A INPUT ! -f", want: "-A INPUT ! -f"},
	{in: "-A INPUT --frag", want: "-A INPUT -f"},
	{in: "-A INPUT --", want: "-A INPUT"},
	{in: "-A INPUT --modprobe=x", want: "-A INPUT"},
	{in: "-4 -A INPUT", want: "-A INPUT"},
	{in: "-6 -A foo --junk", want: "ignored"},
	{family: IPv6, in: "-4 -A foo --junk", want: "ignored"},
	{in: "-A INPUT -s 10", want: "-A INPUT -s 10.0.0.0/32"},
	{in: "-A INPUT -s 10/8", want: "-A INPUT -s 10.0.0.0/8"},
	{in: "-A INPUT -s 0xa.1.2.010", want: "-A INPUT -s 10.1.2.8/32"},
	{in: "-A INPUT -s 1.2.3.4/255.255.0.255", want: "-A INPUT -s 1.2.0.4/255.255.0.255"},
	{in: "-A INPUT -s 1.2.3.4/0x18", want: "-A INPUT -s 1.2.3.0/24"},
	{in: "-A INPUT -s 1.2.259", want: "-A INPUT -s 1.2.1.3/32"},
	{in: "-A INPUT -s 256/24", want: "-A INPUT -s 0.0.1.0/24"},
	{in: "-A INPUT -s 4294967295", want: "-A INPUT -s 255.255.255.255/32"},
	{in: "-A INPUT -s 4294967296"},
	{in: "-A INPUT -s 1.2.256.1"},
	{in: "-A INPUT -m iprange --src-range 256-257"},
	{in: "-A INPUT -s 1.2.3.4/"},
	{in: "-A INPUT -s 1.2.3.4/33"},
	{in: "-A INPUT -s 1.2.3.4/255.255"},
	{in: "-A INPUT -s 1.2.3.256"},
	{in: "-A INPUT -s 1.2.3.4.5"},
	{in: "-A INPUT -s foo/0", want: "-A INPUT"},
	{in: "-A INPUT ! -s 0/0", want: "-A INPUT ! -s 0.0.0.0/0"},
	{in: "-A INPUT -s 1.2.3.4,5.6.7.8 -d 9.9.9.9,8.8.8.8", want: "-A INPUT -s 1.2.3.4/32 -d 9.9.9.9/32\n-A INPUT -s 1.2.3.4/32 -d 8.8.8.8/32\n-A INPUT -s 5.6.7.8/32 -d 9.9.9.9/32\n-A INPUT -s 5.6.7.8/32 -d 8.8.8.8/32"},
	{in: `-A INPUT -s "1.1.1.1, 2.2.2.2"`, want: "-A INPUT -s 1.1.1.1/32\n-A INPUT -s 2.2.2.2/32"},
	{in: "-I INPUT -s 1.1.1.1,2.2.2.2", want: "-A INPUT -s 2.2.2.2/32\n-A INPUT -s 1.1.1.1/32"},
	{in: "-A INPUT ! -s 1.1.1.1,2.2.2.2"},
	{in: "-A INPUT -s 1.2.3.4,"},
	{in: "-A INPUT -s ! 1.2.3.4", want: "-A INPUT ! -s 1.2.3.4/32", differs: "the old place of the exclamation mark is refused"},
	{in: "-A INPUT -s1.2.3.4", want: "-A INPUT -s 1.2.3.4/32", differs: "the whole word is taken as the address"},
	{in: "-A INPUT -itest", differs: "the whole word is taken as the name"},
	{in: "-A INPUT -s 1.1.1.1 -s 2.2.2.2"},
	{in: "-A INPUT --sr 1.2.3.4 --dst 1.1.1.1", want: "-A INPUT -s 1.2.3.4/32 -d 1.1.1.1/32"},
	{in: "-A INPUT --s 1.2.3.4"},
	{in: "-A INPUT -i +", want: "-A INPUT"},
	{in: "-A INPUT ! -i +", want: "-A INPUT"},
	{in: "-A INPUT -i eth+", want: "-A INPUT -i eth+"},
	{in: "-A INPUT -i et+h", want: "-A INPUT -i et+h"},
	{in: "-A INPUT -i a/b", want: "-A INPUT -i a/b"},
	{in: "-A INPUT -i 123456789012345", want: "-A INPUT -i 123456789012345"},
	{in: "-A INPUT -i 1234567890123456"},
	{in: `-A INPUT -i ""`},
	{in: "-A INPUT -o eth0"},
	{in: "-A OUTPUT -i eth0"},
	{in: "-A FORWARD -o b ! -i a", want: "-A FORWARD ! -i a -o b"},
	{in: "-A A -i a -o b\n-A INPUT -j A", want: "-A INPUT -j A\n-A A -i a -o b"},
	{in: "-A INPUT -p TCP", want: "-A INPUT -p tcp"},
	{in: "-A INPUT -p 0x11", want: "-A INPUT -p udp"},
	{in: "-A INPUT -p 89", want: "-A INPUT -p ospf"},
	{in: "-A INPUT -p 61", want: "-A INPUT -p 61"},
	{in: "-A INPUT -p icmpv6", want: "-A INPUT -p ipv6-icmp"},
	{in: "-A INPUT -p mh", want: "-A INPUT -p mobility-header"},
	{in: "-A INPUT -p all", want: "-A INPUT"},
	{in: "-A INPUT ! -p all"},
	{in: "-A INPUT -p 256"},
	{in: "-A INPUT -p foo"},
	{in: "-A INPUT -p tcp -p udp"},
	{in: "-A INPUT -p tcp --dport 22", want: "-A INPUT -p tcp -m tcp --dport 22"},
	{in: "-A INPUT -p tcp --dport=ssh", want: "-A INPUT -p tcp -m tcp --dport 22"},
	{in: "-A INPUT -p tcp --dpor http:https", want: "-A INPUT -p tcp -m tcp --dport 80:443"},
	{in: "-A INPUT -p tcp ! --dport 5:", want: "-A INPUT -p tcp -m tcp ! --dport 5:65535"},
	{in: "-A INPUT -p tcp --dport :", want: "-A INPUT -p tcp -m tcp"},
	{in: "-A INPUT -p tcp ! --dport 0:65535", want: "-A INPUT -p tcp -m tcp"},
	{in: "-A INPUT -p tcp --dport 2:1"},
	{in: "-A INPUT -p tcp --dport 65536"},
	{in: "-A INPUT -p tcp --dport SSH"},
	{in: "-A INPUT -p tcp --dport"},
	{in: "-A INPUT -p tcp -dport 22"},
	{in: "-A INPUT --dport 22 -p tcp"},
	{in: "-A INPUT -p tcp --foo 5"},
	{in: "-A INPUT -p tcp --syn", want: "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"},
	{in: "-A INPUT -p tcp ! --syn", want: "-A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"},
	{in: "-A INPUT -p tcp --syn=x"},
	{in: "-A INPUT -p tcp --tcp-flags=SYN, syn", want: "-A INPUT -p tcp -m tcp --tcp-flags SYN SYN"},
	{in: "-A INPUT -p tcp --tcp-flags ALL NONE", want: "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE"},
	{in: "-A INPUT -p tcp --tcp-flags NONE NONE", want: "-A INPUT -p tcp -m tcp"},
	{in: "-A INPUT -p tcp ! --tcp-flags NONE NONE", want: "-A INPUT -p tcp -m tcp ! --tcp-flags NONE NONE"},
	{in: "-A INPUT -p tcp --tcp-flags SYN -j DROP"},
	{in: "-A INPUT -p tcp -m tcp", want: "-A INPUT -p tcp -m tcp"},
	{in: "-A INPUT -p tcp -m comment --comment x --dport 1", want: "-A INPUT -p tcp -m comment --comment x -m tcp --dport 1"},
	{in: "-A INPUT -p tcp --dport 22 -m tcp --sport 5", want: "-A INPUT -p tcp -m tcp --dport 22 -m tcp --sport 5"},
	{in: "-A INPUT -p tcp -m tcp --dport 22 --sport 5", want: "-A INPUT -p tcp -m tcp --sport 5 --dport 22"},
	{in: "-A INPUT -p tcp -m multiport --dport 22", want: "-A INPUT -p tcp -m multiport --dports 22"},
	{in: "-A INPUT -p tcp -m multiport --dports 1,2:3,www", want: "-A INPUT -p tcp -m multiport --dports 1,2:3,80"},
	{in: "-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14:15", want: "-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14:15"},
	{in: "-A INPUT -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16"},
	{in: "-A INPUT -p tcp -m multiport --dports 3:3"},
	{in: "-A INPUT -p tcp -m multiport --dports 1,,2"},
	{in: "-A INPUT ! -p tcp --dport 22"},
	{in: "-A INPUT -m tcp --dport 22"},
	{in: "-A INPUT ! -m tcp"},
	{in: "-A INPUT -m foo"},
	{in: "-A INPUT -m mark --mark 0x10/0xf", want: "-A INPUT -m mark --mark 0x10/0xf"},
	{in: "-A INPUT -m mark ! --mark 5/0xffffffff", want: "-A INPUT -m mark ! --mark 0x5"},
	{in: "-A INPUT -m mark --mark 1/"},
	{in: "-A INPUT -m mark"},
	{in: "-A INPUT -m length --length :", want: "-A INPUT -m length --length 0:65535"},
	{in: "-A INPUT -m length --length 5:3", want: "-A INPUT -m length --length 5:3"},
	{in: `-A INPUT -m length --length ""`, want: "-A INPUT -m length --length 0"},
	{in: `-A INPUT -m length --length " +070"`, want: "-A INPUT -m length --length 56"},
	{in: "-A INPUT -m length --length 08"},
	{in: "-A INPUT -m length --length 65536"},
	{in: "-A INPUT -m length --length 1:2:3"},
	{in: "-A INPUT -m length --length 1 --length 2"},
	{in: "-A INPUT -m mac --mac-source 0:1:2:3:4:5A", want: "-A INPUT -m mac --mac-source 00:01:02:03:04:5a"},
	{in: "-A INPUT -m mac --mac-source 001122334455"},
	{in: "-A INPUT -m iprange --src-range 10-11", want: "-A INPUT -m iprange --src-range 10.0.0.0-11.0.0.0"},
	{in: "-A INPUT -m iprange --src-range 1.2.3.4", want: "-A INPUT -m iprange --src-range 1.2.3.4-1.2.3.4"},
	{in: "-A INPUT -m iprange --src-range 1.2.3.4-"},
	{in: `-A INPUT -m comment --comment "a \"b\" \\"`, want: `-A INPUT -m comment --comment "a \"b\" \\"`},
	{in: `-A INPUT -m comment --comment "it's"`, want: `-A INPUT -m comment --comment "it\'s"`},
	{in: `-A INPUT -m comment --comment it\'s`, want: `-A INPUT -m comment --comment "it\\\'s"`},
	{in: `-A INPUT -m comment --comment a"b c" -j DROP`, want: `-A INPUT -m comment --comment "ab c" -j DROP`},
	{in: `-A INPUT -m comment --comment a"b c"d`},
	{in: `-A INPUT -m comment --comment ""`, want: `-A INPUT -m comment --comment ""`},
	{in: `-A INPUT -m comment --comment "a\nb"`, want: `-A INPUT -m comment --comment anb`},
	{in: `-A INPUT -m comment --comment "-j"`, want: `-A INPUT -m comment --comment -j`},
	{in: `-A INPUT -m comment --comment a.b`, want: `-A INPUT -m comment --comment "a.b"`},
	{in: `-A INPUT -m comment --comment grün`, want: `-A INPUT -m comment --comment "grün"`},
	{in: `-A INPUT -m comment --comment 'a b'`},
	{in: `-A INPUT -m comment --comment "abc`, differs: "the line end becomes part of the argument"},
	{in: "-A INPUT -m comment --comment a -m comment --comment b", want: "-A INPUT -m comment --comment a -m comment --comment b"},
	{in: "-A INPUT -m comment --comment a --comment b"},
	{in: "-A INPUT -m comment ! --comment a"},
	{in: "-A INPUT -j LOG --log-prefix \"a b: \" --log-level 5 --log-uid", want: "-A INPUT -j LOG --log-prefix \"a b: \" --log-level 5 --log-uid"},
	{in: "-A INPUT --log-prefix a -j LOG"},
	{in: "-A INPUT -j MARK"},
	{in: "-A INPUT -j A", want: "-A INPUT -j A"},
	{in: "-A INPUT -g A", want: "-A INPUT -g A"},
	{in: "-A INPUT -g ACCEPT"},
	{in: "-A INPUT -g OUTPUT"},
	{in: "-A INPUT -j OUTPUT"},
	{in: "-A INPUT -j C\n:C -"},
	{in: "-A INPUT -j accept"},
	{in: `-A INPUT -j ""`},
	{in: `-A INPUT -j "A B"`},
	{in: "-A INPUT -j DROP -j ACCEPT"},
	{in: "-A INPUT -j DROP -g A"},
	{in: "-A INPUT ! -j DROP"},
	{in: "-A INPUT -j DROP extra"},
	{in: "-A A -j B\n-A B -j A", want: "-A A -j B\n-A B -j A"},
	{in: "-A A -j B\n-A B -j A\n-A INPUT -j A"},
	{in: "-A A -g A\n-A INPUT -j A"},
	{in: ":LOG -\n-A INPUT -j LOG", want: "-A INPUT -j LOG"},
	{in: ":tcp -\n-A INPUT -j tcp", want: "-A INPUT -j tcp"},
	{in: "-A foo"},
	{in: "-j DROP"},
	{in: "A INPUT"},
	{in: "-A"},
	{in: "-A INPUT -A FORWARD"},
	{in: "-A INPUT !"},
	{in: "! -A INPUT"},
	{in: "-A INPUT ! ! -s 1.2.3.4"},
	{in: "-A INPUT -"},
	{in: "-A INPUT -- -j DROP"},
	{in: `-A INPUT \`},
	{in: "-A INPUT # foo"},
	{in: "-A INPUT -t nat"},
	{in: "-n -A INPUT"},
	{in: "-w -A INPUT"},
	{in: "-A INPUT --line-numbers"},
	{in: "iptables -A INPUT"},
	{in: "[1:2]-A INPUT", want: "-A INPUT"},
	{in: "[1:2 -A INPUT"},
	{in: "[1] -A INPUT"},
	{in: "-A INPUT -c 5"},
	{in: "-A INPUT -c 5 6", want: "-A INPUT"},
	{in: "-A INPUT -s 1\n-I INPUT -s 2\n-I INPUT 2 -s 3\n-I INPUT 4 -s 4", want: "-A INPUT -s 2.0.0.0/32\n-A INPUT -s 3.0.0.0/32\n-A INPUT -s 1.0.0.0/32\n-A INPUT -s 4.0.0.0/32"},
	{in: "-I INPUT -s 1\n-A INPUT -s 2\n-I INPUT -s 3,4\n-I INPUT 2 -s 5\n-I INPUT 1 -s 6\n-D INPUT 3\n-I INPUT -s 7\n-R INPUT 2 -s 8\n-I A\n-F A\n-I B\n-D B",
		want: "-A INPUT -s 7.0.0.0/32\n-A INPUT -s 8.0.0.0/32\n-A INPUT -s 4.0.0.0/32\n-A INPUT -s 3.0.0.0/32\n-A INPUT -s 1.0.0.0/32\n-A INPUT -s 2.0.0.0/32"},
	{in: "-I INPUT 2"},
	{in: "-I INPUT 0"},
	{in: "-I INPUT x"},
	{in: "-I INPUT 1 2"},
	{in: "-A INPUT -s 1\n-A INPUT -s 2\n-D INPUT 1", want: "-A INPUT -s 2.0.0.0/32"},
	{in: "-A INPUT -s 1\n-A INPUT -s 2\n-D INPUT -s 2,1", want: "ignored"},
	{in: "-A INPUT -s 1\n-D INPUT -s 2"},
	{in: "-A INPUT -s 1\n-R INPUT 1 -s 2", want: "-A INPUT -s 2.0.0.0/32"},
	{in: "-R INPUT 1"},
	{in: "-A INPUT\n-F INPUT\n-A OUTPUT\n-F\n-A FORWARD", want: "-A FORWARD"},
	{in: "-F foo"},
	{in: "-N foo\n-A foo", want: "-A foo"},
	{in: "-N A"},
	{in: "-N ACCEPT"},
	{in: "-N LOG"},
	{in: "-N -foo"},
	{in: "-X A\n:A -", want: "ignored"},
	{in: "-X", want: "ignored"},
	{in: "-A A\n-X A"},
	{in: "-A INPUT -j A\n-X A"},
	{in: "-X INPUT"},
	{in: "-A INPUT -j A\n-E A Z", want: "-A INPUT -j Z"},
	{in: "-E A B"},
	{in: "-P A DROP"},
	{in: "-P INPUT RETURN"},
	{in: "-P INPUT"},
	{in: "-P INPUT DROP -s 1"},
	{in: "-Z", want: "ignored"},
	{in: ":ACCEPT -"},
	{in: ":-A -\n-A -A", want: "-A -A"},
	{in: ":A - [0:0]"},
	{in: ":X"},
	{in: ":X ACCEPT"},
	{in: ":INPUT drop"},
	{in: ":INPUT -", want: "ignored"},
	{in: ":12345678901234567890123456789 -"},
	{in: ":1234567890123456789012345678 -", want: "ignored"},

	{family: IPv6, in: "-A INPUT -s ::1 -d fe80::/10", want: "-A INPUT -s ::1/128 -d fe80::/10"},
	{family: IPv6, in: "-A INPUT -s 0/0", want: "-A INPUT"},
	{family: IPv6, in: "-A INPUT ! -s ::/0", want: "-A INPUT ! -s ::/0"},
	{family: IPv6, in: "-A INPUT -s fe80::1/ffff::ff", want: "-A INPUT -s fe80::1/ffff::ff"},
	{family: IPv6, in: "-A INPUT -s 1::2/ffff:ffff::", want: "-A INPUT -s 1::/32"},
	{family: IPv6, in: "-A INPUT -s ::ffff:1.2.3.4", want: "-A INPUT -s ::ffff:1.2.3.4/128"},
	{family: IPv6, in: "-A INPUT -s ::1.2.3.4", want: "-A INPUT -s ::1.2.3.4/128"},
	{family: IPv6, in: "-A INPUT -s ::1.2.0.0", want: "-A INPUT -s ::1.2.0.0/128"},
	{family: IPv6, in: "-A INPUT -s 1:0:2:3:4:5:6:7", want: "-A INPUT -s 1:0:2:3:4:5:6:7/128"},
	{family: IPv6, in: "-A INPUT -s 1::0:0:1:0:0:0", want: "-A INPUT -s 1::1:0:0:0/128"},
	{family: IPv6, in: "-A INPUT -s 1.2.3.4"},
	{family: IPv6, in: "-A INPUT -p ah", want: "-A INPUT -p ah"},
	{family: IPv6, in: "-A INPUT -f"},
	{in: "-A INPUT -s ::1"},
	{family: IPv6, in: "-A INPUT -m iprange --src-range ::1-::5", want: "-A INPUT -m iprange --src-range ::1-::5"},
}

func tableText(lines string) string {
	return "*filter\n:A - [0:0]\n:B - [0:0]\n" + lines + "\nCOMMIT\n"
}

func parseTest(t testing.TB, f Family, text string) (*Ruleset, diag.List) {
	t.Helper()
	return Parse(diag.NewSource("test", []byte(text)), f, testRegistry{})
}

func printTest(t testing.TB, r *Ruleset, opts PrintOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := Print(&b, r, opts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// ruleLines returns the rules of a printed ruleset.
func ruleLines(text string) string {
	var rules []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "-A") || strings.HasPrefix(line, "[") {
			rules = append(rules, strings.TrimSuffix(line, "\n"))
		}
	}
	return strings.Join(rules, "\n")
}

func TestParseRules(t *testing.T) {
	for _, c := range ruleCases {
		f := c.family
		if f == 0 {
			f = IPv4
		}
		r, list := parseTest(t, f, tableText(c.in))
		if got, want := list.HasErrors(), c.want == ""; got != want {
			t.Errorf("Parse(%q): errors = %v, want %v: %v", c.in, got, want, list)
			continue
		}
		if c.want == "" {
			continue
		}
		if got := ruleLines(printTest(t, r, PrintOptions{})); got != c.want && !(c.want == "ignored" && got == "") {
			t.Errorf("Parse(%q) prints\n%s\nwant\n%s", c.in, got, c.want)
		}
	}
}

// TestReprint parses what it prints.
func TestReprint(t *testing.T) {
	for _, c := range ruleCases {
		r, list := parseTest(t, c.family, tableText(c.in))
		if list.HasErrors() {
			continue
		}
		first := printTest(t, r, PrintOptions{Counters: true})
		again, list := parseTest(t, r.Family, first)
		if list.HasErrors() {
			t.Errorf("Parse(Print(Parse(%q))) has errors: %v\n%s", c.in, list, first)
		}
		if second := printTest(t, again, PrintOptions{Counters: true}); second != first {
			t.Errorf("Print(Parse(%q)) is\n%s\nwant\n%s", first, second, first)
		}
	}
}

func TestCounters(t *testing.T) {
	text := "*filter\n:INPUT DROP [1:2]\n:FORWARD ACCEPT\n:X - [5:6]\n[7:8] -A INPUT\n-A INPUT -c 9,10\n[18446744073709551615:99999999999999999999] -A X -s 1.1.1.1,2.2.2.2\nCOMMIT\n"
	r, list := parseTest(t, 0, text)
	if len(list) != 0 {
		t.Fatal(list)
	}
	const max = "18446744073709551615"
	want := "*filter\n:INPUT DROP [1:2]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:X - [0:0]\n[7:8] -A INPUT\n[9:10] -A INPUT\n" +
		"[" + max + ":" + max + "] -A X -s 1.1.1.1/32\n[" + max + ":" + max + "] -A X -s 2.2.2.2/32\nCOMMIT\n"
	if got := printTest(t, r, PrintOptions{Counters: true}); got != want {
		t.Errorf("prints\n%s\nwant\n%s", got, want)
	}
}

// TestTables holds what a repeated table, the order of chains and tables that
// are not named do.
func TestTables(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"repeated table keeps policies only",
			"*filter\n:X - [0:0]\n:INPUT DROP [3:4]\n-A INPUT -j X\nCOMMIT\n*filter\n-A OUTPUT\nCOMMIT\n",
			"*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT\nCOMMIT\n"},
		{"chains are sorted by byte",
			"*nat\n:Z -\n:b -\n:a -\n:A-1 -\n:A1 -\n:_ -\n:OUTPUT ACCEPT\nCOMMIT\n",
			"*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:A-1 - [0:0]\n:A1 - [0:0]\n:Z - [0:0]\n:_ - [0:0]\n:a - [0:0]\n:b - [0:0]\nCOMMIT\n"},
		{"line ends, comments and the end of the text",
			"# a\r\n\r\n*raw # b\r\n:PREROUTING ACCEPT [0:0]\r\n  # c\r\n-A OUTPUT -j DROP\r\n   \r\nCOMMIT",
			"*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j DROP\nCOMMIT\n"},
		{"several tables",
			"*security\nCOMMIT\n*raw\nCOMMIT\n",
			"*security\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"},
		{"nothing", "", ""},
	}
	for _, c := range cases {
		r, list := parseTest(t, 0, c.in)
		if len(list) != 0 {
			t.Errorf("%s: %v", c.name, list)
		}
		if got := printTest(t, r, PrintOptions{}); got != c.want {
			t.Errorf("%s: prints\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestDetectFamily(t *testing.T) {
	cases := []struct {
		in   string
		want Family
	}{
		{"", IPv4},
		{"*filter\nCOMMIT\n", IPv4},
		{"# Generated by ip6tables-save v1.8.9\n*filter\nCOMMIT\n", IPv6},
		{"# Generated by iptables-save v1.8.9\n*filter\n-A INPUT -s ::1\nCOMMIT\n", IPv4},
		{"*filter\n-A INPUT ! -s fe80::/10 -j DROP\nCOMMIT\n", IPv6},
		{"*filter\n-A INPUT -s 0/0\n-A INPUT -d ::1\nCOMMIT\n", IPv6},
		{"*filter\n-A INPUT -p ipv6-icmp\nCOMMIT\n", IPv6},
		{"*filter\n-A INPUT -p icmp\nCOMMIT\n", IPv4},
		{"*filter\n-A INPUT -j REJECT --reject-with icmp6-port-unreachable\nCOMMIT\n", IPv6},
		{"*filter\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n-A INPUT -s ::1\nCOMMIT\n", IPv6},
		{"ip6tables -A INPUT\n", IPv6},
		{"*filter\n-A INPUT -m comment --comment \"::1\"\nCOMMIT\n", IPv4},
	}
	for _, c := range cases {
		if r, _ := parseTest(t, 0, c.in); r.Family != c.want {
			t.Errorf("family of %q is %v, want %v", c.in, r.Family, c.want)
		}
	}
}

func TestPositions(t *testing.T) {
	text := "*filter\n[1:2] -A INPUT ! -s 1.1.1.1,2.2.2.2 -p tcp --dport=22 -m mark --mark 1 -j LOG --log-prefix \"a b\"\n-A INPUT -s 1.1.1.1,2.2.2.2 -p tcp ! --dport=22 -m mark --mark 1 -j LOG --log-prefix \"a b\" -i lo\nCOMMIT\n"
	r, list := parseTest(t, 0, text)
	if len(list) != 1 || list[0].Code != "negated-list" || list[0].Subject.Text() != "1.1.1.1,2.2.2.2" {
		t.Errorf("diagnostics are %v", list)
	}
	rules := r.Table("filter").Chain("INPUT").Rules
	rule := rules[len(rules)-1]
	tcp := rule.Matches[0].Match.(*tcpTest)
	for _, c := range []struct {
		what, got, want string
	}{
		{"line", rule.Range.Text(), "-A INPUT -s 1.1.1.1,2.2.2.2 -p tcp ! --dport=22 -m mark --mark 1 -j LOG --log-prefix \"a b\" -i lo"},
		{"source", rule.Source.Range.Text(), "2.2.2.2"},
		{"protocol", rule.Protocol.Range.Text(), "tcp"},
		{"interface", rule.In.Range.Text(), "lo"},
		{"implied match", rule.Matches[0].Range.Text(), "--dport=22"},
		{"explicit match", rule.Matches[1].Range.Text(), "mark"},
		{"option", tcp.Dport.Range.Text(), "22"},
		{"target", rule.Action.Range.Text(), "LOG"},
		{"target option", rule.Action.Target.(*logTest).Prefix.Range.Text(), `"a b"`},
		{"explicit", fmt.Sprint(rule.Matches[0].Explicit, rule.Matches[1].Explicit), "false true"},
		{"negated", fmt.Sprint(tcp.Dport.Negated), "true"},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
}
