package nfnetlink_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

// dial returns a private namespace and a socket in it.
func dial(t *testing.T) (*netns.NS, *nfnetlink.Conn) {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS)
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	var c *nfnetlink.Conn
	if err := n.Do(func() (err error) { c, err = nfnetlink.Dial(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if inode, err := c.Namespace(); err != nil || inode != n.Inode() {
		t.Fatalf("socket is in namespace %d, error %v, want %d", inode, err, n.Inode())
	}
	return n, c
}

// run runs a tool in a namespace with a text on its input.
func run(t *testing.T, n *netns.NS, input, name string, args ...string) string {
	t.Helper()
	testkit.Need(t, testkit.Tool(name))
	cmd := n.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func dump(t *testing.T, c *nfnetlink.Conn) *nfnetlink.Dump {
	t.Helper()
	d, err := nfnetlink.DumpRuleset(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func send(t *testing.T, c *nfnetlink.Conn, batch []netlink.Message) {
	t.Helper()
	if err := nfnetlink.Send(c, batch, nfnetlink.Options{}); err != nil {
		t.Fatal(err)
	}
}

// printed shows normalised messages, one per line.
func printed(messages []netlink.Message, keep nfnetlink.Keep) []string {
	var lines []string
	for _, m := range nfnetlink.Normalise(messages, keep) {
		kind, _ := nfnetlink.Kind(m)
		lines = append(lines, fmt.Sprintf("%d %q", kind, m.Data))
	}
	return lines
}

func table(name string) netlink.Message {
	return nfnetlink.Message(unix.NFT_MSG_NEWTABLE, netlink.Create, unix.NFPROTO_INET, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, name))
}

func chain(table, name string) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, table)
	return nfnetlink.Message(unix.NFT_MSG_NEWCHAIN, netlink.Create, unix.NFPROTO_INET, nfnetlink.AppendString(attrs, unix.NFTA_CHAIN_NAME, name))
}

// rule returns a rule of one expression without data.
func rule(table, chain, expression string) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_RULE_TABLE, table)
	attrs = nfnetlink.AppendString(attrs, unix.NFTA_RULE_CHAIN, chain)
	e := nfnetlink.AppendAttr(nil, 1|netlink.Nested, nfnetlink.AppendString(nil, unix.NFTA_EXPR_NAME, expression))
	attrs = nfnetlink.AppendAttr(attrs, unix.NFTA_RULE_EXPRESSIONS|netlink.Nested, e)
	return nfnetlink.Message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, unix.NFPROTO_INET, attrs)
}

func TestSend(t *testing.T) {
	_, c := dial(t)
	if err := nfnetlink.Send(c, nil, nfnetlink.Options{}); err != nil {
		t.Errorf("empty batch: %v", err)
	}
	before, err := nfnetlink.Generation(c)
	if err != nil {
		t.Fatal(err)
	}
	send(t, c, []netlink.Message{table("a"), chain("a", "x"), rule("a", "x", "notrack"), rule("a", "x", "counter")})
	after, err := nfnetlink.Generation(c)
	if err != nil || after != before+1 {
		t.Errorf("generation %d, error %v, want %d", after, err, before+1)
	}
	if got := len(dump(t, c).Messages); got != 4 {
		t.Errorf("dump has %d messages, want 4", got)
	}
}

func TestSendNamesEachFailure(t *testing.T) {
	_, c := dial(t)
	send(t, c, []netlink.Message{table("old")})
	want := dump(t, c)
	begin := netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN}, Data: []byte{0, 0, 0, 10}}
	err := nfnetlink.Send(c, []netlink.Message{
		begin, table("a"), chain("a", "x"), rule("a", "x", "counter"), rule("a", "x", "no-such-thing"),
		rule("a", "x", "counter"), rule("a", "missing", "counter"), rule("a", "x", "counter"),
	}, nfnetlink.Options{})
	var refused *nfnetlink.CommitError
	if !errors.As(err, &refused) || !errors.Is(err, unix.ENOENT) || errors.Is(err, nfnetlink.ErrStale) {
		t.Fatalf("Send = %v, want a CommitError with ENOENT", err)
	}
	indices := []int{}
	for _, f := range refused.Failures {
		indices = append(indices, f.Index)
	}
	if diff := cmp.Diff([]int{4, 6}, indices); diff != "" {
		t.Errorf("failed messages (-want +got):\n%s", diff)
	}
	if last := refused.Failures[1]; last.Offset == 0 {
		t.Errorf("no place of the attribute in %v", last)
	}
	if got := dump(t, c); got.Generation != want.Generation || !nfnetlink.Equal(got.Messages, want.Messages, nfnetlink.KeepVolatile) {
		t.Error("a refused batch changed the ruleset")
	}
}

func TestSendManyFailures(t *testing.T) {
	_, c := dial(t)
	batch := []netlink.Message{table("a"), chain("a", "x")}
	for range 20000 {
		batch = append(batch, rule("a", "x", "no-such-thing"))
	}
	err := nfnetlink.Send(c, batch, nfnetlink.Options{})
	var refused *nfnetlink.CommitError
	if !errors.As(err, &refused) || len(refused.Failures) == 0 {
		t.Fatalf("Send = %v, want a CommitError with failures", err)
	}
	if len(refused.Failures) < 20000 && !refused.Incomplete {
		t.Errorf("%d failures, not said to be incomplete", len(refused.Failures))
	}
	if got := len(dump(t, c).Messages); got != 0 {
		t.Errorf("dump has %d messages, want none", got)
	}
	send(t, c, batch[:2]) // the socket still works
}

func TestSendStale(t *testing.T) {
	n, c := dial(t)
	generation, err := nfnetlink.Generation(c)
	if err != nil {
		t.Fatal(err)
	}
	run(t, n, "", "nft", "add", "table", "ip", "foreign")
	err = nfnetlink.Send(c, []netlink.Message{table("a")}, nfnetlink.Options{Generation: &generation})
	if !errors.Is(err, nfnetlink.ErrStale) || !errors.Is(err, unix.ERESTART) {
		t.Errorf("Send with an old generation = %v, want ErrStale", err)
	}
	if got := dump(t, c).Tables(); len(got) != 1 {
		t.Errorf("tables %v, want only the foreign one", got)
	}
	generation++
	if err := nfnetlink.Send(c, []netlink.Message{table("a")}, nfnetlink.Options{Generation: &generation}); err != nil {
		t.Errorf("Send with the current generation: %v", err)
	}
}

func TestSendTenThousandRules(t *testing.T) {
	_, c := dial(t)
	batch := []netlink.Message{table("a"), chain("a", "x")}
	for range 10000 {
		m := rule("a", "x", "counter")
		m.Data = nfnetlink.AppendAttr(m.Data, unix.NFTA_RULE_USERDATA, make([]byte, 200))
		batch = append(batch, m)
	}
	send(t, c, batch)
	if got := len(dump(t, c).Messages); got != len(batch) {
		t.Errorf("dump has %d messages, want %d", got, len(batch))
	}
}

func TestDumpWhileOthersCommit(t *testing.T) {
	n, c := dial(t)
	batch := []netlink.Message{table("a"), chain("a", "x")}
	for range 2000 {
		batch = append(batch, rule("a", "x", "counter"))
	}
	send(t, c, batch)
	var other *nfnetlink.Conn
	if err := n.Do(func() (err error) { other, err = nfnetlink.Dial(); return err }); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := nfnetlink.Send(other, []netlink.Message{rule("a", "x", "counter")}, nfnetlink.Options{}); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 5 {
		d, err := nfnetlink.DumpRuleset(c)
		if errors.Is(err, nfnetlink.ErrUnstable) {
			continue // said so: that is right too
		}
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range d.Messages {
			if kind, _ := nfnetlink.Kind(m); kind != unix.NFT_MSG_NEWRULE {
				continue
			}
			handle := string(nfnetlink.Find(nfnetlink.Attributes(m), unix.NFTA_RULE_HANDLE))
			if seen[handle] {
				t.Fatalf("rule handle %x twice in one dump", handle)
			}
			seen[handle] = true
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// TestDumpOfGrowingSet reads a set right after it was filled, while the kernel
// still enlarges its hash table.
func TestDumpOfGrowingSet(t *testing.T) {
	const count = 100000
	_, c := dial(t)
	attrs := nfnetlink.AppendString(nil, unix.NFTA_SET_TABLE, "a")
	attrs = nfnetlink.AppendString(attrs, unix.NFTA_SET_NAME, "s")
	set := attrs
	set = nfnetlink.AppendUint32(set, unix.NFTA_SET_KEY_LEN, 4)
	set = nfnetlink.AppendUint32(set, unix.NFTA_SET_ID, 1)
	batch := []netlink.Message{table("a"), nfnetlink.Message(unix.NFT_MSG_NEWSET, netlink.Create, unix.NFPROTO_INET, set)}
	for i := 0; i < count; {
		var list []byte
		for range 2000 {
			key := nfnetlink.AppendAttr(nil, unix.NFTA_SET_ELEM_KEY|netlink.Nested, nfnetlink.AppendUint32(nil, unix.NFTA_DATA_VALUE, uint32(i)))
			list = nfnetlink.AppendAttr(list, 1|netlink.Nested, key)
			i++
		}
		elements := nfnetlink.AppendAttr(bytes.Clone(attrs), unix.NFTA_SET_ELEM_LIST_ELEMENTS|netlink.Nested, list)
		batch = append(batch, nfnetlink.Message(unix.NFT_MSG_NEWSETELEM, netlink.Create, unix.NFPROTO_INET, elements))
	}
	for range 3 {
		send(t, c, batch)
		elements := map[string]bool{} // one twice and one missing is the same number
		for _, m := range nfnetlink.Normalise(dump(t, c).Messages, 0) {
			if kind, _ := nfnetlink.Kind(m); kind == unix.NFT_MSG_NEWSETELEM {
				elements[string(m.Data)] = true
			}
		}
		if len(elements) != count {
			t.Fatalf("%d elements, want %d", len(elements), count)
		}
		send(t, c, []netlink.Message{nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, unix.NFPROTO_INET, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, "a"))})
	}
}

func TestDumpOfSomeTables(t *testing.T) {
	_, c := dial(t)
	send(t, c, []netlink.Message{table("a"), chain("a", "x"), rule("a", "x", "counter"), table("b"), chain("b", "y"), rule("b", "y", "counter")})
	whole := dump(t, c)
	b := nfnetlink.Table{Family: unix.NFPROTO_INET, Name: "b"}
	d, err := nfnetlink.DumpRuleset(c, b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(printed(whole.Only(b), 0), printed(d.Messages, 0)); diff != "" || len(d.Messages) != 3 {
		t.Errorf("dump of one table (-part of the whole +got):\n%s", diff)
	}
}
