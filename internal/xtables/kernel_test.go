package xtables

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/rulegen"
	"nftmigrate/internal/testkit"
)

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"), testkit.Tool("ipset"))
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func newConn(t *testing.T, n *netns.NS) *Conn {
	t.Helper()
	c, err := Dial(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// run runs a tool in a namespace and returns what it printed.
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

// saved returns what iptables-save prints, without comments.
func saved(t *testing.T, n *netns.NS, tool string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(run(t, n, "", tool, "-c")) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// A family is one of the families that have a tool.
type family struct {
	number        uint8
	save, restore string
	rules         string
}

const sets4 = "create hosts hash:ip family inet\nadd hosts 192.0.2.1\ncreate pairs hash:ip,port family inet\ncreate bans hash:ip family inet timeout 600\n"
const sets6 = "create hosts6 hash:ip family inet6\nadd hosts6 2001:db8::1\n"

// families are rulesets with every match and target whose data the kernel treats
// specially.
var families = []family{
	{unix.NFPROTO_IPV4, "iptables-legacy-save", "iptables-legacy-restore", `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
[1:40] -A PREROUTING -p tcp -m tcp --dport 21 -j CT --zone 7
-A PREROUTING -m set --match-set bans src -j DROP
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A PREROUTING -j MARK --set-xmark 0x7/0xff
-A POSTROUTING -m statistic --mode nth --every 3 --packet 1 -j DSCP --set-dscp 0x08
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
[12:3400] -A PREROUTING -d 192.0.2.7/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.7:8080
-A POSTROUTING -o eth0 -j MASQUERADE --random-fully
COMMIT
*filter
:INPUT DROP [7:900]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [5:50]
:guard - [0:0]
:long-name-of-a-chain-of-28-c - [0:0]
[3:180] -A INPUT -p tcp -m tcp --dport 22 -m recent --set --name ssh --mask 255.255.255.255 --rsource
-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 60 --hitcount 4 --name ssh --mask 255.255.255.255 --rsource -j DROP
-A INPUT -m limit --limit 3/min --limit-burst 7 -j LOG --log-prefix "in " --log-level 6
-A INPUT -p tcp -m multiport --dports 80,443 -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 10 --hashlimit-mode srcip --hashlimit-name web -j ACCEPT
-A INPUT -p udp -m string --string "attack" --algo bm --to 65535 -j DROP
-A INPUT -m set --match-set hosts src -m set ! --match-set pairs dst,dst -j guard
-A INPUT -p tcp -m tcp --dport 25 -j SET --add-set bans src --exist --timeout 60
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m quota --quota 1000000 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 2222 -m connlimit --connlimit-upto 3 --connlimit-mask 32 --connlimit-saddr -j ACCEPT
-A INPUT -m time --timestart 08:00:00 --timestop 18:00:00 -j guard
-A INPUT -m u32 --u32 "0x6&0xff=0x1" -j long-name-of-a-chain-of-28-c
-A OUTPUT -m owner --uid-owner 1000 -m comment --comment "the user" -j guard
-A OUTPUT -j NFLOG --nflog-prefix out --nflog-group 3
[9:90] -A guard -s 10.0.0.0/8 -g long-name-of-a-chain-of-28-c
-A guard -j RETURN
-A long-name-of-a-chain-of-28-c -m addrtype --dst-type LOCAL -j REJECT --reject-with icmp-port-unreachable
COMMIT
`},
	{unix.NFPROTO_IPV6, "ip6tables-legacy-save", "ip6tables-legacy-restore", `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -m hl --hl-lt 3 -j HL --hl-inc 1
COMMIT
*filter
:INPUT DROP [7:900]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [5:50]
:guard - [0:0]
[3:180] -A INPUT -p tcp -m tcp --dport 22 -m recent --set --name ssh6 --mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource
-A INPUT -p tcp -m multiport --dports 80,443 -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 10 --hashlimit-mode srcip --hashlimit-name web6 -j ACCEPT
-A INPUT -m limit --limit 3/min -j guard
-A INPUT -p udp -m string --string "attack" --algo kmp --to 65535 -j DROP
-A INPUT -m set --match-set hosts6 src -j guard
-A OUTPUT -m owner --gid-owner 1000 -j guard
-A guard -s 2001:db8::/32 -j REJECT --reject-with icmp6-port-unreachable
COMMIT
`},
}

// TestReplace reads every table, empties it, and puts it back: what
// iptables-legacy-save tells and the fingerprint must be what they were, counters
// included (G12).
func TestReplace(t *testing.T) {
	for _, f := range families {
		t.Run(f.save, func(t *testing.T) {
			n := newNS(t)
			run(t, n, sets4+sets6, "ipset", "restore")
			run(t, n, f.rules, f.restore, "--counters")
			checkReplace(t, n, f, len(strings.Split(f.rules, "\n*")))
		})
	}
}

func checkReplace(t *testing.T, n *netns.NS, f family, tables int) {
	t.Helper()
	c := newConn(t, n)
	before := saved(t, n, f.save)
	names, err := c.Names(f.number)
	if err != nil || len(names) != tables {
		t.Fatalf("Names = %v, %v; want %d", names, err, tables)
	}
	var all []*Table
	for _, name := range names {
		table := read(t, c, f.number, name)
		if again := read(t, c, f.number, name); !again.Equal(table) {
			t.Errorf("%s is another when it is read again", table)
		}
		all = append(all, table)
		if err := c.Replace(Empty(table), table); err != nil {
			t.Fatal(err)
		}
		if now := read(t, c, f.number, name); !now.Idle() || table.Idle() {
			t.Errorf("%s is idle: %v before, %v when emptied", table, table.Idle(), now.Idle())
		}
	}
	// What iptables itself makes of no rules is the same.
	for i, name := range names {
		emptied := read(t, c, f.number, name)
		run(t, n, "*"+name+"\nCOMMIT\n", f.restore)
		for _, p := range emptied.Policies() {
			run(t, n, "*"+name+"\n:"+p.Chain+" ACCEPT [0:0]\nCOMMIT\n", f.restore)
		}
		if now := read(t, c, f.number, name); !now.Equal(emptied) {
			t.Errorf("%s emptied is not what %s makes", all[i], f.restore)
		}
	}
	for _, table := range all {
		b, _ := table.MarshalBinary()
		again, err := Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Replace(again, nil); err != nil {
			t.Fatal(err)
		}
		if now := read(t, c, f.number, table.name); !now.Equal(table) || now.CountsLess(table) || table.CountsLess(now) {
			t.Errorf("%s put back is not what it was", table)
		}
	}
	if diff := cmp.Diff(before, saved(t, n, f.save)); diff != "" {
		t.Errorf("%s -c (-before +after):\n%s", f.save, diff)
	}
}

func read(t *testing.T, c *Conn, family uint8, name string) *Table {
	t.Helper()
	table, err := c.Read(family, name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestReplaceGenerated does so with large rulesets.
func TestReplaceGenerated(t *testing.T) {
	for _, shape := range rulegen.Shapes {
		t.Run(shape.Name, func(t *testing.T) {
			f := families[0]
			if shape.IPv6 {
				f = families[1]
			}
			n := newNS(t)
			rules := string(shape.Generate(400, 1))
			run(t, n, rules, f.restore)
			checkReplace(t, n, f, len(strings.Split(rules, "\n*")))
		})
	}
}

// TestFingerprint plants one change each, and wants it noticed; counters and
// packets change nothing.
func TestFingerprint(t *testing.T) {
	n := newNS(t)
	c := newConn(t, n)
	run(t, n, sets4, "ipset", "restore")
	load := func(rules string) *Table {
		run(t, n, rules, "iptables-legacy-restore", "--counters")
		return read(t, c, unix.NFPROTO_IPV4, "filter")
	}
	filter := families[0].rules[strings.Index(families[0].rules, "*filter"):]
	want := load(filter)
	if rules, chains := want.Size(); rules != 17 || chains != 2 {
		t.Errorf("Size = %d, %d; want 17, 2", rules, chains)
	}
	if got := want.Sets(); !slices.Equal(got, []string{"bans", "hosts", "pairs"}) {
		t.Errorf("Sets = %q", got)
	}
	if got := want.Filled(); !slices.Equal(got, []string{"bans"}) {
		t.Errorf("Filled = %q", got)
	}
	for _, change := range [][2]string{
		{"[3:180]", "[4:240]"}, // a counter
	} {
		if got := load(strings.Replace(filter, change[0], change[1], 1)); !got.Equal(want) {
			t.Errorf("%q instead of %q is taken for a change", change[1], change[0])
		}
	}
	for _, change := range [][2]string{
		{":INPUT DROP", ":INPUT ACCEPT"}, {"--dport 22 -m recent --set", "--dport 23 -m recent --set"},
		{"--hitcount 4", "--hitcount 5"}, {"--limit-burst 7", "--limit-burst 8"}, {"attack", "attach"},
		{"--match-set hosts src", "--match-set hosts dst"}, {"--match-set hosts src", "--match-set bans src"},
		{"--uid-owner 1000", "--uid-owner 1001"}, {"-g long", "-j long"}, {"the user", "the User"},
		{"--quota 1000000", "--quota 1000001"}, {"-A guard -j RETURN\n", ""}, {":guard - [0:0]\n", ":guard - [0:0]\n:more - [0:0]\n"},
		{"--hashlimit-name web ", "--hashlimit-name wed "},
	} {
		if got := load(strings.Replace(filter, change[0], change[1], 1)); got.Equal(want) {
			t.Errorf("%q instead of %q is not noticed", change[1], change[0])
		}
	}
}

// TestSetNumbers makes sets anew, so that they have other numbers: a table read
// before means them by their names.
func TestSetNumbers(t *testing.T) {
	n := newNS(t)
	c := newConn(t, n)
	run(t, n, sets4, "ipset", "restore")
	run(t, n, families[0].rules, "iptables-legacy-restore", "--counters")
	before := saved(t, n, "iptables-legacy-save")
	table, raw := read(t, c, unix.NFPROTO_IPV4, "filter"), read(t, c, unix.NFPROTO_IPV4, "raw")
	for _, x := range []*Table{table, raw} {
		if err := c.Replace(Empty(x), x); err != nil {
			t.Fatal(err)
		}
	}
	run(t, n, "", "ipset", "destroy")
	if err := c.Replace(table, nil); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), `"hosts"`) {
		t.Errorf("Replace without the sets = %v, want ENOENT and the name", err)
	}
	run(t, n, "create other hash:ip\ncreate bans hash:ip timeout 600\ncreate pairs hash:ip,port\ncreate hosts hash:ip\n", "ipset", "restore")
	for _, x := range []*Table{table, raw} {
		if err := c.Replace(x, nil); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, saved(t, n, "iptables-legacy-save")); diff != "" {
		t.Errorf("with other numbers (-before +after):\n%s", diff)
	}
	if now := read(t, c, unix.NFPROTO_IPV4, "filter"); !now.Equal(table) {
		t.Error("with other numbers of sets the fingerprint is another")
	}
}

// TestPolicies wants rules and counters to stay, those of packets that came since
// the reading included.
func TestPolicies(t *testing.T) {
	n := newNS(t)
	c := newConn(t, n)
	run(t, n, sets4, "ipset", "restore")
	run(t, n, families[0].rules, "iptables-legacy-restore", "--counters")
	table := read(t, c, unix.NFPROTO_IPV4, "filter")
	// The counter of the first rule goes on after the reading.
	late := *table
	late.entries = slices.Clone(table.entries)
	if err := c.AddCounters(&late); err != nil {
		t.Fatal(err)
	}
	before := strings.Replace(saved(t, n, "iptables-legacy-save"), ":INPUT DROP", ":INPUT ACCEPT", 1)
	if !strings.Contains(before, "[6:360] -A INPUT") {
		t.Fatalf("counters were not added:\n%s", before)
	}
	if err := c.Replace(Policies(table, Accept), table); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, saved(t, n, "iptables-legacy-save")); diff != "" {
		t.Errorf("with policies that accept (-want +got):\n%s", diff)
	}
}

// TestChanged lets others change a table between the reading and the replacing
// (G14).
func TestChanged(t *testing.T) {
	n := newNS(t)
	c := newConn(t, n)
	run(t, n, "*filter\n-A INPUT -s 192.0.2.1 -j DROP\nCOMMIT\n", "iptables-legacy-restore")
	table := read(t, c, unix.NFPROTO_IPV4, "filter")
	for _, rules := range []string{
		"*filter\n-A INPUT -s 192.0.2.2 -j DROP\nCOMMIT\n",                                // of the same size
		"*filter\n-A INPUT -s 192.0.2.1 -j DROP\n-A INPUT -s 192.0.2.3 -j DROP\nCOMMIT\n", // larger
	} {
		run(t, n, rules, "iptables-legacy-restore")
		before := saved(t, n, "iptables-legacy-save")
		if err := c.Replace(Empty(table), table); !errors.Is(err, ErrChanged) {
			t.Errorf("Replace = %v, want ErrChanged", err)
		}
		if after := saved(t, n, "iptables-legacy-save"); after != before {
			t.Errorf("a refused replacement changed the table:\n%s", after)
		}
	}
	// The kernel by itself refuses only another number of entries.
	if _, err := c.swap(table, 77); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("swap over 77 entries = %v, want EAGAIN", err)
	}
}

// TestNoSideEffects reads everything that there is to read in a namespace without
// tables, and wants none to be there afterwards (G25).
func TestNoSideEffects(t *testing.T) {
	n := newNS(t)
	c := newConn(t, n)
	for _, family := range []uint8{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6, unix.NFPROTO_ARP} {
		for _, name := range []string{"filter", "nat", "mangle", "raw", "security"} {
			if _, err := c.Read(family, name); !errors.Is(err, ErrNoTable) {
				t.Errorf("Read(%d, %s) = %v, want ErrNoTable", family, name, err)
			}
			err := c.Change(context.Background(), LockOptions{Path: filepath.Join(t.TempDir(), "lock")}, family, name, func(*Table) (*Table, error) {
				t.Error("a table that is not there is changed")
				return nil, nil
			})
			if !errors.Is(err, ErrNoTable) {
				t.Errorf("Change(%d, %s) = %v, want ErrNoTable", family, name, err)
			}
		}
		if names, err := c.Names(family); len(names) > 0 || err != nil {
			t.Errorf("Names(%d) = %v, %v; reading registered tables", family, names, err)
		}
	}
	// The test would notice: this is what "iptables-legacy -S" does.
	if _, _, err := c.info(unix.NFPROTO_IPV4, "filter"); err != nil {
		t.Fatal(err)
	}
	if names, _ := c.Names(unix.NFPROTO_IPV4); !slices.Equal(names, []string{"filter"}) {
		t.Errorf("Names = %v after the table was asked for, want it registered", names)
	}
}

// TestARP reads, empties and replaces the one table that has no tool here.
func TestARP(t *testing.T) {
	n := newNS(t)
	c := newConn(t, n)
	if _, err := c.Names(unix.NFPROTO_ARP); errors.Is(err, ErrUnsupported) {
		testkit.NotHere(t, "%v", err)
	}
	if _, _, err := c.info(unix.NFPROTO_ARP, "filter"); err != nil {
		t.Fatal(err)
	}
	table := read(t, c, unix.NFPROTO_ARP, "filter")
	if !table.Idle() || !Empty(table).Equal(table) {
		t.Errorf("a new table is not what an emptied one is: %v", table.Policies())
	}
	closed := Policies(table, Drop)
	if err := c.Replace(closed, table); err != nil {
		t.Fatal(err)
	}
	if now := read(t, c, unix.NFPROTO_ARP, "filter"); !now.Equal(closed) || now.Idle() {
		t.Errorf("policies are %v, want DROP", now.Policies())
	}
}

// TestLock waits for a lock that another keeps, and no longer than it was told.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(context.Background(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(context.Background(), path, 50*time.Millisecond); !errors.Is(err, ErrLocked) {
		t.Errorf("a second Lock = %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Lock(ctx, path, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Lock = %v, want Canceled", err)
	}
	time.AfterFunc(50*time.Millisecond, unlock)
	again, err := Lock(context.Background(), path, time.Minute)
	if err != nil {
		t.Fatalf("Lock after the other gave it up: %v", err)
	}
	again()
	if _, err := Lock(context.Background(), filepath.Join(t.TempDir(), "none", "lock"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lock of an impossible path = %v", err)
	}
}

// TestLockIsTheirs wants iptables to wait for our lock.
func TestLockIsTheirs(t *testing.T) {
	n := newNS(t)
	path := filepath.Join(t.TempDir(), "lock")
	t.Setenv("XTABLES_LOCKFILE", path)
	unlock, err := Lock(context.Background(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.Command("iptables-legacy", "-w", "1", "-N", "late").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "lock") {
		t.Errorf("iptables-legacy -w 1 while we hold the lock: %v\n%s", err, out)
	}
	unlock()
	run(t, n, "", "iptables-legacy", "-w", "1", "-N", "late")
}

// TestWrongNamespace gives a connection sockets of another namespace.
func TestWrongNamespace(t *testing.T) {
	a, b := newNS(t), newNS(t)
	run(t, a, "*filter\n-A INPUT -j DROP\nCOMMIT\n", "iptables-legacy-restore")
	run(t, b, "*filter\n-A INPUT -j DROP\nCOMMIT\n", "iptables-legacy-restore")
	c := newConn(t, a)
	table := read(t, c, unix.NFPROTO_IPV4, "filter")
	c.ns = b
	for _, err := range []error{c.Replace(Empty(table), nil), c.AddCounters(table)} {
		if err == nil || !strings.Contains(err.Error(), "namespace") {
			t.Errorf("a socket of another namespace: %v", err)
		}
	}
	if !strings.Contains(saved(t, a, "iptables-legacy-save"), "-A INPUT -j DROP") {
		t.Error("the table of another namespace was replaced")
	}
	a.Close()
	if _, err := Dial(a); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Dial in a closed namespace = %v, want ErrClosed", err)
	}
}

// withoutRights makes TestWithoutRights run its body, in the namespace of this
// inode.
const withoutRights = "XTABLES_TEST_NAMESPACE"

// TestWithoutRights wants a refusal that names the right, and not an empty list
// (G22).
func TestWithoutRights(t *testing.T) {
	if want := os.Getenv(withoutRights); want != "" {
		n, err := netns.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if got := strconv.FormatUint(n.Inode(), 10); got != want {
			t.Fatalf("in namespace %s, want %s", got, want)
		}
		if _, err := Dial(n); !errors.Is(err, unix.EPERM) {
			t.Errorf("Dial = %v, want EPERM", err)
		}
		c := &Conn{ns: n}
		if names, err := c.Names(unix.NFPROTO_IPV4); !errors.Is(err, os.ErrPermission) {
			t.Errorf("Names = %v, %v; want a refusal", names, err)
		}
		return
	}
	n := newNS(t)
	cmd := n.Command("/proc/self/exe", "-test.run=^TestWithoutRights$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), withoutRights+"="+strconv.FormatUint(n.Inode(), 10))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}
