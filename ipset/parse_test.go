package ipset

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"nftmigrate/diag"
)

// cases are texts in the form that "ipset save" prints, so that they print as
// they are. The kernel at hand lacks the types of those that are not confirmed.
var cases = []struct {
	name, text string
	lacking    bool // in the kernel at hand
}{
	{name: "hash:ip", text: "create a hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2d31a6cb\nadd a 1.2.3.4\nadd a 255.255.255.255\n"},
	{name: "hash:ip, IPv6", text: "create a hash:ip family inet6 hashsize 64 maxelem 10 netmask 64 bucketsize 4 initval 0x00000001\nadd a 2001:db8::\n"},
	{name: "extensions", text: "create a hash:ip family inet hashsize 64 maxelem 10 netmask 24 timeout 5000 counters comment skbinfo bucketsize 12 initval 0xd5837d20\n" +
		"add a 1.1.1.0 timeout 0 packets 1 bytes 2 comment \"x y\" skbmark 0x1/0x3 skbprio 1:2 skbqueue 3\n" +
		"add a 1.1.2.0 timeout 4000 packets 0 bytes 18446744073709551614 skbmark 0x5\nadd a 1.1.3.0 timeout 300 packets 0 bytes 0\n"},
	{name: "hash:net", text: "create b hash:net family inet hashsize 1024 maxelem 65536 comment bucketsize 12 initval 0x00000000\n" +
		"add b 10.0.0.0/8 comment \"all\"\nadd b 10.1.0.0/16 nomatch\nadd b 10.1.2.0/24\nadd b 10.1.2.3 nomatch comment \"one\"\nadd b 0.0.0.0/1\nadd b 128.0.0.0/1\n"},
	{name: "hash:net, IPv6", text: "create b hash:net family inet6 hashsize 1024 maxelem 65536 timeout 5000 counters comment skbinfo bucketsize 12 initval 0xf3654e7a\n" +
		"add b 2001:db8::/32 timeout 4000 nomatch packets 0 bytes 0 comment \"z\"\nadd b ::ffff:1.2.3.4 timeout 0 packets 7 bytes 8\nadd b 8000::/1 timeout 0 packets 0 bytes 0\n"},
	{name: "hash:ip,port", text: "create c hash:ip,port family inet hashsize 1024 maxelem 65536 timeout 0 bucketsize 12 initval 0xbb32df2b netmask 24\n" +
		"add c 1.2.3.0,tcp:80 timeout 0\nadd c 1.2.3.0,icmp:echo-request timeout 0\nadd c 1.2.3.0,icmp:3/16 timeout 900\nadd c 1.2.3.0,gre:0 timeout 0\nadd c 1.2.3.0,200:0 timeout 0\nadd c 1.2.3.0,udplite:5 timeout 0\nadd c 1.2.3.0,dccp:0 timeout 0\n"},
	{name: "hash:ip,port, IPv6", text: "create i hash:ip,port family inet6 hashsize 1024 maxelem 65536 bucketsize 12 initval 0x87019c2d\nadd i ::1,ipv6-icmp:neighbour-solicitation\nadd i ::1,ipv6-icmp:138/1\nadd i ::1,sctp:65535\n"},
	{name: "hash:ip,port,ip", text: "create h hash:ip,port,ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x3b986be2\nadd h 1.1.1.1,udp:53,2.2.2.2\n"},
	{name: "hash:ip,port,net", text: "create h hash:ip,port,net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x3b986be2\nadd h 1.1.1.1,sctp:5,10.0.0.0/8 nomatch\nadd h 1.1.1.1,vrrp:0,10.0.0.0/8\nadd h 1.1.1.1,tcp:53,10.0.0.1\n"},
	{name: "hash:net,port", text: "create n hash:net,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x72c8fbdf\nadd n 10.0.0.0/8,tcp:82\nadd n 10.1.0.0/16,icmp:8/3 nomatch\nadd n 10.1.0.0/16,esp:0\n"},
	{name: "hash:net,iface", text: "create n hash:net,iface family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x68a7fc4a\nadd n 10.0.0.0/8,eth0\nadd n 10.0.0.0/8,eth wildcard\nadd n 10.0.0.0/8,physdev:eth1 nomatch\nadd n 0.0.0.0/0,eth3\n"},
	{name: "bitmap:ip", text: "create e bitmap:ip range 10.0.0.0-10.0.0.255 netmask 28 timeout 5000 counters comment skbinfo\nadd e 10.0.0.0 timeout 4000 packets 1 bytes 2 comment \"q\" skbmark 0x5\nadd e 10.0.0.16 timeout 0 packets 0 bytes 0\n"},
	{name: "bitmap:port", text: "create f bitmap:port range 10-20\nadd f 12\nadd f 13\n"},
	{name: "bitmap:ip,mac", text: "create g bitmap:ip,mac range 10.0.0.0-10.0.255.255\nadd g 10.0.0.1\nadd g 10.0.0.2,00:01:02:0A:04:05\n"},
	{name: "list:set", text: "create b hash:net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0xbfa8780f\ncreate f bitmap:port range 10-20\n" +
		"create l list:set size 8 timeout 600 counters comment\nadd l f timeout 0 packets 1 bytes 2\nadd l b timeout 500 packets 0 bytes 0 comment \"x\"\n"},
	{name: "hash:mac", lacking: true, text: "create m hash:mac hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2d31a6cb\nadd m 00:01:02:0A:04:05\n"},
	{name: "hash:ip,mac", lacking: true, text: "create m hash:ip,mac family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2d31a6cb\nadd m 1.2.3.4,00:01:02:0A:04:05\n"},
	{name: "hash:ip,mark", lacking: true, text: "create m hash:ip,mark family inet markmask 0x0000ffff hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2d31a6cb\nadd m 1.2.3.4,0x00000007\n"},
	{name: "hash:net,net", lacking: true, text: "create m hash:net,net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2d31a6cb\nadd m 10.0.0.0/8,192.168.0.0/16\nadd m 10.1.0.0/16,0.0.0.0/0 nomatch\n"},
	{name: "hash:net,port,net", lacking: true, text: "create m hash:net,port,net family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x2d31a6cb\nadd m 10.0.0.0/8,tcp:7,192.168.0.0/16 nomatch\n"},
}

func parsed(t *testing.T, text string) *Sets {
	t.Helper()
	sets, list := Parse(diag.NewSource("test.ipset", []byte(text)))
	if len(list) > 0 {
		t.Fatalf("Parse says %v %s", list, list[0].Detail)
	}
	return sets
}

func printed(t *testing.T, s *Sets) string {
	t.Helper()
	var b strings.Builder
	if err := Print(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPrint(t *testing.T) {
	for _, c := range cases {
		if got := printed(t, parsed(t, c.text)); got != c.text {
			t.Errorf("%s: Print(Parse(text)) =\n%s\nwant\n%s", c.name, got, c.text)
		}
	}
}

// TestCommands carries out commands that save files do not have. confirm_test.go
// tries the same with the real tool.
var commandCases = []struct{ name, text, want string }{
	{"ranges", "create a hash:ip initval 1\nadd a 10.0.0.0/30\nadd a 10.0.1.1-10.0.1.3\ndel a 10.0.0.1-10.0.0.2\n",
		"add a 10.0.0.0\nadd a 10.0.0.3\nadd a 10.0.1.1\nadd a 10.0.1.2\nadd a 10.0.1.3\n"},
	{"networks", "create a hash:net initval 1\nadd a 10.1.2.3/8\nadd a 10.0.0.5-10.0.0.9\n",
		"add a 10.0.0.0/8\nadd a 10.0.0.5\nadd a 10.0.0.6/31\nadd a 10.0.0.8/31\n"},
	{"ports", "create a hash:ip,port initval 1\nadd a 10.0.0.1-10.0.0.2,80-81\nadd a 10.0.0.9,udp:domain\n",
		"add a 10.0.0.1,tcp:80\nadd a 10.0.0.1,tcp:81\nadd a 10.0.0.2,tcp:80\nadd a 10.0.0.2,tcp:81\nadd a 10.0.0.9,udp:53\n"},
	{"old names", "-N a iphash\n-A a 1.2.3.4\n-A a 1.2.3.5\n-D a 1.2.3.4\n", "add a 1.2.3.5\n"},
	{"exist", "create a hash:net comment initval 1\nadd a 10.0.0.0/8 comment x\nadd a 10.0.0.0/8 nomatch -exist\nadd -exist a 10.0.0.0/8 nomatch comment y\ndel a 11.0.0.0/8 -exist\ncreate a hash:net comment initval 1 -exist\n",
		"add a 10.0.0.0/8 nomatch comment \"y\"\n"},
	{"swap", "create a hash:ip initval 1\ncreate b hash:ip initval 1\nadd a 1.1.1.1\nadd b 2.2.2.2\ncreate l list:set\nadd l a\nswap a b\nrename b c\n",
		"add b 1.1.1.1\nadd a 2.2.2.2\nadd l a\n"},
	{"flush", "create a hash:ip initval 1\ncreate b hash:ip initval 1\nadd a 1.1.1.1\nadd b 2.2.2.2\nflush a\ndestroy b\nadd a 3.3.3.3\n", "add a 3.3.3.3\n"},
	{"list places", "create a hash:ip initval 1\ncreate b hash:ip initval 1\ncreate c hash:ip initval 1\ncreate l list:set\nadd l a\nadd l b before a\nadd l c after b\ndel l a\n", "add l b\nadd l c\n"},
	{"masks", "create a hash:ip bitmask 255.0.255.0 initval 1\nadd a 1.2.3.4\ncreate b bitmap:ip range 10.0.0.0/24 netmask 28\nadd b 10.0.0.17-10.0.0.47\n",
		"add a 1.0.3.0\nadd b 10.0.0.16\nadd b 10.0.0.32\n"},
}

func TestCommands(t *testing.T) {
	for _, c := range commandCases {
		got := printed(t, parsed(t, c.text))
		if c.name == "swap" { // the name of b was given to c afterwards
			c.want = strings.Replace(c.want, "add b", "add c", 1)
		}
		if adds := addLines(got); sortedLines(adds) != sortedLines(c.want) {
			t.Errorf("%s: the sets hold\n%s\nwant\n%s", c.name, adds, c.want)
		}
	}
}

func addLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "add ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

var wrong = []struct{ text, code, place string }{
	{"frobnicate a\n", "ipset-unknown-command", "f:1:1"},
	{"create a hash:iq\n", "ipset-unknown-type", "f:1:10"},
	{"create a\n", "ipset-missing-argument", "f:1:8"},
	{"add a 1.2.3.4\n", "ipset-unknown-set", "f:1:5"},
	{"create a hash:ip\ncreate a hash:ip\n", "ipset-duplicate-set", "f:2:8"},
	{"create 01234567890123456789012345678901 hash:ip\n", "ipset-invalid-name", "f:1:8"},
	{"create a hash:ip timeout -1\n", "ipset-invalid-option", "f:1:26"},
	{"create a hash:ip timeout\n", "ipset-missing-argument", "f:1:18"},
	{"create a hash:ip markmask 1\n", "ipset-unknown-option", "f:1:18"},
	{"create a hash:ip netmask 33\n", "ipset-invalid-option", "f:1:18"},
	{"create a bitmap:ip\n", "ipset-missing-argument", "f:1:10"},
	{"create a bitmap:ip range 10.0.0.0/8\n", "ipset-invalid-option", "f:1:10"},
	{"create a hash:ip\nadd a 1.2.3.\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:ip\nadd a 0.0.0.0\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:ip\nadd a ::1\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:ip family inet6\nadd a ::/64\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:net\nadd a 0.0.0.0/0\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:net\nadd a 1.2.3.4/33\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:ip,port\nadd a 1.2.3.4,icmp:3\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:ip,port\nadd a 1.2.3.4,gre:7\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:ip,port\nadd a 1.2.3.4\n", "ipset-invalid-element", "f:2:7"},
	{"create a bitmap:port range 1-5\nadd a 6\n", "ipset-invalid-element", "f:2:7"},
	{"create a hash:ip\nadd a 1.2.3.4 timeout 5\n", "ipset-invalid-option", "f:2:15"},
	{"create a hash:ip\nadd a 1.2.3.4 nomatch\n", "ipset-unknown-option", "f:2:15"},
	{"create a hash:ip\nadd a 1.2.3.4\nadd a 1.2.3.4\n", "ipset-duplicate-element", "f:3:7"},
	{"create a hash:ip maxelem 1\nadd a 1.2.3.4\nadd a 1.2.3.5\n", "ipset-set-full", "f:3:7"},
	{"create a hash:ip\ndel a 1.2.3.5\n", "ipset-no-such-element", "f:2:7"},
	{"create a hash:ip\ncreate l list:set\nadd l a\ndestroy a\n", "ipset-in-use", "f:4:9"},
	{"create l list:set\ncreate m list:set\nadd l m\n", "ipset-invalid-element", "f:3:7"},
	{"create a hash:ip comment\nadd a 1.2.3.4 comment \"x\n", "unterminated-quote", "f:2:23"},
	{"create a hash:ip\nadd a 1.2\x00.3.4\n", "nul-byte", "f:2:10"},
	{"create a hash:ip maxelem 4294967295\nadd a 10.0.0.0-40.0.0.0\n", "ipset-too-many-elements", "f:2:7"},
	{"#" + strings.Repeat("x", 5000) + "\ncreate a hash:ip " + strings.Repeat(" ", 2000) + "counters\n", "line-too-long", "f:2:1"},
}

func TestDiagnostics(t *testing.T) {
	for _, c := range wrong {
		_, list := Parse(diag.NewSource("f", []byte(c.text)))
		if len(list) != 1 || list[0].Code != c.code || list[0].Subject.String() != c.place || list[0].Detail == "" {
			t.Errorf("Parse(%.80q) says %v, want %s at %s", c.text, list, c.code, c.place)
		}
	}
}

// TestManyErrors bounds what is said of a text that is wrong everywhere.
func TestManyErrors(t *testing.T) {
	_, list := Parse(diag.NewSource("f", bytes.Repeat([]byte("zzz\n"), 100000)))
	if len(list) != reportMax+1 || list[reportMax].Code != "too-many-diagnostics" {
		t.Errorf("Parse says %d things", len(list))
	}
}

// TestRandom holds a set under random additions and deletions against a map.
func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	reader := NewReader(diag.NewSource("f", nil))
	reader.Command(diag.Range{}, []Word{{Text: "create"}, {Text: "a"}, {Text: "hash:ip"}})
	want := map[string]bool{}
	for range 50000 {
		a := fmt.Sprintf("10.0.%d.%d", r.IntN(16), r.IntN(256))
		verb := "add"
		if r.IntN(2) == 0 {
			verb = "del"
		}
		want[a] = verb == "add"
		reader.Command(diag.Range{}, []Word{{Text: verb}, {Text: "a"}, {Text: a}, {Text: "-exist"}})
	}
	sets, list := reader.Finish()
	if len(list) > 0 {
		t.Fatal(list)
	}
	n := 0
	for a, in := range want {
		if in {
			n++
		} else {
			delete(want, a)
		}
	}
	s := sets.Set("a")
	if s.Len() != n {
		t.Errorf("the set has %d elements, want %d", s.Len(), n)
	}
	s.Elements(func(_ int, e *Element) bool {
		if !want[e.Addr[0].String()] {
			t.Errorf("%v is in the set", e.Addr[0])
		}
		delete(want, e.Addr[0].String())
		return true
	})
	if len(want) > 0 {
		t.Errorf("%d are not in the set", len(want))
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range cases {
		f.Add(c.text)
	}
	for _, c := range wrong {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		sets, list := Parse(diag.NewSource("f", []byte(text)))
		for _, d := range list {
			if d.Code == "" || d.Detail == "" || d.Subject.Line() == 0 {
				t.Fatalf("diagnostic %+v", d)
			}
		}
		if list.HasErrors() {
			return
		}
		once := printed(t, sets)
		if strings.Contains(once, "\t") { // a quoted word as a name is not printed as one
			return
		}
		again, list := Parse(diag.NewSource("f", []byte(once)))
		if list.HasErrors() {
			return
		}
		if twice := printed(t, again); twice != once {
			t.Errorf("printed once:\n%s\ntwice:\n%s", once, twice)
		}
	})
}

// BenchmarkParse reads a set of a million addresses.
func BenchmarkParse(b *testing.B) {
	text := million(1_000_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		sets, list := Parse(diag.NewSource("million.ipset", text))
		if len(list) > 0 || sets.List[0].Len() < 900_000 {
			b.Fatal(list)
		}
	}
}

// million is the text of a set of n addresses.
func million(n int) []byte {
	r := rand.New(rand.NewPCG(7, 7))
	var t bytes.Buffer
	fmt.Fprintf(&t, "create big hash:ip family inet hashsize 1048576 maxelem %d\n", 2*n)
	seen := map[uint32]bool{}
	for len(seen) < n {
		v := r.Uint32()>>4 | 0x10000000
		if !seen[v] {
			seen[v] = true
			fmt.Fprintf(&t, "add big %d.%d.%d.%d\n", v>>24, v>>16&255, v>>8&255, v&255)
		}
	}
	return t.Bytes()
}
