package equivalence_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/translate"
)

// filterRules are rules of the INPUT chain of an IP version as a save file.
func filterRules(rules string) string {
	return "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n" + strings.TrimSpace(rules) + "\nCOMMIT\n"
}

// A side is rules of both IP versions, "" for none, as save files.
type side struct{ v4, v6 string }

func (s side) parse(t *testing.T) (v4, v6 *iptables.Ruleset, versions []int) {
	t.Helper()
	parse := func(name, text string, family iptables.Family) *iptables.Ruleset {
		if text == "" {
			return nil
		}
		versions = append(versions, int(family))
		rs, list := iptables.Parse(diag.NewSource(name, []byte(text)), family, extension.Registry)
		if list.HasErrors() {
			t.Fatalf("%v\n%s", list, text)
		}
		return rs
	}
	return parse("rules.v4", s.v4, iptables.IPv4), parse("rules.v6", s.v6, iptables.IPv6), versions
}

func (s side) machine(t *testing.T) (equivalence.Machine, []int) {
	t.Helper()
	v4, v6, versions := s.parse(t)
	var list []equivalence.Machine
	for _, rs := range []*iptables.Ruleset{v4, v6} {
		if rs != nil {
			list = append(list, iptsim.New(rs))
		}
	}
	return equivalence.Join(list...), versions
}

// translated is the translation, edited.
func (s side) translated(t *testing.T, edit func(*nftgen.Table)) (m *nftsim.Machine, deviations []string) {
	t.Helper()
	v4, v6, _ := s.parse(t)
	result, list := translate.Translate(v4, v6, translate.Options{})
	if list.HasErrors() {
		t.Fatal(list)
	}
	for _, d := range result.Deviations {
		deviations = append(deviations, d.Code)
	}
	if edit != nil {
		before := fmt.Sprintf("%+v", *result.Ruleset.Table)
		text := print(t, result.Ruleset)
		edit(result.Ruleset.Table)
		if before == fmt.Sprintf("%+v", *result.Ruleset.Table) && text == print(t, result.Ruleset) {
			t.Fatalf("the edit does not apply\n%s", text)
		}
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = nftsim.Decode(batch.Messages); err != nil {
		t.Fatal(err)
	}
	return m, deviations
}

func print(t *testing.T, r *nftgen.Ruleset) string {
	t.Helper()
	var b strings.Builder
	if err := nftgen.Print(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// proveTranslation proves a source against the translation of another, edited.
func proveTranslation(t *testing.T, source, other side, edit func(*nftgen.Table)) *equivalence.Proof {
	t.Helper()
	a, versions := source.machine(t)
	b, deviations := other.translated(t, edit)
	p, err := equivalence.Prove(context.Background(), a, b, equivalence.ProofOptions{Versions: versions, Deviations: deviations})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	guard = `
-A INPUT -p tcp --dport 22 -m recent --update --seconds 60 --hitcount 3 --name guard -j DROP
-A INPUT -p tcp --dport 22 -m recent --set --name guard -j ACCEPT
-A INPUT -p tcp --dport 23 -m recent --rcheck --seconds 60 --hitcount 3 --name guard -j DROP`
	once = `
-A INPUT -p udp --dport 1 -m recent --set --name knock
-A INPUT -p tcp --dport 22 -m recent --rcheck --seconds 30 --name knock -j ACCEPT
-A INPUT -p tcp --dport 22 -j DROP`
	removing = `
-A INPUT -p udp --dport 1 -m recent --set --name door
-A INPUT -p udp --dport 2 -m recent --remove --name door -j DROP
-A INPUT -p udp --dport 3 -m recent --rcheck --seconds 60 --hitcount 2 --name door -j DROP
-A INPUT -p udp --dport 4 -m recent ! --update --seconds 20 --name door -j ACCEPT
-A INPUT -p udp --dport 4 -j DROP`
	network = `
-A INPUT -p tcp --dport 22 -m recent --update --seconds 60 --hitcount 2 --name net --mask 255.255.255.0 -j DROP
-A INPUT -p tcp --dport 22 -m recent --set --name net --mask 255.255.255.0`
	two = `
-A INPUT -p tcp --dport 22 -m recent --rcheck --seconds 60 --hitcount 2 --name a -j DROP
-A INPUT -p tcp --dport 23 -m recent --rcheck --seconds 60 --hitcount 2 --name b -j DROP
-A INPUT -p tcp --dport 22 -m recent --set --name a
-A INPUT -p tcp --dport 23 -m recent --set --name b`
	local = `
-A OUTPUT -p tcp --dport 25 -m recent --update --seconds 60 --hitcount 2 --rdest --name mail -j DROP
-A OUTPUT -p tcp --dport 25 -m recent --set --rdest --name mail`
	ever = `
-A INPUT -p tcp --dport 22 -m recent --rcheck --hitcount 4 --name ever -j DROP
-A INPUT -p tcp --dport 22 -m recent --set --name ever`
)

// TestProveRecent proves translations of lists of recent addresses.
func TestProveRecent(t *testing.T) {
	for _, c := range []struct {
		name   string
		source side
	}{
		{"hits", side{v4: filterRules(guard)}},
		{"one hit", side{v4: filterRules(once)}},
		{"removal", side{v4: filterRules(removing)}},
		{"mask", side{v4: filterRules(network)}},
		{"two lists", side{v4: filterRules(two)}},
		{"destination", side{v4: filterRules(local)}},
		{"any age", side{v4: filterRules(ever)}},
		{"IPv6", side{v6: filterRules(guard)}},
		{"both versions", side{v4: filterRules(guard), v6: filterRules(guard)}},
		{"versions unlike", side{v4: filterRules(guard), v6: filterRules(removing)}},
		{"nobody asks", side{v4: filterRules("-A INPUT -p tcp -m recent --set --name x -j DROP\n-A INPUT -m recent ! --set --name x -j DROP")}},
		{"several ages", side{v4: filterRules(`
-A INPUT -m recent --rcheck --seconds 1 --hitcount 2 --name s -j DROP
-A INPUT -m recent --update --seconds 3 --hitcount 4 --name s -j DROP
-A INPUT -p tcp -m tcp --dport 24 -m recent --rcheck --hitcount 6 --name s -j DROP
-A INPUT -m recent ! --rcheck --seconds 3 --name s -j ACCEPT
-A INPUT -m recent --set --name s -j ACCEPT`)}},
		{"both sides", side{v4: filterRules(`
-A INPUT -m recent --rcheck --seconds 1 --hitcount 2 --name d --mask 255.255.255.254 --rsource -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name d --mask 255.255.255.254 --rsource
-A INPUT -p tcp -m tcp --dport 23 -m recent --set --name d --mask 255.255.255.254 --rdest
-A INPUT -p tcp -m tcp --dport 24 -m recent --rcheck --seconds 1 --name d --mask 255.255.255.254 --rdest -j DROP`)}},
		{"many hits", side{v4: filterRules(`
-A INPUT -p tcp --dport 4 -m recent ! --update --seconds 60 --hitcount 20 --name x -j DROP
-A INPUT -p tcp --dport 5 -m recent --set --name x
-A INPUT -p tcp --dport 6 -m recent ! --remove --name x -j DROP`)}},
		{"at several hooks", side{v4: `*mangle
:PREROUTING ACCEPT
-A PREROUTING -p tcp --dport 22 -m recent --set --name g
COMMIT
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
-A INPUT -p tcp -m recent --rcheck --seconds 9 --hitcount 5 --name g -j DROP
-A FORWARD -m recent --update --seconds 9 --hitcount 5 --name g -j DROP
COMMIT
`}},
		{"with other states", side{v4: filterRules(`
-A INPUT -p tcp -m recent --update --seconds 9 --name g -m limit --limit 1/min -j DROP
-A INPUT -p tcp -m limit --limit 1/min -m recent --set --name g -m mark --mark 1 -j ACCEPT`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := proveTranslation(t, c.source, c.source, nil)
			if p.Word != equivalence.Equivalent {
				t.Errorf("%s, %s, %v", p.Word, p.Incomplete, p.Unknown)
			}
			about := slices.ContainsFunc(p.Assumptions, func(a string) bool { return strings.Contains(a, "TestRingIsList") })
			if about == (c.name == "nobody asks") {
				t.Errorf("assumptions: %q", p.Assumptions)
			}
		})
	}
}

// A recentBug is a wrong translation of rules with a list of recent addresses:
// the right one of other rules, or an edit of it.
type recentBug struct {
	name, rules string
	old, new    string // of the rules
	edit        func(*nftgen.Table)
	// harmless says that packets cannot show it, because it is no difference; it
	// stays undecided.
	harmless bool
}

var recentBugs = []recentBug{
	{name: "a hit more", rules: guard, old: "hitcount 3", new: "hitcount 4"},
	{name: "a hit less", rules: guard, old: "hitcount 3", new: "hitcount 2"},
	{name: "no hits", rules: guard, old: " --hitcount 3", new: ""},
	{name: "a second more", rules: guard, old: "seconds 60", new: "seconds 61"},
	{name: "a second less", rules: guard, old: "seconds 60", new: "seconds 59"},
	{name: "minutes for seconds", rules: guard, old: "seconds 60", new: "seconds 3600"},
	{name: "no seconds", rules: guard, old: " --seconds 60", new: ""},
	{name: "not set", rules: guard, old: "-m recent --set --name guard ", new: ""},
	{name: "not updated", rules: guard, old: "--update", new: "--rcheck"},
	{name: "updated", rules: once, old: "--rcheck", new: "--update"},
	{name: "the destination", rules: guard, old: "--name guard", new: "--name guard --rdest"},
	{name: "the destination is set", rules: guard, old: "--set", new: "--set --rdest"},
	{name: "the source", rules: local, old: "--rdest", new: "--rsource"},
	{name: "another list is set", rules: guard, old: "--set --name guard", new: "--set --name other"},
	{name: "one list of two", rules: two, old: "--name b", new: "--name a"},
	{name: "lists mixed up", rules: two, old: "--set --name a", new: "--set --name b"},
	{name: "two lists of one", rules: removing, old: "--rcheck --seconds 60 --hitcount 2 --name door", new: "--rcheck --seconds 60 --hitcount 2 --name room"},
	{name: "the host for the network", rules: network, old: " --mask 255.255.255.0", new: ""},
	{name: "a wider network", rules: network, old: "255.255.255.0", new: "255.255.0.0"},
	{name: "not removed", rules: removing, old: "--remove", new: "--rcheck"},
	{name: "the answer turned around", rules: removing, old: "! --update", new: "--update"},
	{name: "turned around and not updated", rules: removing, old: "! --update", new: "! --rcheck"},
	{name: "a hit more at any age", rules: ever, old: "hitcount 4", new: "hitcount 5"},
	{name: "set before it is asked", rules: once, old: `-A INPUT -p udp --dport 1 -m recent --set --name knock
-A INPUT -p tcp --dport 22`, new: "-A INPUT -p udp --dport 1 -m recent --set --name knock\n-A INPUT -p tcp --dport 22 -m recent --set --name knock\n-A INPUT -p tcp --dport 22"},

	{name: "a slot is not asked", rules: guard, edit: eachRule("INPUT", func(r *nftgen.Rule) { dropStmt(r, inSet("hit2of3")) })},
	{name: "a slot is not written", rules: guard, edit: eachRule("_seen", func(r *nftgen.Rule) { dropStmt(r, writes(nftgen.OpUpdate, "hit2of3")) })},
	{name: "a slot is only added", rules: guard, edit: eachRule("_seen", func(r *nftgen.Rule) { changeWrite(r, "hit2of3", func(u *nftgen.Update) { u.Op = nftgen.OpAdd }) })},
	{name: "the destination is written", rules: guard, edit: eachRule("_seen", func(r *nftgen.Rule) {
		changeWrite(r, "hit2of3", func(u *nftgen.Update) { u.Fields = []nftgen.Field{nftgen.IPDaddr} })
	})},
	{name: "the chain goes on", rules: guard, edit: eachRule("_seen", func(r *nftgen.Rule) {
		dropStmt(r, func(s nftgen.Stmt) bool { v, ok := s.(nftgen.VerdictStmt); return ok && v.Kind == nftgen.Return })
	})},
	{name: "a pointer stays", rules: guard, edit: eachRule("_seen", func(r *nftgen.Rule) { dropStmt(r, writes(nftgen.OpDelete, "next2of3")) })},
	{name: "a pointer is not written", rules: guard, edit: eachRule("_seen", func(r *nftgen.Rule) { dropStmt(r, writes(nftgen.OpUpdate, "next3of3")) })},
	{name: "a slot forgets early", rules: guard, edit: eachSet("hit1of3", func(s *nftgen.Set) { s.Timeout -= 2 * time.Second })},
	{name: "the slots forget late", rules: guard, edit: eachSet("", func(s *nftgen.Set) { s.Timeout += 2 * time.Second })},
	{name: "a set forgets early", rules: once, edit: eachSet("", func(s *nftgen.Set) { s.Timeout -= time.Second })},
	{name: "a set never forgets", rules: once, edit: func(t *nftgen.Table) {
		eachSet("", func(s *nftgen.Set) { s.Timeout, s.HasTimeout = 0, false })(t)
		eachRule("INPUT", func(r *nftgen.Rule) { changeWrite(r, "", func(u *nftgen.Update) { u.Op = nftgen.OpAdd }) })(t)
	}},
	{name: "the last slot is not deleted", rules: removing, edit: eachRule("INPUT", func(r *nftgen.Rule) { dropStmt(r, writes(nftgen.OpDelete, "60s_hit2of2")) })},
	{name: "one age is not deleted", rules: removing, edit: eachRule("INPUT", func(r *nftgen.Rule) { dropStmt(r, writes(nftgen.OpDelete, "door_20s")) })},
	{name: "one age is not remembered", rules: removing, edit: func(t *nftgen.Table) {
		eachRule("_seen", func(r *nftgen.Rule) { dropStmt(r, writes(nftgen.OpUpdate, "door_20s")) })(t)
	}},
	{name: "nothing is remembered", rules: guard, edit: eachRule("INPUT_branch", func(r *nftgen.Rule) {
		dropStmt(r, func(s nftgen.Stmt) bool { v, ok := s.(nftgen.VerdictStmt); return ok && v.Kind == nftgen.Jump })
	})},

	{name: "another slot is not deleted", rules: removing, harmless: true,
		edit: eachRule("INPUT", func(r *nftgen.Rule) { dropStmt(r, writes(nftgen.OpDelete, "60s_hit1of2")) })},
	{name: "no tick more", rules: guard, harmless: true, edit: eachSet("", func(s *nftgen.Set) { s.Timeout -= 4 * time.Millisecond })},
}

// TestRecentBugs refutes wrong translations by packets.
func TestRecentBugs(t *testing.T) {
	for _, b := range recentBugs {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			source, other := side{v4: filterRules(b.rules)}, side{v4: filterRules(strings.ReplaceAll(b.rules, b.old, b.new))}
			if b.edit == nil && source == other {
				t.Fatal("the edit does not apply")
			}
			p := proveTranslation(t, source, other, b.edit)
			if b.harmless {
				if p.Word != equivalence.Undecided || len(p.Unknown) == 0 {
					t.Errorf("%s, %s, %v", p.Word, p.Incomplete, p.Unknown)
				}
				for why := range p.Unknown {
					if !strings.Contains(why, "has no counterpart that the proof knows") {
						t.Error(why)
					}
				}
				return
			}
			if p.Word != equivalence.Different {
				t.Fatalf("%s, %s, %v", p.Word, p.Incomplete, p.Unknown)
			}
			d := p.Differences[0]
			if len(d.A.Trace) == 0 || len(d.B.Trace) == 0 || len(d.Aspects) == 0 {
				t.Errorf("a difference without traces or aspects: %v", d.Packet)
			}
			checkOrder(t, d)
			t.Logf("after %d packets, at %v: %v", len(d.Before), time.Duration(d.Packet.Time), d.Packet)
		})
	}
}

// checkOrder wants packets in the order of their times, and few of them.
func checkOrder(t *testing.T, d equivalence.Difference) {
	t.Helper()
	run := append(slices.Clone(d.Before), d.Packet)
	if !slices.IsSortedFunc(run, func(p, q *packet.Packet) int { return int(p.Time - q.Time) }) {
		t.Error("the packets are not in the order of their times")
	}
	if len(run) > 12 {
		t.Errorf("%d packets", len(run))
	}
}

// TestRecentMoves compares a question that stands at another hook: it is the same
// one as long as nothing changes the address on the way.
func TestRecentMoves(t *testing.T) {
	const nat = `*nat
:PREROUTING ACCEPT
-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1-10.0.0.9
COMMIT
`
	const early = `*mangle
:PREROUTING ACCEPT
-A PREROUTING -p tcp -m recent --rcheck --seconds 60 --name x --rdest -j DROP
COMMIT
*filter
:FORWARD ACCEPT
-A FORWARD -p udp -m recent --set --name x --rdest
COMMIT
`
	const late = `*filter
:INPUT ACCEPT
:FORWARD ACCEPT
-A INPUT -p tcp -m recent --rcheck --seconds 60 --name x --rdest -j DROP
-A FORWARD -p tcp -m recent --rcheck --seconds 60 --name x --rdest -j DROP
-A FORWARD -p udp -m recent --set --name x --rdest
COMMIT
`
	if p := proveTranslation(t, side{v4: early}, side{v4: late}, nil); p.Word != equivalence.Equivalent {
		t.Errorf("%s: %s, %v", p.Word, p.Incomplete, p.Unknown)
	}
	if p := proveTranslation(t, side{v4: early + nat}, side{v4: late + nat}, nil); p.Word == equivalence.Equivalent {
		t.Errorf("with address translation: %s", p.Word)
	}
}

// TestRecentUnreached has a question that no packet asks.
func TestRecentUnreached(t *testing.T) {
	rules := side{v4: filterRules(":nowhere -\n-A nowhere -m recent --rcheck --seconds 9 --name guard -j DROP\n" + guard)}
	if p := proveTranslation(t, rules, rules, nil); p.Word != equivalence.Equivalent {
		t.Errorf("%s: %s, %v", p.Word, p.Incomplete, p.Unknown)
	}
}

// TestRecentStrict does without the deviations on which the model of lists rests.
func TestRecentStrict(t *testing.T) {
	a, versions := side{v4: filterRules(guard)}.machine(t)
	b, _ := side{v4: filterRules(guard)}.translated(t, nil)
	p, err := equivalence.Prove(context.Background(), a, b, equivalence.ProofOptions{Versions: versions})
	if err != nil {
		t.Fatal(err)
	}
	if p.Word != equivalence.Undecided {
		t.Errorf("%s, %v", p.Word, p.Unknown)
	}
	for why := range p.Unknown {
		if !strings.Contains(why, "state recent guard (rules.v4:5: recent) is known only with the deviation recent-list-size") {
			t.Error(why)
		}
	}
}

// eachRule edits the rules of chains whose names contain a text.
func eachRule(chain string, edit func(*nftgen.Rule)) func(*nftgen.Table) {
	return func(t *nftgen.Table) {
		for _, c := range t.Chains {
			if strings.Contains(c.Name, chain) {
				for _, r := range c.Rules {
					edit(r)
				}
			}
		}
	}
}

func eachSet(name string, edit func(*nftgen.Set)) func(*nftgen.Table) {
	return func(t *nftgen.Table) {
		for _, s := range t.Sets {
			if strings.Contains(s.Name, name) {
				edit(s)
			}
		}
	}
}

func dropStmt(r *nftgen.Rule, which func(nftgen.Stmt) bool) {
	r.Stmts = slices.DeleteFunc(r.Stmts, which)
}

func inSet(name string) func(nftgen.Stmt) bool {
	return func(s nftgen.Stmt) bool {
		in, ok := s.(nftgen.InSet)
		return ok && strings.HasSuffix(in.Set.Name, name)
	}
}

func writes(op nftgen.UpdateOp, name string) func(nftgen.Stmt) bool {
	return func(s nftgen.Stmt) bool {
		u, ok := s.(nftgen.Update)
		return ok && u.Op == op && strings.HasSuffix(u.Set.Name, name)
	}
}

func changeWrite(r *nftgen.Rule, name string, edit func(*nftgen.Update)) {
	for i, s := range r.Stmts {
		if u, ok := s.(nftgen.Update); ok && strings.HasSuffix(u.Set.Name, name) && u.Op != nftgen.OpDelete {
			edit(&u)
			r.Stmts[i] = u
		}
	}
}
