package extension

import (
	"nftmigrate/diag"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTargetFor(v4, "DNAT", func() iptables.Target { return new(dnat4Target) })
	registerTargetFor(v6, "DNAT", func() iptables.Target { return new(dnat6Target) })
}

var (
	_ iptsim.Doing         = (*dnat4Target)(nil)
	_ translate.Translator = (*dnat4Target)(nil)
	_ iptables.Validator   = (*dnat4Target)(nil)
	_ iptsim.Doing         = (*dnat6Target)(nil)
	_ translate.Translator = (*dnat6Target)(nil)
	_ iptables.Validator   = (*dnat6Target)(nil)
)

// dnatTarget is "-j DNAT": the connection gets a new destination.
//
// Kernel: net/netfilter/xt_nat.c, xt_dnat_target_v2; net/netfilter/nf_nat_core.c.
type dnatTarget struct {
	Random     iptables.Opt[iptables.Flag]
	Persistent iptables.Opt[iptables.Flag]
}

// dnat4Target and dnat6Target are DNAT of one family.
type (
	dnat4Target struct {
		To iptables.Opt[natRange4]
		dnatTarget
	}
	dnat6Target struct {
		To iptables.Opt[natRange6]
		dnatTarget
	}
)

func (*dnatTarget) Name() string { return "DNAT" }

func (t *dnatTarget) options() iptables.Options {
	return iptables.Options{
		iptables.Bind("random", &t.Random, 0),
		iptables.Bind("persistent", &t.Persistent, 0),
	}
}

func (t *dnat4Target) Options() iptables.Options {
	return append(iptables.Options{iptables.Bind("to-destination", &t.To, iptables.Required)}, t.options()...)
}

func (t *dnat6Target) Options() iptables.Options {
	return append(iptables.Options{iptables.Bind("to-destination", &t.To, iptables.Required)}, t.options()...)
}

func (t *dnat4Target) Validate(c iptables.Context) []iptables.Problem {
	return t.validate(c, t.To.Value.natRange)
}

func (t *dnat6Target) Validate(c iptables.Context) []iptables.Problem {
	return t.validate(c, t.To.Value.natRange)
}

func (t *dnatTarget) validate(c iptables.Context, to natRange) []iptables.Problem {
	problems := placement(c, "DNAT", "nat", iptables.Prerouting|iptables.Output)
	if to.HasPorts {
		problems = append(problems, portsNeedProtocol(c, "DNAT")...)
	}
	return problems
}

func (t *dnat4Target) Action(iptables.Context) predicate.Action { return t.action(t.To.Value.natRange) }
func (t *dnat6Target) Action(iptables.Context) predicate.Action { return t.action(t.To.Value.natRange) }

func (t *dnatTarget) action(to natRange) predicate.Action {
	nat := natEffect(to)
	nat.Destination = true
	nat.Flags = natRandomFlags(t.Random.Present, false, t.Persistent.Present)
	return natAction(nat, to.HasPorts, to.Ports)
}

func (t *dnat4Target) Translate(r *translate.Rule) error {
	return t.translate(r, t.To.Value.natRange, t.To.Range)
}
func (t *dnat6Target) Translate(r *translate.Rule) error {
	return t.translate(r, t.To.Value.natRange, t.To.Range)
}

func (t *dnatTarget) translate(r *translate.Rule, to natRange, where diag.Range) error {
	return addNAT(r, to, where, nftgen.NAT{
		Destination: true,
		Flags:       nftgen.NATFlags{Random: t.Random.Present, Persistent: t.Persistent.Present},
	})
}

// Flags of a mapping.
//
// Kernel: include/uapi/linux/netfilter/nf_nat.h, NF_NAT_RANGE_*.
const (
	natProtoRandom      = 1 << 2
	natPersistent       = 1 << 3
	natProtoRandomFully = 1 << 4
)

func natRandomFlags(random, fully, persistent bool) uint32 {
	var flags uint32
	if random {
		flags |= natProtoRandom
	}
	if fully {
		flags |= natProtoRandomFully
	}
	if persistent {
		flags |= natPersistent
	}
	return flags
}

// natEffect is the effect of mapping to a range, without flags.
func natEffect(to natRange) predicate.NAT {
	return predicate.NAT{Min: to.Min, Max: to.Max}
}

// natAction is the action of a target of the nat table. Source ports that are
// shifted are beyond what is modelled.
func natAction(nat predicate.NAT, hasPorts bool, ports portRange) predicate.Action {
	if hasPorts {
		nat.MinPort, nat.MaxPort, nat.FromZero = ports.Low, ports.High, ports.Low == 0
		nat.Shifted, nat.Base = ports.Shifted, ports.Base
	}
	var effect predicate.Effect = nat
	if nat.Shifted && !nat.Destination {
		effect = predicate.UnmodelledEffect{What: "shifting source ports"}
	}
	return predicate.Action{Effects: []predicate.Effect{effect}, Then: predicate.Accept}
}

// addNAT completes and adds the statement that maps to a range, which stands at
// where.
func addNAT(r *translate.Rule, to natRange, where diag.Range, nat nftgen.NAT) error {
	switch {
	case to.HasPorts && to.Ports.Shifted && nat.Destination:
		var err error
		if nat.Map, nat.Protocol, err = shiftedPorts(r, to.Ports, where); err != nil {
			return err
		}
	case to.HasPorts:
		var err error
		if nat.Protocol, err = mappedPorts(r, to.Ports, where); err != nil {
			return err
		}
		nat.LowPort, nat.HiPort, nat.FromZero = to.Ports.Low, to.Ports.High, to.Ports.Low == 0
	}
	if to.Min.IsValid() {
		if to.Max.Less(to.Min) {
			return &translate.Untranslatable{
				Code:    "untranslatable-option",
				Summary: "a range of addresses that ends before it starts has no nftables counterpart",
				Detail:  "xtables takes almost any address there is for it, and nftables refuses such a range. Write the lower address first.",
				Range:   where,
			}
		}
		nat.Low, nat.High = to.Min.AsSlice(), to.Max.AsSlice()
	}
	r.Add(nat)
	return nil
}

// shiftedPorts returns the map of a DNAT that shifts ports, of the ports that
// the tests of the rule leave, and the protocol.
//
// Kernel: net/netfilter/nf_nat_core.c, nf_nat_l4proto_unique_tuple: the distance
// to the base has 16 bits, and begins again behind the end of the range.
func shiftedPorts(r *translate.Rule, p portRange, where diag.Range) (*nftgen.PairMap, uint8, error) {
	p.Shifted = false
	proto, err := mappedPorts(r, p, where)
	if err != nil {
		return nil, 0, err
	}
	field := nftgen.Dport(proto)
	if proto == 1 {
		return nil, 0, &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "shifted identifiers of ICMP have no nftables counterpart",
			Detail:  "xtables shifts the identifiers of pings, which nft has no map for. Write a rule for -p tcp or -p udp.",
			Range:   where,
		}
	}
	m := &nftgen.PairMap{Field: field}
	size := uint32(p.High-p.Low) + 1
	for _, port := range r.Ports(field) {
		m.Pairs = append(m.Pairs, nftgen.Pair{From: port, To: p.Low + uint16(uint32(port-p.Base)%size)})
	}
	if len(m.Pairs) == 0 {
		m.Pairs = []nftgen.Pair{{From: p.Base, To: p.Low}} // no packet gets here
	}
	r.Declare(translate.Deviation{
		Code: "dnat-port-taken",
		Detail: "A connection from one source address and port to two destinations that are mapped to the same address and port: " +
			"xtables takes the next free port of the range for the second, nftables another source port.",
	})
	return m, proto, nil
}
