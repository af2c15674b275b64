package ipsetlink

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

func newNS(t *testing.T) (*netns.NS, *Conn) {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("ipset"), testkit.Tool("iptables-legacy"))
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	c, err := Dial(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return n, c
}

func run(t *testing.T, n *netns.NS, stdin, name string, args ...string) string {
	t.Helper()
	cmd := n.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

// everyType are sets of the types that the kernel of the tests may have, with
// every option.
var everyType = []string{
	"create a hash:ip family inet hashsize 1024 maxelem 65536 timeout 3000\nadd a 192.0.2.1 timeout 2000\nadd a 192.0.2.2 timeout 0\n",
	"create b hash:ip family inet6 counters comment\nadd b 2001:db8::1 packets 5 bytes 300 comment \"the first; one\"\n",
	"create d hash:net family inet skbinfo\nadd d 10.0.0.0/8 skbmark 0x7/0xff skbprio 1:10 skbqueue 3\nadd d 10.1.0.0/16 nomatch\nadd d 0.0.0.0/1\n",
	"create e hash:ip,port family inet forceadd\nadd e 192.0.2.1,udp:53\nadd e 192.0.2.1,icmp:8/0\nadd e 192.0.2.1,sctp:0\n",
	"create f hash:ip netmask 24\nadd f 192.0.2.0\n",
	"create g hash:net,port\nadd g 10.0.0.0/8,tcp:80\n",
	"create h hash:net,iface\nadd h 10.0.0.0/8,eth0\nadd h 10.0.0.0/8,physdev:eth1\n",
	"create i bitmap:port range 0-1000 timeout 0\nadd i 22\nadd i 80\n",
	"create j bitmap:ip range 192.0.2.0/24\nadd j 192.0.2.9\n",
	"create k hash:mac\nadd k 00:01:02:03:04:05\n",
	"create l hash:net,net\nadd l 10.0.0.0/8,192.0.2.0/24\n",
	"create m hash:ip,mark markmask 0xffff\nadd m 192.0.2.1,0x7\n",
	"create n hash:ip,port,ip\nadd n 192.0.2.1,tcp:1,192.0.2.2\n",
	"create o bitmap:ip,mac range 192.0.2.0/24\nadd o 192.0.2.1,00:01:02:03:04:05\n",
}

// list comes after its members.
const list = "create z list:set size 8\nadd z b\nadd z a\n"

// left is the time of an element that has not much more than half an hour left;
// the test takes less than a minute.
var left = regexp.MustCompile(`timeout (19[4-9][0-9]|2000)$`)

// lines returns the lines of a text, sorted: elements of a hash have no order.
func lines(text string) []string {
	all := strings.Split(text, "\n")
	for i, line := range all {
		all[i] = left.ReplaceAllString(line, "timeout ~2000")
	}
	slices.Sort(all)
	return all
}

// TestPut reads sets of every type, destroys them, and makes them again: "ipset
// save" must tell the same (G12).
func TestPut(t *testing.T) {
	n, c := newNS(t)
	made := 0
	for _, set := range everyType {
		cmd := n.Command("ipset", "restore")
		cmd.Stdin = strings.NewReader(set)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("left out, %s%s", strings.Fields(set)[2], out)
			continue
		}
		made++
	}
	if made < 4 {
		t.Fatalf("only %d types could be made", made)
	}
	var many strings.Builder
	many.WriteString("create many hash:ip maxelem 100000\n")
	for i := range 20000 {
		fmt.Fprintf(&many, "add many 10.%d.%d.1\n", i>>8, i&0xff)
	}
	run(t, n, list+many.String(), "ipset", "restore")
	before := lines(run(t, n, "", "ipset", "save"))
	sets, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != made+2 {
		t.Fatalf("read %d sets, want %d", len(sets), made+2)
	}
	again := fromJSON(t, sets)
	run(t, n, "", "ipset", "destroy", "z") // it uses others
	run(t, n, "", "ipset", "destroy")
	if left, err := c.Read(); len(left) != 0 || err != nil {
		t.Fatalf("Read without sets = %v, %v", left, err)
	}
	for range 2 { // twice is once
		for _, s := range again {
			if err := c.Put(s); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(before, lines(run(t, n, "", "ipset", "save"))); diff != "" {
			t.Errorf("ipset save (-before +after):\n%s", diff)
		}
	}
	after, err := c.Read()
	if err != nil || len(after) != len(sets) {
		t.Fatalf("read %d sets, %v; want %d", len(after), err, len(sets))
	}
	for _, s := range sets {
		i := slices.IndexFunc(after, func(a *Set) bool { return a.Name == s.Name })
		if i < 0 || after[i].Fingerprint(false) != s.Fingerprint(false) || after[i].Len() != s.Len() {
			t.Errorf("set %s is not what it was", s.Name)
		}
	}
}

func fromJSON(t *testing.T, sets []*Set) []*Set {
	t.Helper()
	b, err := json.Marshal(sets)
	if err != nil {
		t.Fatal(err)
	}
	var again []*Set
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	return again
}

func one(t *testing.T, c *Conn, name string) *Set {
	t.Helper()
	sets, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no set %q", name)
	return nil
}

// TestFingerprint plants one change each, and wants it noticed, or not.
func TestFingerprint(t *testing.T) {
	n, c := newNS(t)
	const text = "create s hash:ip counters timeout 600\nadd s 192.0.2.1 timeout 500 packets 3 bytes 9\nadd s 192.0.2.2\n"
	load := func(text string) *Set {
		run(t, n, "", "ipset", "destroy")
		run(t, n, text, "ipset", "restore")
		return one(t, c, "s")
	}
	want := load(text)
	if !want.Expires() || want.Len() != 2 {
		t.Errorf("expires: %v, %d elements; want true, 2", want.Expires(), want.Len())
	}
	for _, change := range []struct {
		old, new             string
		noticed, inItsHeader bool
	}{
		{"packets 3 bytes 9", "packets 4 bytes 12", false, false},
		{"timeout 500", "timeout 400", false, false},
		{"192.0.2.2", "192.0.2.3", true, false},
		{"add s 192.0.2.2\n", "", true, false},
		{"timeout 600", "timeout 601", true, true},
		{"hash:ip", "hash:net", true, true},
		{" counters", " counters comment", true, true},
		{"hash:ip", "hash:ip maxelem 7", true, true},
	} {
		got := load(strings.Replace(text, change.old, change.new, 1))
		if (got.Fingerprint(false) != want.Fingerprint(false)) != change.noticed {
			t.Errorf("%q instead of %q: noticed %v, want %v", change.new, change.old, !change.noticed, change.noticed)
		}
		if (got.Fingerprint(true) != want.Fingerprint(true)) != change.inItsHeader {
			t.Errorf("%q instead of %q, without elements: noticed %v, want %v", change.new, change.old, !change.inItsHeader, change.inItsHeader)
		}
	}
}

// TestPutOver replaces a set that rules mean, and whose temporary stayed behind.
func TestPutOver(t *testing.T) {
	n, c := newNS(t)
	run(t, n, "create s hash:ip\nadd s 192.0.2.1\ncreate "+temporary+" hash:net\n", "ipset", "restore")
	run(t, n, "", "iptables-legacy", "-A", "INPUT", "-m", "set", "--match-set", "s", "src", "-j", "DROP")
	before := one(t, c, "s")
	run(t, n, "", "ipset", "add", "s", "192.0.2.9")
	if err := c.Put(before); err != nil {
		t.Fatal(err)
	}
	if now := one(t, c, "s"); now.Fingerprint(false) != before.Fingerprint(false) {
		t.Error("the set is not what it was")
	}
	if rules := run(t, n, "", "iptables-legacy-save"); !strings.Contains(rules, "--match-set s src") {
		t.Errorf("the rule means another set:\n%s", rules)
	}
	if sets, _ := c.Read(); len(sets) != 1 {
		t.Errorf("%d sets, want 1", len(sets))
	}
	// A set of another type cannot take the place of one in use.
	run(t, n, "create other hash:net,port\nadd other 10.0.0.0/8,tcp:80\n", "ipset", "restore")
	other := one(t, c, "other")
	other.Name = "s"
	if err := c.Put(other); !isSetError(err, errTypeMismatch) || !strings.Contains(err.Error(), "another type") {
		t.Errorf("Put of another type = %v", err)
	}
}

// TestRefused plants what is no set.
func TestRefused(t *testing.T) {
	n, c := newNS(t)
	good := &Set{Name: "s", Type: "hash:ip", Family: unix.NFPROTO_IPV4}
	for name, plant := range map[string]func(s *Set){
		"no name":              func(s *Set) { s.Name = "" },
		"a name that is long":  func(s *Set) { s.Name = strings.Repeat("x", 32) },
		"no type":              func(s *Set) { s.Type = "" },
		"a cut header":         func(s *Set) { s.Header = []byte{1} },
		"an attribute too big": func(s *Set) { s.Header = []byte{200, 0, 1, 0} },
		"a stray attribute":    func(s *Set) { s.Elements = [][]byte{{4, 0, 9, 0}} },
		"a cut element":        func(s *Set) { s.Elements = [][]byte{{7, 0, attrData, 0, 1, 2, 3, 0}} },
	} {
		bad := *good
		plant(&bad)
		if err := c.Put(&bad); err == nil || bad.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := c.Put(&Set{Name: "s", Type: "hash:moon"}); err == nil || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("Put of an unknown type = %v", err)
	}
	c.inode++
	if err := c.Put(good); err == nil || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("Put in another namespace = %v", err)
	}
	n.Close()
	if _, err := Dial(n); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Dial in a closed namespace = %v, want ErrClosed", err)
	}
}
