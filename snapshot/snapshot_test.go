package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/ipsetlink"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-nft-restore"),
		testkit.Tool("nft"), testkit.Tool("ipset"))
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
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

func takeOf(t *testing.T, n *netns.NS) *Snapshot {
	t.Helper()
	s, err := Take(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	setsText = `create hosts hash:ip family inet
add hosts 192.0.2.1
create bans hash:net family inet timeout 3600 counters comment
add bans 198.51.100.0/24 timeout 3000 packets 5 bytes 300 comment "a reason"
create filled hash:ip family inet
create all list:set size 8
add all hosts
`
	legacyText = `*nat
:PREROUTING ACCEPT [3:180]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
[12:3400] -A PREROUTING -d 192.0.2.7/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.7:8080
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [7:900]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [5:50]
:guard - [0:0]
[3:180] -A INPUT -p tcp -m tcp --dport 22 -m recent --set --name ssh --mask 255.255.255.255 --rsource
-A INPUT -m set --match-set hosts src -j ACCEPT
-A INPUT -m set --match-set all src -j guard
-A INPUT -p tcp -m multiport --dports 80,443 -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 10 --hashlimit-mode srcip --hashlimit-name web -j ACCEPT
-A INPUT -p tcp -m tcp --dport 25 -j SET --add-set filled src
[9:90] -A guard -s 10.0.0.0/8 -j DROP
COMMIT
`
	legacy6Text = `*filter
:INPUT DROP [7:900]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [5:50]
[3:180] -A INPUT -p tcp -m tcp --dport 22 -m limit --limit 3/min -j ACCEPT
COMMIT
`
	// iptables-nft has its tables in the kernel beside the legacy ones; here in
	// mangle, so that the names of both can be told apart.
	compatText = `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
[4:400] -A FORWARD -p udp -m string --string "attack" --algo bm --to 65535 -j DROP
[1:10] -A FORWARD -m set --match-set hosts src -j ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
`
	nativeText = `table inet native {
	counter hits { packets 12 bytes 3400; }
	set timed { type ipv4_addr; timeout 1h; elements = { 192.0.2.1 timeout 2h expires 90m } }
	set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.0/24 } }
	chain ssh { ip saddr { 10.0.0.0/8, 192.0.2.0/24 } counter packets 7 bytes 420 accept; }
	chain input { type filter hook input priority 10; policy drop; tcp dport vmap { 22 : jump ssh, 80 : accept }; ip saddr @nets accept; counter name hits; }
}
`
	newText = `table inet firewall {
	map ports { type inet_service : verdict; elements = { 22 : accept, 80 : accept } }
	chain input { type filter hook input priority 0; policy drop; tcp dport vmap @ports; }
}
`
)

// fill gives a namespace something in every plane.
func fill(t *testing.T, n *netns.NS) {
	t.Helper()
	run(t, n, setsText, "ipset", "restore")
	run(t, n, legacyText, "iptables-legacy-restore", "--counters")
	run(t, n, legacy6Text, "ip6tables-legacy-restore", "--counters")
	run(t, n, compatText, "iptables-nft-restore", "--counters")
	run(t, n, nativeText, "nft", "-f", "-")
}

// listing is what the tools of every plane tell, with counters.
func listing(t *testing.T, n *netns.NS) []string {
	t.Helper()
	var lines []string
	text := run(t, n, "", "iptables-legacy-save", "-c") + run(t, n, "", "ip6tables-legacy-save", "-c") +
		run(t, n, "", "iptables-nft-save", "-c") + run(t, n, "", "nft", "list", "table", "inet", "native")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "expires") {
			lines = append(lines, line)
		}
	}
	return lines
}

var parts = []string{
	"ipset all", "ipset bans", "ipset filled", "ipset hosts",
	"legacy table ip filter", "legacy table ip nat", "legacy table ip6 filter",
	"nf_tables table inet native", "nf_tables table ip mangle",
}

func TestTake(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	s := takeOf(t, n)
	if diff := cmp.Diff(parts, s.Parts()); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	boot, _ := bootID()
	if s.Namespace != n.Inode() || s.BootID != boot || s.Generation == 0 || time.Since(s.Taken) > time.Minute || s.Devices[1] != "lo" {
		t.Errorf("snapshot of %d, boot %s, generation %d, taken %v, devices %v", s.Namespace, s.BootID, s.Generation, s.Taken, s.Devices)
	}
	if changed := Changed(s, takeOf(t, n)); len(changed) > 0 {
		t.Errorf("read again: %q", changed)
	}
}

// TestTakeEmpty wants to see no rules, and to have registered none (G25), and not
// to mistake a plane that the kernel lacks for one without rules (G22).
func TestTakeEmpty(t *testing.T) {
	n := newNS(t)
	s := takeOf(t, n)
	if len(s.Parts()) > 0 {
		t.Errorf("a new namespace has %q", s.Parts())
	}
	if again := takeOf(t, n); len(again.Legacy) > 0 {
		t.Errorf("taking a snapshot registered %d tables", len(again.Legacy))
	}
	k, err := dial(n)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	k.nft.Close()
	k.sets.Close()
	k.nft, k.sets = nil, nil
	k.lacks[NFTables], k.lacks[IPSet] = "the kernel has no nf_tables", "the kernel has no ipset"
	lacking, err := k.read()
	if err != nil || lacking.Lacks[NFTables] == "" || lacking.Lacks[IPSet] == "" {
		t.Errorf("planes that are lacking: %v, %v", lacking.Lacks, err)
	}
	again := roundTrip(t, lacking)
	if diff := cmp.Diff(lacking.Lacks, again.Lacks); diff != "" {
		t.Errorf("lacking planes in the file (-want +got):\n%s", diff)
	}
	if s.Lacks[NFTables] != "" || s.Lacks[IPSet] != "" {
		t.Errorf("planes that are there are lacking: %v", s.Lacks)
	}
}

// TestSettled gives readings that agree late, never, or that others broke.
func TestSettled(t *testing.T) {
	states := []*Snapshot{{}, {Sets: []*ipsetlink.Set{{Name: "s", Type: "hash:ip"}}}}
	a, b := states[0], states[1]
	gone, broken := fmt.Errorf("%w: a set", errGone), errors.New("broken")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name     string
		ctx      context.Context
		readings []any // the last one for ever; two as a list take turns
		want     *Snapshot
		err      error
		reads    int
	}{
		{name: "quiet", readings: []any{a}, want: a, reads: 2},
		{name: "changed once", readings: []any{a, b}, want: b, reads: 3},
		{name: "something went away", readings: []any{a, gone, b}, want: b, reads: 4},
		{name: "what agrees across an error does not count", readings: []any{a, gone, a, b}, want: b, reads: 5},
		{name: "never quiet", readings: []any{states}, err: ErrUnstable, reads: takeAttempts},
		{name: "broken", readings: []any{a, broken}, err: broken, reads: 2},
		{name: "cancelled", ctx: cancelled, readings: []any{a}, err: context.Canceled},
	} {
		reads := 0
		if c.ctx == nil {
			c.ctx = context.Background()
		}
		got, err := settled(c.ctx, func() (*Snapshot, error) {
			reads++
			switch r := c.readings[min(reads, len(c.readings))-1].(type) {
			case error:
				return nil, r
			case []*Snapshot:
				return r[reads%2], nil
			case *Snapshot:
				return r, nil
			}
			panic("no reading")
		})
		if got != c.want || !errors.Is(err, c.err) || reads != c.reads {
			t.Errorf("%s: %v, %v after %d readings; want %v, %v after %d", c.name, got, err, reads, c.want, c.err, c.reads)
		}
	}
}

func roundTrip(t *testing.T, s *Snapshot) *Snapshot {
	t.Helper()
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := again.Marshal()
	if err != nil || !bytes.Equal(b, twice) {
		t.Errorf("a snapshot that is read and written again is another file (%v)", err)
	}
	return again
}

// TestFile writes a snapshot, and plants what a disk can do to it (G11).
func TestFile(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	s := takeOf(t, n)
	roundTrip(t, s)
	path := filepath.Join(t.TempDir(), "snapshot")
	if err := s.Write(path); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	again, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if changed := Changed(s, again); len(changed) > 0 || again.Namespace != s.Namespace || !again.Taken.Equal(s.Taken) {
		t.Errorf("read from the file: %q", changed)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 20, 90, len(good) / 2, len(good) - 1} {
		if _, err := Unmarshal(good[:size]); err == nil {
			t.Errorf("cut to %d bytes: taken", size)
		}
	}
	for at := 0; at < len(good); at += max(1, len(good)/300) {
		bad := slices.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if _, err := Unmarshal(bad); err == nil {
			t.Errorf("byte %d of %d changed: taken", at, len(good))
		}
	}
	if _, err := Unmarshal(append(slices.Clone(good), 'x')); err == nil {
		t.Error("with a byte more: taken")
	}
	newer := bytes.Replace(good, []byte(title+" 1 "), []byte(title+" 2 "), 1)
	if _, err := Unmarshal(newer); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("a newer version: %v", err)
	}
}

// TestFullDisk writes to a file system without room, and to one that is read-only
// (G11).
func TestFullDisk(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	run(t, n, manyElements(5000), "ipset", "restore")
	s := takeOf(t, n)
	dir := t.TempDir()
	done := make(chan struct{})
	// The thread ends with its goroutine, and its file systems with it.
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Error(err)
			return
		}
		path := filepath.Join(dir, "snapshot")
		if err := s.Write(path); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("Write to a full disk = %v, want ENOSPC", err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("a full disk is left with %v", left)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Error(err)
			return
		}
		if err := s.Write(path); !errors.Is(err, unix.EROFS) {
			t.Errorf("Write to a read-only file system = %v, want EROFS", err)
		}
	}()
	<-done
	if err := s.Write(filepath.Join(dir, "no", "directory")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write where no directory is = %v", err)
	}
}

func manyElements(count int) string {
	var b strings.Builder
	b.WriteString("create many hash:ip maxelem 100000\n")
	for i := range count {
		b.WriteString("add many 10." + strconv.Itoa(i>>8) + "." + strconv.Itoa(i&0xff) + ".1\n")
	}
	return b.String()
}

// FuzzUnmarshal puts bytes into a file whose checksum is right.
func FuzzUnmarshal(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"byte_order":"little"}`, `{"byte_order":"little","ruleset":"AAAA"}`,
		`{"byte_order":"little","ruleset":"FAAAAAAKAAAAAAAAAAAAAAEAAAA="}`,
		`{"byte_order":"little","legacy":["eHRhYmxlcwE="]}`, `{"byte_order":"little","sets":[null]}`,
		`{"byte_order":"little","sets":[{"Name":"s","Type":"hash:ip","Header":"AAAA"}]}`, `[`, `{"unknown":1}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := Unmarshal(sealed(body))
		if err != nil {
			return
		}
		s.Fingerprint()
		Changed(s, &Snapshot{})
		s.Owned()
		roundTrip(t, s)
	})
}

// TestChanged makes one change each, and wants it told in words (G14).
func TestChanged(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before := takeOf(t, n)
	for _, c := range []struct {
		what []string
		want string
	}{
		{[]string{"iptables-legacy", "-A", "INPUT", "-s", "192.0.2.9", "-j", "DROP"}, "legacy table ip filter changed: it had 6 rules and has 7"},
		{[]string{"iptables-legacy", "-P", "FORWARD", "DROP"}, "legacy table ip filter changed: the policy of FORWARD was ACCEPT and is DROP"},
		{[]string{"iptables-legacy", "-R", "INPUT", "1", "-s", "192.0.2.9", "-j", "DROP"}, "legacy table ip filter changed: rules are others than before"},
		{[]string{"iptables-legacy", "-t", "raw", "-A", "OUTPUT", "-j", "NOTRACK"}, "legacy table ip raw was added"},
		{[]string{"ip6tables-legacy", "-N", "more"}, "legacy table ip6 filter changed: it had 0 chains of its own and has 1"},
		{[]string{"ipset", "add", "hosts", "192.0.2.9"}, "ipset hosts changed: 1 element was added"},
		{[]string{"ipset", "del", "hosts", "192.0.2.1"}, "ipset hosts changed: 1 element was removed"},
		{[]string{"ipset", "create", "more", "hash:ip"}, "ipset more was added"},
		{[]string{"ipset", "add", "bans", "203.0.113.0/24"}, ""}, // elements that expire come and go
		{[]string{"ipset", "add", "filled", "203.0.113.1"}, ""},  // packets do that, too
		{[]string{"iptables-legacy", "-Z"}, ""},
		{[]string{"nft", "reset", "counters"}, ""},
		{[]string{"iptables-nft", "-t", "mangle", "-I", "FORWARD", "-j", "ACCEPT"}, "nf_tables table ip mangle changed: chain FORWARD: 1 rule was added"},
		{[]string{"iptables-nft", "-t", "mangle", "-P", "FORWARD", "ACCEPT"}, "nf_tables table ip mangle changed: chain FORWARD changed"},
		{[]string{"nft", "add", "element", "inet", "native", "nets", "{ 172.16.0.0/12 }"}, "nf_tables table inet native changed: set nets: 2 elements were added"},
		{[]string{"nft", "delete", "table", "inet", "native"}, "nf_tables table inet native was removed"},
		{[]string{"nft", "add", "table", "ip6", "more"}, "nf_tables table ip6 more was added"},
		{[]string{"nft", "add", "chain", "inet", "native", "more"}, "nf_tables table inet native changed: chain more was added"},
	} {
		run(t, n, "", c.what[0], c.what[1:]...)
		after := takeOf(t, n)
		if got := strings.Join(Changed(before, after), "; "); got != c.want {
			t.Errorf("after %q: %q, want %q", c.what, got, c.want)
		}
		before = after
		if c.want == "nf_tables table inet native was removed" {
			run(t, n, nativeText, "nft", "-f", "-")
			before = takeOf(t, n)
		}
	}
}

// withoutRights makes TestWithoutRights run its body, in the namespace of this
// inode.
const withoutRights = "SNAPSHOT_TEST_NAMESPACE"

// TestWithoutRights wants an error, and not a snapshot of nothing (G22).
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
		if s, err := Take(context.Background(), n); !errors.Is(err, unix.EPERM) {
			t.Errorf("Take = %v, %v; want EPERM", s, err)
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
