package apply_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// run runs a tool in a namespace with a text on its input.
func run(t *testing.T, n *netns.NS, input, name string, args ...string) string {
	t.Helper()
	testkit.Need(t, testkit.Tool(name))
	cmd := n.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func dump(t *testing.T, n *netns.NS, tables ...nfnetlink.Table) *nfnetlink.Dump {
	t.Helper()
	var d *nfnetlink.Dump
	err := n.Do(func() error {
		c, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err = nfnetlink.DumpRuleset(c, tables...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// printed shows normalised messages, one per line.
func printed(messages []netlink.Message, keep nfnetlink.Keep) []string {
	var lines []string
	for _, m := range nfnetlink.Normalise(messages, keep) {
		lines = append(lines, fmt.Sprintf("%v %q", m.Header.Type, m.Data))
	}
	return lines
}

const everything = nfnetlink.KeepVolatile | nfnetlink.KeepElements

// hexLine is a line of strace's dump of a buffer.
var hexLine = regexp.MustCompile(`^ \| [0-9a-f]+  ((?:[0-9a-f]{2} {1,2}){1,16}) `)

// sentBy returns the batch that nft itself sends for a text when others were
// loaded before.
func sentBy(t *testing.T, text string, before ...string) []netlink.Message {
	t.Helper()
	testkit.Need(t, testkit.Tool("strace"))
	n := newNS(t)
	for _, b := range before {
		run(t, n, b, "nft", "-f", "-")
	}
	trace := run(t, n, text, "strace", "-f", "-qq", "-e", "trace=sendmsg", "-e", "write=all", "-e", "signal=none", "nft", "-f", "-")
	var current []byte
	for line := range strings.Lines(trace) {
		m := hexLine.FindStringSubmatch(line)
		if m == nil {
			current = nil
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		current = append(current, b...)
	}
	if current == nil {
		t.Fatalf("no batch in the trace:\n%.2000s", trace)
	}
	messages, err := nfnetlink.Unmarshal(current)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func commit(t *testing.T, n *netns.NS, batches ...apply.Batch) *apply.Receipt {
	t.Helper()
	receipt, err := apply.Commit(context.Background(), n, batches, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func refused(t *testing.T, err error) *apply.Error {
	t.Helper()
	var e *apply.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want an apply.Error", err)
	}
	return e
}

// messages for rules that are bad on purpose.
func rule(chain, expression string) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_RULE_TABLE, "ours")
	attrs = nfnetlink.AppendString(attrs, unix.NFTA_RULE_CHAIN, chain)
	e := nfnetlink.AppendAttr(nil, 1|netlink.Nested, nfnetlink.AppendString(nil, unix.NFTA_EXPR_NAME, expression))
	attrs = nfnetlink.AppendAttr(attrs, unix.NFTA_RULE_EXPRESSIONS|netlink.Nested, e)
	return nfnetlink.Message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, unix.NFPROTO_INET, attrs)
}

func table(name string) netlink.Message {
	return nfnetlink.Message(unix.NFT_MSG_NEWTABLE, netlink.Create, unix.NFPROTO_INET, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, name))
}

func deleteTable(name string) netlink.Message {
	return nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, unix.NFPROTO_INET, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, name))
}

func chain(name string) netlink.Message {
	attrs := nfnetlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, "ours")
	return nfnetlink.Message(unix.NFT_MSG_NEWCHAIN, netlink.Create, unix.NFPROTO_INET, nfnetlink.AppendString(attrs, unix.NFTA_CHAIN_NAME, name))
}

var ours = nfnetlink.Table{Family: unix.NFPROTO_INET, Name: "ours"}

const oldText = `table inet ours {
	set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
	chain input { type filter hook input priority 0; policy accept; ip saddr @s tcp dport { 22, 80 } accept; counter drop; }
}
`

func TestCommit(t *testing.T) {
	n := newNS(t)
	run(t, n, "table inet foreign { chain c { counter accept; }; }\n"+oldText, "nft", "-f", "-")
	before := dump(t, n)
	receipt := commit(t, n, apply.Batch{Messages: []netlink.Message{
		table("ours"), deleteTable("ours"), table("ours"), chain("x"), rule("x", "counter"), rule("x", "notrack"),
	}})
	after := dump(t, n)
	if receipt.Generation != after.Generation || receipt.Stages != 1 || receipt.Messages != 6 {
		t.Errorf("receipt %+v, want generation %d, 1 stage, 6 messages", receipt, after.Generation)
	}
	if got := len(after.Only(ours)); got != 4 {
		t.Errorf("our table has %d messages, want 4", got)
	}
	if err := apply.Restore(context.Background(), n, receipt.Before); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(printed(before.Messages, everything), printed(dump(t, n).Messages, everything)); diff != "" {
		t.Errorf("after Restore (-before +after):\n%s", diff)
	}
}

// TestCommitOfNftsOwnBatches sends what nft sends for many expressions and has
// the read-back accept what the kernel makes of it.
func TestCommitOfNftsOwnBatches(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"old", oldText},
		{"sets", `table inet t {
	set timed { type ipv4_addr; timeout 1h; size 100; flags dynamic,timeout; elements = { 192.0.2.1 timeout 2h, 192.0.2.2 } }
	set pairs { type ipv4_addr . inet_service; flags interval; counter; elements = { 10.0.0.0/8 . 80-90, 192.0.2.1 . 22 } }
	set spans { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/8, 192.0.2.0-192.0.2.9, 255.255.255.0-255.255.255.255 } }
	set marks { type mark; elements = { 0x1, 0x22 comment "two" } }
	map tomark { type ipv4_addr : mark; elements = { 192.0.2.1 : 0x01 } }
	map verdicts { type inet_service : verdict; flags interval; elements = { 1-5 : jump ssh, 22 : goto ssh, 80 : drop } }
	chain ssh { ip saddr @spans accept; }
	chain c {
		ip saddr . tcp dport @pairs accept
		tcp dport vmap @verdicts
		tcp dport vmap { 22 : jump ssh, 23 : drop }
		tcp dport { 80, 443, 8000-8100 } accept
		ip saddr . tcp dport { 192.0.2.1 . 22, 192.0.2.2 . 23 } accept
		meta mark set ip saddr map @tomark
		iifname { "lo", "eth*" } accept
		add @timed { ip saddr timeout 5m }
		update @timed { ip saddr limit rate over 5/minute } drop
		update @timed { ip saddr limit rate over 5/minute counter } drop
		delete @timed { ip saddr }
		tcp dport 22 jump { ip saddr 192.0.2.1 accept; drop; }
	}
}
`},
		{"objects", `table inet t {
	counter hits { packets 12 bytes 3400; }
	quota q { over 10 mbytes used 1 mbytes; }
	limit l { rate 400/minute burst 7 packets; }
	ct helper ftp { type "ftp" protocol tcp; }
	ct timeout short { protocol tcp; l3proto ip; policy = { established : 100, close : 4 }; }
	map byport { type inet_service : counter; elements = { 80 : "hits" }; }
	chain c { counter name "hits"; quota name "q" drop; limit name "l" accept; ct helper set "ftp"; counter name tcp dport map @byport; }
}
`},
		{"expressions", `table inet t {
	chain nat { type nat hook prerouting priority -100; meta l4proto tcp dnat ip to 192.0.2.1:80-90 random,persistent; tcp dport 81 redirect to :8080; tcp dport 82 redirect; dnat ip to 192.0.2.9; ip daddr 10.0.0.0/8 dnat ip to 192.0.2.1-192.0.2.7; }
	chain post { type nat hook postrouting priority 100; masquerade; masquerade random; meta l4proto tcp masquerade to :1024-2048 random; ip saddr 10.0.0.0/8 snat ip prefix to ip saddr map { 10.0.0.0/24 : 192.0.2.0/24 }; }
	chain route { type route hook output priority -150; meta mark set 0x5 ; }
	chain base { type filter hook forward priority -300; policy drop; }
	chain c {
		ct state new,established ct direction original accept
		ct original ip saddr 192.0.2.1 ct bytes > 100 ct mark and 0xff == 0x12 accept
		ct reply packets 5-10 ct status dnat accept
		ct mark set meta mark and 0xffff or 0x10000
		limit rate 5/second accept
		limit rate over 10 mbytes/second burst 5 kbytes drop
		log
		log prefix "x: " level info flags all
		log group 3 snaplen 128 queue-threshold 5
		tcp option maxseg size set rt mtu
		tcp option maxseg size set 1400
		tcp flags syn / syn,ack,rst,fin tcp option maxseg size 1-500 drop
		tcp option sack-perm exists accept
		reset tcp option timestamp
		exthdr frag exists drop
		meta length > 100 ip ttl 1-64 ip dscp set cs1 accept
		ip6 hoplimit set 64
		ip6 daddr set 2001:db8::1
		fib daddr . iif type local accept
		fib saddr oif missing drop
		numgen random mod 10 < 5 accept
		numgen inc mod 2 vmap { 0 : accept, 1 : drop }
		meta mark set jhash ip saddr . tcp sport mod 16 seed 0xabc offset 100
		socket transparent 1 accept
		rt ip nexthop 192.0.2.1 accept
		osf name "Linux" drop
		meta skuid 1000-2000 meta cgroup 5 meta rtclassid 7 meta pkttype broadcast accept
		quota over 5 mbytes drop
		ct count over 4 reject with tcp reset
		reject
		ip protocol icmp reject with icmp type host-prohibited
		reject with icmpx type admin-prohibited
		notrack
		@th,16,16 22 accept
		ip daddr set 192.0.2.9
		meta nftrace set 1
		ip saddr & 255.0.255.0 != 10.0.3.0 accept
		tcp dport 99 tproxy to :100
		ip protocol tcp synproxy mss 1400 wscale 6
		return
	}
}
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNS(t)
			batch := sentBy(t, c.text)
			commit(t, n, apply.Batch{Messages: batch})
			// And again on top of what is there, in a table that is replaced.
			again := dump(t, n)
			var replaced []netlink.Message
			for _, table := range again.Tables() {
				replaced = append(replaced, nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, table.Family, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, table.Name)))
			}
			commit(t, n, apply.Batch{Messages: append(replaced, batch...)})
			if diff := cmp.Diff(printed(again.Messages, 0), printed(dump(t, n).Messages, 0)); diff != "" {
				t.Errorf("the second commit left something else (-first +second):\n%s", diff)
			}
		})
	}
}

// TestChanges commits what nft sends to change a ruleset in place, so that
// what is expected afterwards is worked out from what was there.
func TestChanges(t *testing.T) {
	const text = `table inet ours {
	set s { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2, 192.0.2.3 } }
	set spans { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.0/24 } }
	map m { type inet_service : verdict; elements = { 22 : accept } }
	counter hits { }
	chain side { }
	chain unused { counter; tcp dport { 1, 2 } drop; }
	chain input { type filter hook input priority 0; policy accept; ip saddr @s accept; tcp dport { 22, 80 } accept; counter name "hits" drop; }
}
`
	for _, c := range []struct{ name, change string }{
		{"add a rule", `add rule inet ours input udp dport { 53, 123 } accept`},
		{"insert a rule", `insert rule inet ours input meta mark 5 accept`},
		{"insert at a handle", `insert rule inet ours input handle HANDLE meta mark 5 accept`},
		{"add at a handle", `add rule inet ours input handle HANDLE meta mark 5 accept`},
		{"replace a rule", `replace rule inet ours input handle HANDLE meta mark 6 accept`},
		{"delete a rule with its set", `delete rule inet ours input handle HANDLE`},
		{"flush a chain", `flush chain inet ours unused`},
		{"flush and delete a chain", "flush chain inet ours unused\ndelete chain inet ours unused"},
		{"flush the rules of a table", `flush table inet ours`},
		{"change the policy", `chain inet ours input { policy drop; }`},
		{"add elements", `add element inet ours s { 192.0.2.9, 192.0.2.8 }`},
		{"delete elements", `delete element inet ours s { 192.0.2.1, 192.0.2.3 }`},
		{"delete a span", `delete element inet ours spans { 10.0.0.0/8 }`},
		{"flush a set", `flush set inet ours s`},
		{"delete a map", `delete map inet ours m`},
		{"jump from a map", `add element inet ours m { 23 : jump side }`},
		{"add a chain and jump", "add chain inet ours late { counter; }\nadd rule inet ours input jump late"},
		{"other table", `add table ip6 ours`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNS(t)
			run(t, n, text, "nft", "-f", "-")
			change := strings.ReplaceAll(c.change, "HANDLE", handleOf(t, n, "tcp dport { 22, 80 } accept"))
			batch := sentBy(t, change+"\n", text)
			generation := dump(t, n).Generation
			receipt, err := apply.Commit(context.Background(), n, []apply.Batch{{Messages: batch}}, apply.Options{Generation: &generation})
			if err != nil {
				t.Fatal(err)
			}
			if err := apply.Restore(context.Background(), n, receipt.Before); err != nil {
				t.Error(err)
			}
		})
	}
}

// handleOf returns the handle of the rule that lists as the text.
func handleOf(t *testing.T, n *netns.NS, rule string) string {
	t.Helper()
	for line := range strings.Lines(run(t, n, "", "nft", "-a", "list", "ruleset")) {
		if before, handle, ok := strings.Cut(strings.TrimSpace(line), " # handle "); ok && before == rule {
			return handle
		}
	}
	t.Fatalf("no rule %q", rule)
	return ""
}
