package translate

import (
	"slices"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// FirstFragment makes the rule one for packets that have a transport header:
// whole ones and first fragments. A match that reads the transport header calls
// it behind its tests, which fewer packets pass; further calls do nothing.
//
// The loads of nf_tables that are as wide as ports and flags do not look
// whether a packet is a later fragment, and read whatever is there
// (net/netfilter/nf_tables_core.c, nft_payload_fast_eval). Where the table makes
// the kernel track connections, no rule sees fragments, and nothing is added.
// Nor do rules of IPv4 that only INPUT leads to: what is delivered is put
// together before that hook (net/ipv4/ip_input.c, ip_local_deliver).
func (r *Rule) FirstFragment() {
	if r.firstFragment {
		return
	}
	r.firstFragment = true
	rows := r.firstFragmentRows()
	if len(rows) == 1 {
		r.Add(rows[0]...)
		return
	}
	b := Branch{Otherwise: Fail}
	for _, tests := range rows {
		b.Rows = append(b.Rows, Row{Stmts: tests, Then: Match})
	}
	r.Branch(b)
}

// firstFragmentRows are the tests of [Rule.FirstFragment], as alternatives: each
// a conjunction, which may be empty.
func (r *Rule) firstFragmentRows() [][]nftgen.Stmt {
	r.asksFragments = true
	v4 := r.Context.Family == iptables.IPv4
	switch {
	case !r.fragments || v4 && r.Context.Hooks&^iptables.Input == 0:
		return noRow
	case v4:
		return firstFragment4
	}
	return firstFragment6
}

// The rows of firstFragmentRows.
var (
	noRow          = [][]nftgen.Stmt{nil}
	firstFragment4 = [][]nftgen.Stmt{{nftgen.Compare{Field: nftgen.IPFragOff, Mask: nftgen.Value{0x1f, 0xff}, Op: nftgen.Eq, Value: nftgen.Value{0, 0}}}}
	firstFragment6 = [][]nftgen.Stmt{
		{nftgen.Exists{Field: nftgen.IP6Frag, Missing: true}},
		{nftgen.Compare{Field: nftgen.IP6FragOff, Op: nftgen.Eq, Value: nftgen.Value{0, 0}}},
	}
)

// LaterFragments reports whether later fragments can come to the rule, as far as
// its matches did not say otherwise yet: see [Rule.FirstFragment].
func (r *Rule) LaterFragments() bool {
	r.asksFragments = true
	v4 := r.Context.Family == iptables.IPv4
	return r.fragments && !r.firstFragment && !(v4 && r.Context.Hooks&^iptables.Input == 0)
}

// tracks reports whether the table makes the kernel track connections. In a
// table of both families one rule does it for both.
func (t *translation) tracks() bool {
	for _, c := range t.table.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				if nftgen.Tracks(s) {
					return true
				}
			}
		}
	}
	return false
}

// seemsToTrack guesses whether the translation that was begun will make the kernel
// track connections, by the first rule with each match and target: that decides
// whether rules see fragments, and is known for certain only of the whole. What
// becomes of those rules is forgotten.
func (whole *translation) seemsToTrack() bool {
	t := &translation{options: whole.options, shared: newShared(), table: whole.table, chains: whole.chains, names: whole.names,
		seen: make(map[string]bool), tracking: make(map[iptables.Family]iptables.Context), raw: make(rawEffects)}
	t.options.Sets = nil // they cost, and looking into them does not track
	var sample []iptables.Context
	seen := make(map[string]bool)
	t.contexts(func(c iptables.Context) {
		fresh := false
		for _, use := range c.Rule.Matches {
			if name := use.Match.Name(); !seen[name] {
				seen[name], fresh = true, true
			}
		}
		if a := &c.Rule.Action; a.Kind == iptables.Extend && !seen[a.Name] {
			seen[a.Name], fresh = true, true // targets have other names than matches
		}
		if fresh {
			sample = append(sample, c)
			t.collectRule(c)
		}
	})
	r := new(Rule)
	for _, c := range sample {
		if t.rule(r, c, false); len(t.tracking) > 0 {
			return true
		}
	}
	return false
}

// tracks reports whether one of the rule's statements makes the kernel track
// connections.
func (r *Rule) tracks() bool {
	for _, it := range r.items {
		if it.branch == nil {
			if nftgen.Tracks(it.stmt) {
				return true
			}
			continue
		}
		for _, row := range it.branch.Rows {
			if slices.ContainsFunc(row.Stmts, nftgen.Tracks) {
				return true
			}
		}
	}
	return false
}

// declareTracking declares that the table of both families tracks the
// connections of a family whose own rules do not.
func (t *translation) declareTracking() {
	if t.table.Family != nftgen.Inet || len(t.tracking) != 1 {
		return
	}
	for family, c := range t.tracking {
		other := "IPv6"
		if family == iptables.IPv6 {
			other = "IPv4"
		}
		t.deviate(Deviation{
			Code: "inet-tracks-both",
			Detail: "A rule about connections in a table of both families makes the kernel track those of " + other +
				" too, which the rules of that family do not ask for: its fragments are put together before the first rule. " +
				"Translate the two files separately to keep them apart.",
		}, c)
	}
}
