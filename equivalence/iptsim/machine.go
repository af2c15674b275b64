package iptsim

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// A Machine is a ruleset made ready to run packets. It keeps the states of
// stateful matches from one packet to the next and serves one packet at a time.
type Machine struct {
	family iptables.Family
	tables []*table
	states predicate.States
	view   view // of the packet at hand; here so that a run allocates nothing
	stack  []frame
}

// A table is one of the five tables, compiled.
type table struct {
	name   string
	chains []*chain // in the order of the ruleset
}

// New compiles a ruleset. A match or target that does not say what it means
// makes the packets that reach it undecided.
func New(rs *iptables.Ruleset) *Machine { return NewWithSets(rs, nil) }

// NewWithSets is New for a ruleset whose rules name ipsets. A set that is not
// there makes the packets undecided that are tested for it.
func NewWithSets(rs *iptables.Ruleset, sets *ipset.Sets) *Machine {
	m := &Machine{family: rs.Family}
	tests := newSetTests(sets)
	tests.noteChanges(rs)
	for _, t := range rs.Tables {
		m.tables = append(m.tables, compileTable(rs.Family, t, tests))
	}
	m.Reset()
	return m
}

// Reset forgets the states of stateful matches, as loading the ruleset anew
// does.
func (m *Machine) Reset() {
	m.states.Reset()
	m.eachRule(func(r *rule) {
		for _, match := range r.matches {
			predicate.Walk(match.meaning.Match, func(p predicate.Predicate) {
				if s, ok := p.(predicate.Stateful); ok {
					if l, ok := s.Instance.(predicate.Loader); ok {
						l.Load(&m.states)
					}
				}
			})
		}
	})
}

// eachRule calls visit for each rule in the order of the ruleset.
func (m *Machine) eachRule(visit func(r *rule)) {
	for _, t := range m.tables {
		for _, c := range t.chains {
			for i := range c.rules {
				visit(&c.rules[i])
			}
		}
	}
}

// A placing is where a table's built-in chain hangs.
type placing struct {
	table, chain string
	hook         packet.Hook
	priority     int32
	kind         packet.StageKind
}

// placings are the built-in chains, by hook and then by priority.
//
// Kernel: include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities;
// net/ipv4/netfilter/iptable_*.c and net/ipv6/netfilter/ip6table_*.c.
var placings = []placing{
	{"raw", "PREROUTING", packet.Prerouting, -300, packet.Filter},
	{"mangle", "PREROUTING", packet.Prerouting, -150, packet.Filter},
	{"nat", "PREROUTING", packet.Prerouting, -100, packet.NAT},
	{"mangle", "INPUT", packet.Input, -150, packet.Filter},
	{"filter", "INPUT", packet.Input, 0, packet.Filter},
	{"security", "INPUT", packet.Input, 50, packet.Filter},
	{"nat", "INPUT", packet.Input, 100, packet.NAT},
	{"mangle", "FORWARD", packet.Forward, -150, packet.Filter},
	{"filter", "FORWARD", packet.Forward, 0, packet.Filter},
	{"security", "FORWARD", packet.Forward, 50, packet.Filter},
	{"raw", "OUTPUT", packet.Output, -300, packet.Filter},
	{"mangle", "OUTPUT", packet.Output, -150, packet.Reroute},
	{"nat", "OUTPUT", packet.Output, -100, packet.NAT},
	{"filter", "OUTPUT", packet.Output, 0, packet.Filter},
	{"security", "OUTPUT", packet.Output, 50, packet.Filter},
	{"mangle", "POSTROUTING", packet.Postrouting, -150, packet.Filter},
	{"nat", "POSTROUTING", packet.Postrouting, 100, packet.NAT},
}

// Stages returns the built-in chains of the tables that the ruleset has, by
// hook and then by priority. Packets of the other IP version pass them
// untouched.
func (m *Machine) Stages() []packet.Stage {
	var stages []packet.Stage
	for _, p := range placings {
		t := m.table(p.table)
		if t == nil {
			continue
		}
		c := t.chain(p.chain)
		if c == nil {
			continue
		}
		stages = append(stages, packet.Stage{
			Name: p.table + " " + p.chain, Hook: p.hook, Priority: p.priority, Kind: p.kind, Version: int(m.family),
			Run: func(f *packet.Flight) packet.Verdict { return m.run(c, f) },
		})
	}
	return stages
}

func (m *Machine) table(name string) *table {
	for _, t := range m.tables {
		if t.name == name {
			return t
		}
	}
	return nil
}

func (t *table) chain(name string) *chain {
	for _, c := range t.chains {
		if c.source.Name == name {
			return c
		}
	}
	return nil
}

// A ConntrackUser is a match or target that makes the kernel track connections
// although its meaning reads and changes nothing of them.
type ConntrackUser interface {
	UsesConntrack() bool
}

// NeedsConntrack reports whether a rule makes the kernel track the connections
// of an IP version: one whose match reads something of the connection, or whose
// target changes it or translates addresses. A nat table without such a rule
// and an exemption from tracking do not.
//
// Kernel: nf_ct_netns_get, called by the check functions of xt_conntrack.c,
// xt_connmark.c, xt_connbytes.c, xt_nat.c and others.
func (m *Machine) NeedsConntrack(version int) bool {
	if version != int(m.family) {
		return false
	}
	needs := false
	m.eachRule(func(r *rule) { needs = needs || r.usesConntrack() })
	return needs
}

func (r *rule) usesConntrack() bool {
	if says(r.source.Action.Target) {
		return true
	}
	for _, match := range r.matches {
		if says(match.use.Match) || readsConnection(match.meaning.Match) || readsConnection(match.meaning.Hotdrop) {
			return true
		}
	}
	for _, e := range r.effects {
		switch e := e.(type) {
		case predicate.NAT, predicate.Zone, predicate.SynProxy:
			return true
		case predicate.Offer:
			// It has the kernel put fragments together. Connections are not tracked, which
			// nothing asks for.
			return true
		case predicate.Assign:
			if isConnection(e.Field.ID) || isConnection(e.From.ID) {
				return true
			}
		}
	}
	return false
}

func says(extension any) bool {
	u, ok := extension.(ConntrackUser)
	return ok && u.UsesConntrack()
}

func readsConnection(p predicate.Predicate) bool {
	reads := false
	predicate.Walk(p, func(p predicate.Predicate) {
		for _, f := range predicate.FieldsOf(p) {
			reads = reads || isConnection(f.ID)
		}
	})
	return reads
}

func isConnection(id predicate.FieldID) bool {
	return id >= predicate.CTState && id <= predicate.CTHelper
}
