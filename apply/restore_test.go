package apply_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

func TestTwoBadRulesAreNamed(t *testing.T) {
	n := newNS(t)
	run(t, n, oldText, "nft", "-f", "-")
	before := dump(t, n)
	_, err := apply.Commit(context.Background(), n, []apply.Batch{{
		Messages: []netlink.Message{
			deleteTable("ours"), table("ours"), chain("x"), rule("x", "counter"),
			rule("x", "teleport"), rule("x", "counter"), rule("nowhere", "counter"), rule("x", "counter"),
		},
		Labels: []string{"", "", "", "rules.v4:16", "rules.v4:17", "rules.v4:18", "rules.v6:9"},
	}}, apply.Options{})
	e := refused(t, err)
	if len(e.Failures) != 2 || e.Failures[0].Label != "rules.v4:17" || e.Failures[1].Label != "rules.v6:9" {
		t.Errorf("failures %+v, want rules.v4:17 and rules.v6:9", e.Failures)
	}
	for _, word := range []string{"rules.v4:17", "teleport", "rules.v6:9", `chain "nowhere"`, "no such file or directory"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error lacks %q:\n%v", word, err)
		}
	}
	if !e.Missing || e.RolledBack || !errors.Is(err, unix.ENOENT) {
		t.Errorf("missing %v, rolled back %v, error %v; want missing, not rolled back, ENOENT", e.Missing, e.RolledBack, err)
	}
	after := dump(t, n)
	if diff := cmp.Diff(printed(before.Messages, everything), printed(after.Messages, everything)); diff != "" || after.Generation != before.Generation {
		t.Errorf("a refused commit changed the ruleset (-before +after):\n%s", diff)
	}
}

func TestStale(t *testing.T) {
	n := newNS(t)
	generation := dump(t, n).Generation
	run(t, n, "", "nft", "add", "table", "ip", "foreign")
	stage := []apply.Batch{{Messages: []netlink.Message{table("ours")}}}
	if _, err := apply.Commit(context.Background(), n, stage, apply.Options{Generation: &generation}); !errors.Is(err, nfnetlink.ErrStale) {
		t.Errorf("Commit for an old generation = %v, want ErrStale", err)
	}
	if got := dump(t, n).Tables(); len(got) != 1 {
		t.Errorf("tables %v, want the foreign one alone", got)
	}
	generation = dump(t, n).Generation
	if _, err := apply.Commit(context.Background(), n, stage, apply.Options{Generation: &generation}); err != nil {
		t.Errorf("Commit for the current generation: %v", err)
	}
}

func TestClosedNamespace(t *testing.T) {
	n := newNS(t)
	host, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	before := dump(t, host, ours)
	receipt := commit(t, n, apply.Batch{Messages: []netlink.Message{table("ours")}})
	n.Close()
	reused, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reused)
	if _, err := apply.Commit(context.Background(), n, []apply.Batch{{Messages: []netlink.Message{table("ours")}}}, apply.Options{}); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Commit = %v, want ErrClosed", err)
	}
	if err := apply.Restore(context.Background(), n, receipt.Before); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Restore = %v, want ErrClosed", err)
	}
	if after := dump(t, host, ours); len(after.Messages) != len(before.Messages) {
		t.Error("the host has our table")
	}
}

func TestRestoreElsewhere(t *testing.T) {
	a, b := newNS(t), newNS(t)
	receipt := commit(t, a, apply.Batch{Messages: []netlink.Message{table("ours")}})
	if err := apply.Restore(context.Background(), b, receipt.Before); err == nil {
		t.Error("a snapshot of one namespace was restored in another")
	}
}

// withoutRights makes TestWithoutRights run its body, in the namespace of this
// inode.
const withoutRights = "APPLY_TEST_NAMESPACE"

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
		_, err = apply.Commit(context.Background(), n, []apply.Batch{{Messages: []netlink.Message{table("ours")}}}, apply.Options{})
		if e := refused(t, err); !e.Missing || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("Commit = %v, want an error that names the right", err)
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

func TestTenThousandRules(t *testing.T) {
	n := newNS(t)
	messages := []netlink.Message{table("ours"), chain("x")}
	for range 10000 {
		m := rule("x", "counter")
		m.Data = nfnetlink.AppendAttr(m.Data, unix.NFTA_RULE_USERDATA, make([]byte, 100))
		messages = append(messages, m)
	}
	commit(t, n, apply.Batch{Messages: messages})
	if got := len(dump(t, n).Messages); got != len(messages) {
		t.Errorf("kernel holds %d messages, want %d", got, len(messages))
	}
}

// TestRestore replaces tables that are hard to make again, restores them, and
// wants identical raw dumps; what others did meanwhile stays.
func TestRestore(t *testing.T) {
	n := newNS(t)
	run(t, n, `table inet foreign {
	set banned { type ipv4_addr; elements = { 192.0.2.1 } }
	chain c { type filter hook input priority -10; ip saddr @banned drop; }
}
table inet ours {
	counter hits { packets 12 bytes 3400; }
	quota q { over 10 mbytes used 1 mbytes; }
	set timed { type ipv4_addr; timeout 1h; elements = { 192.0.2.1 timeout 2h expires 90m, 192.0.2.2 } }
	set moving { type ipv4_addr; size 100; flags dynamic,timeout; elements = { 192.0.2.9 timeout 1d } }
	map verdicts { type inet_service : verdict; flags interval; elements = { 1-5 : jump ssh, 22 : goto ssh } }
	map byport { type inet_service : counter; elements = { 80 : "hits" }; }
	chain ssh { ip saddr { 10.0.0.0/8, 192.0.2.0/24 } counter packets 7 bytes 420 accept; }
	chain input { type filter hook input priority 0; policy drop; tcp dport vmap @verdicts; counter name tcp dport map @byport; quota name "q" drop; update @moving { ip saddr limit rate 5/minute }; }
}
`, "nft", "-f", "-")
	run(t, n, `*filter
:INPUT DROP [7:900]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:guard - [0:0]
[3:180] -A INPUT -p tcp -m tcp --dport 22 -m recent --set --name ssh --mask 255.255.255.255 --rsource
-A INPUT -p udp -m string --string "attack" --algo bm --to 65535 -j DROP
-A INPUT ! -p tcp -m connmark --mark 0x1 -j guard
-A INPUT -p tcp -m multiport --dports 80,443 -m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 10 --hashlimit-mode srcip --hashlimit-name web -j ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A guard -m addrtype --dst-type LOCAL -j LOG --log-prefix "local " --log-level 6
COMMIT
`, "iptables-nft-restore", "--counters")
	before := dump(t, n)
	saved := run(t, n, "", "iptables-nft-save", "-c")

	filter := nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, "filter")
	first := apply.Batch{Messages: []netlink.Message{
		deleteTable("ours"), table("ours"), chain("x"), rule("x", "counter"),
	}}
	second := apply.Batch{Messages: []netlink.Message{
		nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, unix.NFPROTO_IPV4, filter), rule("x", "notrack"),
	}}
	receipt := commit(t, n, first, second)
	if got := len(dump(t, n).Tables()); got != 2 || receipt.Stages != 2 {
		t.Fatalf("after the commit: %d tables, %d stages, want 2 and 2", got, receipt.Stages)
	}
	// Others go on meanwhile.
	run(t, n, "", "nft", "add", "element", "inet", "foreign", "banned", "{ 192.0.2.77 }")
	run(t, n, "", "nft", "add", "table", "ip", "late")
	foreign := []nfnetlink.Table{{Family: unix.NFPROTO_INET, Name: "foreign"}, {Family: unix.NFPROTO_IPV4, Name: "late"}}
	others := dump(t, n).Only(foreign...)

	if err := apply.Restore(context.Background(), n, receipt.Before); err != nil {
		t.Fatal(err)
	}
	after := dump(t, n)
	tables := receipt.Before.Tables
	// The time that elements have left went on; all else is identical.
	if diff := cmp.Diff(printed(before.Only(tables...), nfnetlink.KeepElements), printed(after.Only(tables...), nfnetlink.KeepElements)); diff != "" {
		t.Errorf("restored tables (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(rulesOf(saved), rulesOf(run(t, n, "", "iptables-nft-save", "-c"))); diff != "" {
		t.Errorf("iptables-nft-save -c (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(others, after.Only(foreign...), sameData); diff != "" {
		t.Errorf("foreign tables changed (-before +after):\n%s", diff)
	}
	listing := run(t, n, "", "nft", "list", "table", "inet", "ours")
	for _, word := range []string{"packets 12 bytes 3400", "packets 7 bytes 420", "used 1 mbytes", "timeout 2h expires 1h29m", "192.0.2.9 timeout 1d", "policy drop"} {
		if !strings.Contains(listing, word) {
			t.Errorf("restored table lacks %q:\n%s", word, listing)
		}
	}
	// Twice is once.
	if err := apply.Restore(context.Background(), n, receipt.Before); err != nil {
		t.Errorf("second Restore: %v", err)
	}
}

// rulesOf returns what iptables-save printed without its dates.
func rulesOf(saved string) []string {
	var lines []string
	for line := range strings.Lines(saved) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// sameData compares messages by their bytes after the netfilter header, which
// holds the generation.
var sameData = cmp.Comparer(func(a, b netlink.Message) bool {
	return a.Header.Type == b.Header.Type && string(a.Data[4:]) == string(b.Data[4:])
})
