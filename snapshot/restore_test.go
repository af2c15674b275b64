package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// what is what the migration of the tests changes; the new table is not in the
// snapshot.
var what = append(slices.Clone(parts), "nf_tables table inet firewall")

func lockIn(t *testing.T) xtables.LockOptions {
	return xtables.LockOptions{Path: filepath.Join(t.TempDir(), "lock"), Wait: 10 * time.Second}
}

// migrate puts the new table in the place of everything else.
func migrate(t *testing.T, n *netns.NS) {
	t.Helper()
	run(t, n, newText, "nft", "-f", "-")
	c, err := xtables.Dial(n)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range []struct {
		family uint8
		name   string
	}{{unix.NFPROTO_IPV4, "filter"}, {unix.NFPROTO_IPV4, "nat"}, {unix.NFPROTO_IPV6, "filter"}} {
		for _, change := range []func(*xtables.Table) *xtables.Table{
			func(t *xtables.Table) *xtables.Table { return xtables.Policies(t, xtables.Accept) }, xtables.Empty,
		} {
			err := c.Change(context.Background(), lockIn(t), x.family, x.name, func(t *xtables.Table) (*xtables.Table, error) { return change(t), nil })
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	run(t, n, "", "iptables-nft", "-t", "mangle", "-P", "FORWARD", "ACCEPT")
	run(t, n, "", "iptables-nft", "-t", "mangle", "-F")
	run(t, n, "", "nft", "delete", "table", "inet", "native")
	for _, set := range []string{"all", "hosts", "bans", "filled"} {
		run(t, n, "", "ipset", "destroy", set)
	}
}

// checkRestored wants everything to be what it was.
func checkRestored(t *testing.T, n *netns.NS, before *Snapshot, lines []string) {
	t.Helper()
	now := takeOf(t, n)
	if changed := Changed(before, now); len(changed) > 0 {
		t.Errorf("after the restoring: %q", changed)
	}
	if diff := cmp.Diff(lines, listing(t, n)); diff != "" {
		t.Errorf("what the tools tell (-before +after):\n%s", diff)
	}
}

// TestRestore migrates, restores from the file, and wants everything to be there
// again, counters included, and nothing of others to have changed (G12, G15, G16).
func TestRestore(t *testing.T) {
	n := newNS(t)
	// Sets that are in use cannot be destroyed, and get other numbers when they are
	// made again.
	run(t, n, "create early hash:ip\n", "ipset", "restore")
	fill(t, n)
	run(t, n, "", "ipset", "destroy", "early")
	lines := listing(t, n)
	before := takeOf(t, n)
	migrate(t, n)
	left := takeOf(t, n)
	// Others go on meanwhile.
	run(t, n, "", "iptables-legacy", "-t", "raw", "-A", "OUTPUT", "-j", "NOTRACK")
	run(t, n, "", "nft", "add", "table", "ip", "foreign")
	run(t, n, "", "ipset", "create", "theirs", "hash:ip")
	run(t, n, "", "iptables-legacy", "-A", "INPUT", "-s", "198.51.100.7", "-j", "DROP")

	report, err := roundTrip(t, before).Restore(context.Background(), n, What{Parts: what, Left: left, Lock: lockIn(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Restored) != len(parts) || !slices.Equal(report.Removed, []string{"nf_tables table inet firewall"}) {
		t.Errorf("report %+v, want all parts restored and the new table removed", report)
	}
	if want := []string{"legacy table ip filter: it had 0 rules and has 1"}; !slices.Equal(report.Overwritten, want) {
		t.Errorf("overwritten %q, want %q", report.Overwritten, want)
	}
	want := []string{"ipset theirs was added", "legacy table ip raw was added", "nf_tables table ip foreign was added"}
	if got := Changed(before, takeOf(t, n)); !slices.Equal(got, want) {
		t.Errorf("after the restoring: %q, want %q", got, want)
	}
	if raw := run(t, n, "", "iptables-legacy-save", "-t", "raw"); !strings.Contains(raw, "-A OUTPUT -j ") {
		t.Errorf("the table of others lost its rule:\n%s", raw)
	}
	run(t, n, "", "iptables-legacy", "-t", "raw", "-F")
	generation := takeOf(t, n).Generation

	// Twice is once (G28).
	report, err = before.Restore(context.Background(), n, What{Parts: what, Lock: lockIn(t)})
	if err != nil || len(report.Restored)+len(report.Removed) > 0 || len(report.Unchanged) != len(what) {
		t.Errorf("restored again: %+v, %v; want all unchanged", report, err)
	}
	if after := takeOf(t, n); after.Generation != generation {
		t.Errorf("restoring again committed something")
	}
	after := listing(t, n)
	if diff := cmp.Diff(lines, after[slices.Index(after, "COMMIT\n")+1:]); diff != "" { // raw comes first
		t.Errorf("what the tools tell (-before +after):\n%s", diff)
	}
}

// TestCountersLost is about a process that was killed after it replaced a table and
// before it gave it its counters.
func TestCountersLost(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before, lines := takeOf(t, n), listing(t, n)
	run(t, n, "", "iptables-legacy", "-Z")
	run(t, n, "", "iptables-legacy", "-t", "nat", "-Z")
	for range 2 {
		if _, err := before.Restore(context.Background(), n, What{Parts: parts, Lock: lockIn(t)}); err != nil {
			t.Fatal(err)
		}
		checkRestored(t, n, before, lines)
	}
}

// TestRestoreSome restores one part, and wants the others to stay as they are.
func TestRestoreSome(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before := takeOf(t, n)
	migrate(t, n)
	left := takeOf(t, n)
	if _, err := before.Restore(context.Background(), n, What{Parts: []string{"legacy table ip6 filter"}, Lock: lockIn(t)}); err != nil {
		t.Fatal(err)
	}
	want := []string{"legacy table ip6 filter changed: the policy of INPUT was ACCEPT and is DROP, the policy of FORWARD was ACCEPT and is DROP, it had 0 rules and has 1"}
	if diff := cmp.Diff(want, Changed(left, takeOf(t, n))); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

// TestRestoreRefused gives what cannot be restored.
func TestRestoreRefused(t *testing.T) {
	n, other := newNS(t), newNS(t)
	fill(t, n)
	before := takeOf(t, n)
	migrate(t, n)
	left := takeOf(t, n)
	ctx := context.Background()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, f := range map[string]func() error{
		"namespace":             func() error { _, err := before.Restore(ctx, other, What{Parts: parts}); return err },
		"is no part":            func() error { _, err := before.Restore(ctx, n, What{Parts: []string{"nonsense"}}); return err },
		"\"ipset \" is no part": func() error { _, err := before.Restore(ctx, n, What{Parts: []string{"ipset "}}); return err },
		"canceled":              func() error { _, err := before.Restore(cancelled, n, What{Parts: parts}); return err },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if changed := Changed(left, takeOf(t, n)); len(changed) > 0 {
		t.Errorf("a refused restoring changed %q", changed)
	}
	if changed := takeOf(t, other).Parts(); len(changed) > 0 {
		t.Errorf("another namespace has %q", changed)
	}
}

// TestRestoreIncomplete lets one part fail: the others come back, and the new
// table stays, because without it packets would meet no rules (G20).
func TestRestoreIncomplete(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before := takeOf(t, n)
	migrate(t, n)
	// The legacy table needs a set that is not restored.
	some := slices.DeleteFunc(slices.Clone(what), func(name string) bool { return name == "ipset all" })
	report, err := before.Restore(context.Background(), n, What{Parts: some, Lock: lockIn(t)})
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "legacy table ip filter") || !strings.Contains(err.Error(), `"all"`) {
		t.Errorf("error %v, want the part and the set", err)
	}
	if len(report.Removed) > 0 || !slices.Contains(report.Restored, "legacy table ip nat") {
		t.Errorf("report %+v, want the other parts restored and nothing removed", report)
	}
	if !slices.Contains(takeOf(t, n).Parts(), "nf_tables table inet firewall") {
		t.Error("the new table is gone, and the old rules are not there")
	}
	if _, err := before.Restore(context.Background(), n, What{Parts: what, Lock: lockIn(t)}); err != nil {
		t.Errorf("with the set: %v", err)
	}
}

// TestRestoreBusy has another program commit all the time while a restoring reads and
// commits (G14, G15): it comes to an end, and what the other made is there.
func TestRestoreBusy(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before := takeOf(t, n)
	migrate(t, n)
	run(t, n, "", "nft", "add", "table", "ip6", "steady")
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		commits := 0
		defer func() { done <- commits }()
		err := n.Do(func() error {
			c, err := nfnetlink.Dial()
			if err != nil {
				return err
			}
			defer c.Close()
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				for _, kind := range []int{unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE} {
					if err := nfnetlink.Send(c, tableBatch(kind, "busy"), nfnetlink.Options{}); err != nil {
						return err
					}
					commits++
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}()
	_, err := before.Restore(context.Background(), n, What{Parts: what, Lock: lockIn(t)})
	close(stop)
	commits := <-done
	if err != nil {
		t.Errorf("while others committed: %v", err)
	}
	t.Logf("others committed %d times", commits)
	if want, got := []string{"nf_tables table ip6 steady was added"}, Changed(before, takeOf(t, n)); !slices.Equal(got, want) {
		t.Errorf("after the restoring: %q, want %q", got, want)
	}
}

// TestTooLarge lets one batch be larger than the send buffer may become, as it is
// without rights outside of a user namespace (G23): then it is done in stages.
func TestTooLarge(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before, lines := takeOf(t, n), listing(t, n)
	migrate(t, n)
	defer func(real func(*nfnetlink.Conn, []netlink.Message, nfnetlink.Options) error) { send = real }(send)
	refused := 0
	real := send
	send = func(c *nfnetlink.Conn, batch []netlink.Message, o nfnetlink.Options) error {
		if len(batch) > 3 {
			refused++
			return &nfnetlink.SizeError{Size: 1 << 20, Limit: 1 << 10}
		}
		return real(c, batch, o)
	}
	if _, err := before.Restore(context.Background(), n, What{Parts: what, Lock: lockIn(t)}); err != nil {
		t.Fatal(err)
	}
	if refused != 1 {
		t.Errorf("%d batches were too large, want 1", refused)
	}
	checkRestored(t, n, before, lines)
}

// TestNoReceipt loses the kernel's answer, of commits that happened and of such that
// did not: what is read back decides.
func TestNoReceipt(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before, lines := takeOf(t, n), listing(t, n)
	migrate(t, n)
	real, sends := send, 0
	defer func() { send = real }()
	send = func(c *nfnetlink.Conn, batch []netlink.Message, o nfnetlink.Options) error {
		if sends++; sends%2 == 1 {
			return nfnetlink.ErrNoReceipt
		}
		if err := real(c, batch, o); err != nil {
			return err
		}
		return nfnetlink.ErrNoReceipt
	}
	if _, err := before.Restore(context.Background(), n, What{Parts: what, Lock: lockIn(t)}); err != nil {
		t.Fatal(err)
	}
	if sends < 8 {
		t.Errorf("%d batches were sent, want two for each of four steps", sends)
	}
	checkRestored(t, n, before, lines)
}

// TestOwned has a program hold a table (G17): nobody else can change it, and that
// is told.
func TestOwned(t *testing.T) {
	n := newNS(t)
	before := takeOf(t, n)
	var holder *nfnetlink.Conn
	err := n.Do(func() (err error) {
		if holder, err = nfnetlink.Dial(); err != nil {
			return err
		}
		held := nfnetlink.Table{Family: unix.NFPROTO_IPV6, Name: "held"}
		return nfnetlink.Send(holder, append(tableBatch(unix.NFT_MSG_NEWTABLE, "free"), tableMessage(unix.NFT_MSG_NEWTABLE, 1<<10, held, flagOwner)), nfnetlink.Options{})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	held := takeOf(t, n)
	if owned := held.Owned(); len(owned) != 1 || owned[0].Name != "held" {
		t.Errorf("Owned = %v", owned)
	}
	if _, err := before.Restore(context.Background(), n, What{Parts: held.Parts()}); !errors.Is(err, ErrOwned) || !strings.Contains(err.Error(), "ip6 held") {
		t.Errorf("removing a table of another program = %v, want ErrOwned", err)
	}
	trial, err := held.Try(context.Background())
	if err != nil || len(trial.Same) != 2 {
		t.Errorf("Try = %+v, %v", trial, err)
	}
	holder.Close()
	if _, err := held.Restore(context.Background(), n, What{Parts: held.Parts()}); err == nil || !strings.Contains(err.Error(), "restart that program") {
		t.Errorf("restoring a table that belonged to a program = %v", err)
	}
}

// TestLockHeld has another program keep the lock: a rollback goes on.
func TestLockHeld(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before, lines := takeOf(t, n), listing(t, n)
	migrate(t, n)
	options := lockIn(t)
	options.Wait = 20 * time.Millisecond
	unlock, err := xtables.Lock(context.Background(), options.Path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	report, err := before.Restore(context.Background(), n, What{Parts: what, Lock: options})
	if err != nil || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "without the lock") {
		t.Errorf("report %+v, %v; want a note on the lock", report, err)
	}
	checkRestored(t, n, before, lines)
}

// TestAnotherBoot restores a snapshot of another boot: devices that rules mean by
// numbers must still have them.
func TestAnotherBoot(t *testing.T) {
	n := newNS(t)
	run(t, n, "table inet t {\n chain c { type filter hook input priority 0; iif lo accept; }\n}\n", "nft", "-f", "-")
	before := takeOf(t, n)
	run(t, n, "", "nft", "delete", "table", "inet", "t")
	before.BootID, before.Namespace = "another", 1
	before.Devices = map[int]string{1: "eth7"}
	if _, err := before.Restore(context.Background(), n, What{Parts: before.Parts()}); err == nil || !strings.Contains(err.Error(), "eth7") {
		t.Errorf("Restore with a device that has another number = %v", err)
	}
	before.Devices = map[int]string{1: "lo"}
	if _, err := before.Restore(context.Background(), n, What{Parts: before.Parts()}); err != nil {
		t.Errorf("Restore with the same devices = %v", err)
	}
}

// TestTry tries a snapshot (G13): everything comes back, and what cannot be tried
// is named.
func TestTry(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	run(t, n, "table netdev early {\n chain c { type filter hook ingress device lo priority 0; }\n}\n", "nft", "-f", "-")
	s := takeOf(t, n)
	trial, err := s.Try(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parts, trial.Same); diff != "" {
		t.Errorf("came back the same (-want +got):\n%s", diff)
	}
	if len(trial.Untried) != 1 || trial.Untried[0].Part != "nf_tables table netdev early" || !strings.Contains(trial.Untried[0].Why, "devices") {
		t.Errorf("untried: %+v", trial.Untried)
	}
	if changed := Changed(s, takeOf(t, n)); len(changed) > 0 {
		t.Errorf("trying changed %q", changed)
	}
}

// TestTryElsewhere has a rule that means an object which is in no snapshot, so that a
// new namespace refuses it: that is named, and nothing else is left out.
func TestTryElsewhere(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	err := n.Do(func() error {
		c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		const newObject, name = 7 << 8, 1 // NFNL_MSG_ACCT_NEW, NFACCT_NAME
		_, err = c.Execute(netlink.Message{
			Header: netlink.Header{Type: newObject, Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
			Data:   nfnetlink.AppendString(make([]byte, 4), name, "web"),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, n, "", "iptables-legacy", "-A", "INPUT", "-m", "nfacct", "--nfacct-name", "web")
	trial, err := takeOf(t, n).Try(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(trial.Untried) != 1 || trial.Untried[0].Part != "legacy table ip filter" || !strings.Contains(trial.Untried[0].Why, "accounting objects") {
		t.Errorf("untried: %+v", trial.Untried)
	}
	if len(trial.Same) != len(parts)-1 {
		t.Errorf("came back: %q", trial.Same)
	}
}

// TestTryFinds plants what does not come back.
func TestTryFinds(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	good := takeOf(t, n)
	for _, c := range []struct {
		want  string
		plant func(s *Snapshot)
	}{
		{"hash:moon", func(s *Snapshot) { set := *s.set("hosts"); set.Type = "hash:moon"; s.Sets[s.at("hosts")] = &set }},
		{"legacy table ip filter", func(s *Snapshot) { s.Sets = slices.Delete(s.Sets, s.at("hosts"), s.at("hosts")+1) }},
		{"nf_tables table inet native", func(s *Snapshot) { // a chain that a rule jumps to is missing
			s.Ruleset = slices.DeleteFunc(s.Ruleset, func(m message) bool {
				kind, _ := nfnetlink.Kind(m)
				return kind == unix.NFT_MSG_NEWCHAIN && nfnetlink.FindString(nfnetlink.Attributes(m), unix.NFTA_CHAIN_NAME) == "ssh"
			})
		}},
	} {
		s := *good
		s.Sets, s.Ruleset = slices.Clone(good.Sets), slices.Clone(good.Ruleset)
		c.plant(&s)
		trial, err := s.Try(context.Background())
		want := c.want
		if want == "hash:moon" {
			want = "ipset hosts"
		}
		if err == nil || !strings.Contains(err.Error(), want) || slices.Contains(trial.Same, want) {
			t.Errorf("%s: Try = %+v, %v", c.want, trial, err)
		}
		if !slices.Contains(trial.Same, "legacy table ip6 filter") {
			t.Errorf("%s: the other parts are not tried: %q", c.want, trial.Same)
		}
	}
}

func (s *Snapshot) at(set string) int {
	return slices.Index(s.Sets, s.set(set))
}

// killAt makes TestKilled restore, in the namespace of killNS, from the file killFile,
// and be killed at the step of this number.
const (
	killAt   = "SNAPSHOT_TEST_KILL"
	killNS   = "SNAPSHOT_TEST_KILL_NAMESPACE"
	killFile = "SNAPSHOT_TEST_KILL_FILE"
)

// TestKilled kills a process before and after every change that a restoring makes
// to the kernel, and restores again: the state is that of the snapshot, counters
// included, wherever it was (G2, G28).
func TestKilled(t *testing.T) {
	if os.Getenv(killAt) != "" {
		killedChild(t)
		return
	}
	n := newNS(t)
	fill(t, n)
	before, lines := takeOf(t, n), listing(t, n)
	file := filepath.Join(t.TempDir(), "snapshot")
	if err := before.Write(file); err != nil {
		t.Fatal(err)
	}
	options := lockIn(t)
	for step := 1; ; step++ {
		if step > 100 {
			t.Fatal("a restoring has more than 100 steps")
		}
		migrate(t, n)
		cmd := n.Command("/proc/self/exe", "-test.run=^TestKilled$", "-test.v")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", killAt, step), killNS+"="+strconv.FormatUint(n.Inode(), 10), killFile+"="+file)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL
		if !killed && (err != nil || !strings.Contains(string(out), "--- PASS")) {
			t.Fatalf("step %d: %v\n%s", step, err, out)
		}
		s, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Restore(context.Background(), n, What{Parts: what, Lock: options}); err != nil {
			t.Fatalf("after a kill at step %d: %v", step, err)
		}
		checkRestored(t, n, before, lines)
		if t.Failed() {
			t.Fatalf("after a kill at step %d", step)
		}
		if !killed {
			if step < 20 {
				t.Errorf("a restoring has only %d steps", step)
			}
			t.Logf("killed at %d steps", step-1)
			return
		}
	}
}

func killedChild(t *testing.T) {
	n, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if got := strconv.FormatUint(n.Inode(), 10); got != os.Getenv(killNS) {
		t.Fatalf("in namespace %s, want %s", got, os.Getenv(killNS))
	}
	s, err := Read(os.Getenv(killFile))
	if err != nil {
		t.Fatal(err)
	}
	last, _ := strconv.Atoi(os.Getenv(killAt))
	step := 0
	onStep = func(string) {
		if step++; step == last {
			unix.Kill(unix.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	if _, err := s.Restore(context.Background(), n, What{Parts: what, Lock: lockIn(t)}); err != nil {
		t.Fatal(err)
	}
}
