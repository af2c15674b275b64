package iptables

import "nftmigrate/diag"

// A Family is the address family of a ruleset: iptables or ip6tables.
type Family uint8

// The families. The values are the IP version numbers.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String returns the name of the tool that owns the family.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "iptables"
	case IPv6:
		return "ip6tables"
	}
	return "invalid family"
}

// A Ruleset is everything one save file says.
type Ruleset struct {
	Family Family
	Source *diag.Source
	Tables []*Table // in the order of first appearance; each name once
}

// Table returns the table of the given name, or nil.
func (r *Ruleset) Table(name string) *Table {
	for _, t := range r.Tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// A Table is one of raw, mangle, nat, filter and security.
type Table struct {
	Name   string
	Range  diag.Range // of the "*name" line
	Chains []*Chain   // in the order in which iptables-save prints them

	byName map[string]*Chain
}

// Chain returns the chain of the given name, or nil.
func (t *Table) Chain(name string) *Chain {
	return t.byName[name]
}

// AddChain appends a chain and returns it; a chain that exists is returned as
// it is.
func (t *Table) AddChain(name string) *Chain {
	if c := t.byName[name]; c != nil {
		return c
	}
	c := &Chain{Name: name, Builtin: IsBuiltin(t.Name, name)}
	if c.Builtin {
		c.Policy = "ACCEPT"
	}
	if t.byName == nil {
		t.byName = make(map[string]*Chain)
	}
	t.byName[name] = c
	t.Chains = append(t.Chains, c)
	return c
}

// A Chain is a built-in or a user-defined chain.
type Chain struct {
	Name     string
	Builtin  bool
	Policy   string // ACCEPT or DROP for built-in chains, "" for others
	Counters Counters
	Rules    []*Rule
	Range    diag.Range // of the ":NAME" line, or of the first rule's chain name
}

// Counters are packets and bytes. The zero value is "none counted".
type Counters struct{ Packets, Bytes uint64 }

// A Rule is one -A line.
type Rule struct {
	Range    diag.Range // the whole line, without its end
	Counters *Counters  // nil when the line had none

	Source      Opt[Address]   // -s
	Destination Opt[Address]   // -d
	In          Opt[Interface] // -i
	Out         Opt[Interface] // -o
	Protocol    Opt[Protocol]  // -p
	Fragment    Opt[Flag]      // -f, IPv4 only

	Matches []MatchUse // in the order written, which is the order of evaluation
	Action  Action
}

// A MatchUse is one "-m name" with its options. Explicit is false when only
// "-p" loaded it.
type MatchUse struct {
	Match    Match
	Range    diag.Range // of the name, or of the first option when implied
	Explicit bool
}

// An ActionKind says what a rule does when it matches.
type ActionKind uint8

// The kinds of action.
const (
	NoAction ActionKind = iota // only count
	Verdict                    // ACCEPT, DROP, RETURN or QUEUE
	Jump                       // -j CHAIN
	Goto                       // -g CHAIN
	Extend                     // -j TARGET of an extension
)

// An Action is the -j or -g of a rule.
type Action struct {
	Kind   ActionKind
	Name   string // the verdict, chain or target
	Target Target // when Kind is Extend
	Range  diag.Range
}

// A Match is one extension match with its parsed options.
type Match interface {
	// Name is the name behind -m.
	Name() string
	// Options binds the options to the match's fields. The order is the order
	// in which iptables-save prints them.
	Options() Options
}

// A Target is one extension target with its parsed options.
type Target interface {
	Name() string
	Options() Options
}

// A Registry supplies the extensions by name.
type Registry interface {
	// NewMatch returns a new match, or nil when the registry has none of that
	// name for the family.
	NewMatch(f Family, name string) Match
	// NewTarget returns a new target, or nil.
	NewTarget(f Family, name string) Target
	// ProtocolMatch names the match whose options "-p proto" makes available
	// without -m, or "".
	ProtocolMatch(f Family, proto uint8) string
	// Exists reports whether iptables has an extension of that name, also when
	// this registry does not supply it.
	Exists(name string) bool
	// Matches and Targets list the names supplied for a family, sorted; they
	// serve suggestions.
	Matches(f Family) []string
	Targets(f Family) []string
}

// A Context is where a match or target stands. It is complete only after the
// whole table was read.
type Context struct {
	Family Family
	Table  string
	Chain  string
	// Hooks are the built-in chains from which the rule's chain can be
	// reached.
	Hooks HookSet
	Rule  *Rule
}

// ProtocolNumber returns the protocol that the rule requires by "-p", without
// negation; ok is false when there is none.
func (c Context) ProtocolNumber() (proto uint8, ok bool) {
	p := c.Rule.Protocol
	if !p.Present || p.Negated || p.Value == 0 {
		return 0, false
	}
	return uint8(p.Value), true
}

// A Validator is a match or target with conditions that its options alone do
// not state: required protocols, excluded combinations, allowed tables and
// hooks. The conditions are those under which iptables-restore or the kernel
// refuses the rule.
type Validator interface {
	Validate(c Context) []Problem
}

// A Problem is why a match or target is not valid where it stands.
type Problem struct {
	Code    string     // "" means "invalid-combination"
	Summary string     // short
	Detail  string     // the remedy
	Range   diag.Range // zero means the match's or target's name
}

// A HookSet is a set of built-in chains.
type HookSet uint8

// The built-in chains. The values are 1 << the kernel's NF_INET_* hook number
// (include/uapi/linux/netfilter.h).
const (
	Prerouting HookSet = 1 << iota
	Input
	Forward
	Output
	Postrouting
)

var hookNames = map[string]HookSet{
	"PREROUTING": Prerouting, "INPUT": Input, "FORWARD": Forward,
	"OUTPUT": Output, "POSTROUTING": Postrouting,
}

// builtins lists the tables, each with its built-in chains in the order of
// iptables-save.
//
// Kernel: net/ipv4/netfilter/iptable_*.c, valid_hooks; nat INPUT since 2.6.36.
var builtins = map[string][]string{
	"raw":      {"PREROUTING", "OUTPUT"},
	"mangle":   {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"nat":      {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"filter":   {"INPUT", "FORWARD", "OUTPUT"},
	"security": {"INPUT", "FORWARD", "OUTPUT"},
}

// BuiltinChains returns the built-in chains of a table in the order of
// iptables-save, or nil when there is no such table.
func BuiltinChains(table string) []string { return builtins[table] }

// IsBuiltin reports whether a chain is built into a table.
func IsBuiltin(table, chain string) bool {
	for _, c := range builtins[table] {
		if c == chain {
			return true
		}
	}
	return false
}

// Hook returns the hook of a built-in chain's name, or 0.
func Hook(chain string) HookSet { return hookNames[chain] }

// Reach returns for each chain of the table the hooks from which it can be
// reached.
func (t *Table) Reach() map[*Chain]HookSet {
	number := make(map[string]int32, len(t.Chains))
	for i, c := range t.Chains {
		number[c.Name] = int32(i)
	}
	leads := make([][]int32, len(t.Chains)) // of each chain, those it leads to
	for i, c := range t.Chains {
		for _, r := range c.Rules {
			if r.Action.Kind != Jump && r.Action.Kind != Goto {
				continue
			}
			if to, ok := number[r.Action.Name]; ok {
				leads[i] = append(leads[i], to)
			}
		}
	}
	hooks := make([]HookSet, len(t.Chains))
	for i, c := range t.Chains {
		if !c.Builtin {
			continue
		}
		hook := Hook(c.Name)
		hooks[i] |= hook
		for open := []int32{int32(i)}; len(open) > 0; {
			from := open[len(open)-1]
			open = open[:len(open)-1]
			for _, to := range leads[from] {
				if hooks[to]&hook == 0 {
					hooks[to] |= hook
					open = append(open, to)
				}
			}
		}
	}
	reach := make(map[*Chain]HookSet, len(t.Chains))
	for i, c := range t.Chains {
		if hooks[i] != 0 {
			reach[c] = hooks[i]
		}
	}
	return reach
}
