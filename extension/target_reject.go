package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTargetFor(v4, "REJECT", func() iptables.Target {
		t := &rejectTarget{}
		t.With = iptables.Opt[rejectKind]{Value: rejectKind{kinds: rejectKinds4, name: "icmp-port-unreachable"}, Present: true}
		return t
	})
	registerTargetFor(v6, "REJECT", func() iptables.Target {
		t := &rejectTarget{}
		t.With = iptables.Opt[rejectKind]{Value: rejectKind{kinds: rejectKinds6, name: "icmp6-port-unreachable"}, Present: true}
		return t
	})
}

var (
	_ iptsim.Doing         = (*rejectTarget)(nil)
	_ translate.Translator = (*rejectTarget)(nil)
	_ iptables.Validator   = (*rejectTarget)(nil)
)

// rejectTarget is "-j REJECT": the sender gets an answer, the packet is dropped.
//
// Kernel: net/ipv4/netfilter/ipt_REJECT.c, net/ipv6/netfilter/ip6t_REJECT.c.
type rejectTarget struct {
	With iptables.Opt[rejectKind]
}

func (*rejectTarget) Name() string { return "REJECT" }

func (t *rejectTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("reject-with", &t.With, 0),
	}
}

func (t *rejectTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "REJECT", "filter", iptables.Input|iptables.Forward|iptables.Output)
	if proto, ok := c.ProtocolNumber(); t.With.Value.name == "tcp-reset" && !(ok && proto == 6) {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: "--reject-with tcp-reset needs -p tcp",
			Detail:  "The kernel accepts it in rules for TCP only. Write -p tcp before the target, or another answer.",
			Range:   t.With.Range,
		})
	}
	return problems
}

func (t *rejectTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{
		Effects: []predicate.Effect{predicate.Reject{With: t.With.Value.name}},
		Then:    predicate.Drop,
	}
}

// rejectCodes are the codes of the ICMP and ICMPv6 messages "destination
// unreachable" (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1,
// RFC 4443 section 3.1).
var rejectCodes = map[string]uint8{
	"icmp-net-unreachable": 0, "icmp-host-unreachable": 1, "icmp-proto-unreachable": 2, "icmp-port-unreachable": 3,
	"icmp-net-prohibited": 9, "icmp-host-prohibited": 10, "icmp-admin-prohibited": 13,
	"icmp6-no-route": 0, "icmp6-adm-prohibited": 1, "icmp6-addr-unreachable": 3, "icmp6-port-unreachable": 4,
	"icmp6-policy-fail": 5, "icmp6-reject-route": 6,
}

func (t *rejectTarget) Translate(r *translate.Rule) error {
	kind := t.With.Value.name
	r.Add(nftgen.Reject{Reset: kind == "tcp-reset", Code: rejectCodes[kind]})
	return nil
}

// A rejectKind is the argument of "--reject-with". It may be shortened, and has
// a second spelling; it prints in full.
type rejectKind struct {
	kinds [][2]string
	name  string
}

// The kinds of a family: name and second spelling, in the order in which
// shortened arguments are looked up.
//
// iptables-extensions(8), REJECT.
var (
	rejectKinds4 = [][2]string{
		{"icmp-net-unreachable", "net-unreach"},
		{"icmp-host-unreachable", "host-unreach"},
		{"icmp-proto-unreachable", "proto-unreach"},
		{"icmp-port-unreachable", "port-unreach"},
		{"icmp-net-prohibited", "net-prohib"},
		{"icmp-host-prohibited", "host-prohib"},
		{"tcp-reset", "tcp-rst"},
		{"icmp-admin-prohibited", "admin-prohib"},
	}
	rejectKinds6 = [][2]string{
		{"icmp6-no-route", "no-route"},
		{"icmp6-adm-prohibited", "adm-prohibited"},
		{"icmp6-addr-unreachable", "addr-unreach"},
		{"icmp6-port-unreachable", "port-unreach"},
		{"tcp-reset", "tcp-reset"},
		{"icmp6-policy-fail", "policy-fail"},
		{"icmp6-reject-route", "reject-route"},
	}
)

// Set reads a kind.
func (k *rejectKind) Set(arg string) error {
	lower := strings.ToLower(arg)
	var names []string
	for _, kind := range k.kinds {
		if lower != "" && (strings.HasPrefix(kind[0], lower) || strings.HasPrefix(kind[1], lower)) {
			k.name = kind[0]
			return nil
		}
		names = append(names, kind[0])
	}
	return fmt.Errorf("%q is no kind of answer, expected one of %s", arg, strings.Join(names, ", "))
}

// String writes the name in full.
func (k *rejectKind) String() string { return k.name }
