package apply_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

const fresh = "add table inet ours\ndelete table inet ours\n"

// versions are rulesets of one table that are switched between, each to each.
var versions = []struct{ name, text string }{
	{"none", ""},
	{"whitelist", `table inet ours {
	set spans { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.0/24 } }
	map verdicts { type inet_service : verdict; elements = { 22 : jump ssh, 80 : accept } }
	chain ssh { ip saddr { 192.0.2.7, 192.0.2.9 } return; ip saddr @spans accept; }
	chain marker { meta mark set 0x1; }
	chain pre { type filter hook prerouting priority -150; policy accept; jump marker; }
	chain input { type filter hook input priority 0; policy drop; tcp dport vmap @verdicts; tcp dport { 443, 8000-8100 } accept; }
}
`},
	{"other rules", `table inet ours {
	set spans { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.0/24 } }
	map verdicts { type inet_service : verdict; elements = { 22 : jump ssh, 81 : accept } }
	chain ssh { ip saddr { 192.0.2.7, 192.0.2.10 } return; ip saddr @spans accept; }
	chain marker { meta mark set 0x1; }
	chain pre { type filter hook prerouting priority -150; policy accept; jump marker; }
	chain input { type filter hook input priority 0; policy accept; tcp dport vmap @verdicts; ct state vmap { established : accept, invalid : drop }; tcp dport { 444, 8000-8100 } accept; drop; }
}
`},
	{"other elements", `table inet ours {
	set spans { type ipv4_addr; flags interval; elements = { 10.0.0.0/9, 192.0.2.0/25 } }
	map verdicts { type inet_service : verdict; elements = { 22 : jump ssh, 80 : accept } }
	chain ssh { ip saddr { 192.0.2.7, 192.0.2.9 } return; ip saddr @spans accept; }
	chain marker { meta mark set 0x1; }
	chain pre { type filter hook prerouting priority -150; policy accept; jump marker; }
	chain input { type filter hook input priority 0; policy drop; tcp dport vmap @verdicts; tcp dport { 443, 8000-8100 } accept; }
}
`},
	{"other policy", `table inet ours {
	set spans { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.0/24 } }
	map verdicts { type inet_service : verdict; elements = { 22 : jump ssh, 80 : accept } }
	chain ssh { ip saddr { 192.0.2.7, 192.0.2.9 } return; ip saddr @spans accept; }
	chain marker { meta mark set 0x1; }
	chain pre { type filter hook prerouting priority -150; policy accept; jump marker; }
	chain input { type filter hook input priority 0; policy accept; tcp dport vmap @verdicts; tcp dport { 443, 8000-8100 } accept; }
}
`},
	{"moved hooks", `table inet ours {
	set spans { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90 } }
	counter hits { }
	quota most { 10 mbytes }
	chain marker { meta mark set 0x2; counter name "hits"; }
	chain new { ip saddr . tcp dport @spans accept; quota name "most" drop; }
	chain pre { type filter hook prerouting priority -300; policy accept; jump marker; }
	chain ssh { type filter hook forward priority 10; policy drop; goto new; }
	chain input { type filter hook output priority 0; policy drop; jump new; tcp dport 22 accept; }
}
`},
	{"nat", `table inet ours {
	map to { type inet_service : ipv4_addr; elements = { 80 : 192.0.2.1, 81 : 192.0.2.2 } }
	limit few { rate 5/second; }
	counter hits { }
	chain pre { type nat hook prerouting priority -100; policy accept; dnat ip to tcp dport map @to; }
	chain post { type nat hook postrouting priority 100; policy accept; counter name "hits"; ip daddr { 192.0.2.1, 192.0.2.2 } masquerade; }
	chain input { type filter hook input priority 0; policy drop; limit name "few" accept; }
}
`},
	{"dynamic", `table inet ours {
	set seen { type ipv4_addr; size 100; flags dynamic,timeout; timeout 1h; }
	map to { type inet_service : ipv4_addr; elements = { 80 : 192.0.2.1, 81 : 192.0.2.3 } }
	chain pre { type nat hook prerouting priority -100; policy accept; dnat ip to tcp dport map @to; }
	chain input { type filter hook input priority 0; policy drop; update @seen { ip saddr limit rate 5/minute } accept; }
}
`},
}

// batchOf returns the batch that makes a table what the text says.
func batchOf(t *testing.T, text string) apply.Batch {
	t.Helper()
	return apply.Batch{Messages: sentBy(t, fresh+text)}
}

func switchTo(t *testing.T, n *netns.NS, b apply.Batch) *apply.Receipt {
	t.Helper()
	receipt, err := apply.Switch(context.Background(), n, b, apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// TestSwitch switches from every version to every other, wants what one
// transaction makes of it, no stage when it is done again, and back.
func TestSwitch(t *testing.T) {
	var batches []apply.Batch
	var wants [][]string
	for _, v := range versions {
		n := newNS(t)
		batches = append(batches, batchOf(t, v.text))
		run(t, n, fresh+v.text, "nft", "-f", "-")
		wants = append(wants, printed(dump(t, n, ours).Messages, 0))
	}
	for i, from := range versions {
		for j, to := range versions {
			if step := (j - i + len(versions)) % len(versions); step > 3 && i > 0 && j > 0 {
				continue // half of all will do
			}
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				n := newNS(t)
				commit(t, n, batches[i])
				receipt := switchTo(t, n, batches[j])
				if i != j && receipt.Stages < 1 {
					t.Error("no stage")
				}
				if diff := cmp.Diff(wants[j], printed(dump(t, n, ours).Messages, 0)); diff != "" {
					t.Fatalf("after the switch (-want +got):\n%s", diff)
				}
				if again := switchTo(t, n, batches[j]); again.Stages != 0 {
					t.Errorf("the same again is %d stages, want none", again.Stages)
				}
				if err := apply.Restore(context.Background(), n, receipt.Before); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(wants[i], printed(dump(t, n, ours).Messages, 0)); diff != "" {
					t.Errorf("after Restore (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestSwitchCutOff (G1, G28) ends a switch after each of its stages, and wants
// the same batch to finish it and the snapshot to undo it.
func TestSwitchCutOff(t *testing.T) {
	for _, c := range []struct{ from, to int }{{0, 1}, {1, 2}, {2, 5}, {5, 6}, {1, 0}} {
		from, to := batchOf(t, versions[c.from].text), batchOf(t, versions[c.to].text)
		fresh := newNS(t)
		commit(t, fresh, to)
		want := printed(dump(t, fresh, ours).Messages, 0)
		for stages := 1; ; stages++ {
			n := newNS(t)
			commit(t, n, from)
			before := dump(t, n, ours)
			planned, err := apply.Plan(before.Messages, to, apply.PlanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if stages >= len(planned) {
				if stages == 1 {
					t.Errorf("%s to %s is %d stages", versions[c.from].name, versions[c.to].name, len(planned))
				}
				break
			}
			receipt := commit(t, n, planned[:stages]...)
			if stages%2 == 0 {
				switchTo(t, n, to)
				if diff := cmp.Diff(want, printed(dump(t, n, ours).Messages, 0)); diff != "" {
					t.Errorf("%s to %s, finished after %d stages (-want +got):\n%s", versions[c.from].name, versions[c.to].name, stages, diff)
				}
			}
			if err := apply.Restore(context.Background(), n, receipt.Before); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(printed(before.Messages, 0), printed(dump(t, n, ours).Messages, 0)); diff != "" {
				t.Errorf("%s to %s, undone after %d stages (-want +got):\n%s", versions[c.from].name, versions[c.to].name, stages, diff)
			}
		}
	}
}

// TestPlanStages wants stages of a kind, and nothing left alone to be touched.
func TestPlanStages(t *testing.T) {
	for _, c := range []struct {
		from, to string
		stages   int
		touched  string // what messages may be about; "" for anything
	}{
		{"whitelist", "whitelist", 0, ""},
		{"whitelist", "other elements", 1, `element of set "spans"`},
		{"whitelist", "other policy", 1, `chain "input"`},
		{"none", "whitelist", 3, ""}, // all, then two hooks
		{"whitelist", "none", 4, ""},
		{"whitelist", "other rules", 7, ""},
	} {
		text := map[string]string{}
		for _, v := range versions {
			text[v.name] = v.text
		}
		n := newNS(t)
		run(t, n, fresh+text[c.from], "nft", "-f", "-")
		stages, err := apply.Plan(dump(t, n, ours).Messages, batchOf(t, text[c.to]), apply.PlanOptions{ElementsInPlace: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(stages) != c.stages {
			t.Errorf("%s to %s is %d stages, want %d", c.from, c.to, len(stages), c.stages)
		}
		for _, s := range stages {
			for _, m := range s.Messages {
				if what := nameIn(m); c.touched != "" && !strings.Contains(c.touched, fmt.Sprintf("%q", what)) {
					t.Errorf("%s to %s touches %q", c.from, c.to, what)
				}
			}
		}
	}
}

func nameIn(m netlink.Message) string {
	kind, _ := nfnetlink.Kind(m)
	if kind == unix.NFT_MSG_NEWCHAIN {
		return nfnetlink.FindString(nfnetlink.Attributes(m), unix.NFTA_CHAIN_NAME)
	}
	return nfnetlink.FindString(nfnetlink.Attributes(m), 2)
}

// TestSwitchInParts (G23) has room for little in one transaction.
func TestSwitchInParts(t *testing.T) {
	n := newNS(t)
	var addresses []string
	for i := range 2000 {
		addresses = append(addresses, fmt.Sprintf("10.0.%d.%d", i/250, i%250))
	}
	text := func(port int) string {
		return fmt.Sprintf("table inet ours {\n\tset many { type ipv4_addr; elements = { %s } }\n\tchain c { type filter hook input priority 0; policy drop; ip saddr @many tcp dport { %d, 80 } accept; tcp dport %d drop; }\n}\n",
			strings.Join(addresses, ", "), port, port)
	}
	for _, port := range []int{22, 23} {
		batch := batchOf(t, text(port))
		stages, err := apply.Plan(dump(t, n, ours).Messages, batch, apply.PlanOptions{Limit: 9000})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stages {
			if size := len(nfnetlink.Marshal(s.Messages)); size > 9000 && len(s.Messages) > 1 {
				t.Errorf("a stage of %d bytes", size)
			}
		}
		commit(t, n, stages...)
		if again := switchTo(t, n, batch); again.Stages != 0 {
			t.Errorf("the same again is %d stages, want none", again.Stages)
		}
	}
}

// TestDynamicKept wants what packets added to be there after a switch.
func TestDynamicKept(t *testing.T) {
	n := newNS(t)
	switchTo(t, n, batchOf(t, versions[7].text))
	run(t, n, "", "nft", "add", "element", "inet", "ours", "seen", "{ 192.0.2.77 }")
	switchTo(t, n, batchOf(t, strings.Replace(versions[7].text, "policy drop; update", "policy drop; tcp dport 22 accept; update", 1)))
	if listing := run(t, n, "", "nft", "list", "set", "inet", "ours", "seen"); !strings.Contains(listing, "192.0.2.77") {
		t.Errorf("the element is gone:\n%s", listing)
	}
}

// TestUnstaged wants what cannot be staged to be an error, and nothing done.
func TestUnstaged(t *testing.T) {
	n := newNS(t)
	before := dump(t, n).Generation
	_, err := apply.Switch(context.Background(), n, batchOf(t, "table inet ours {\n\tchain c { tcp dport 22 jump { accept; }; }\n}\n"), apply.Options{})
	if err == nil || !strings.Contains(err.Error(), "cannot be changed in stages") || dump(t, n).Generation != before {
		t.Errorf("error %v, want a refusal before the first stage", err)
	}
}
