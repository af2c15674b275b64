package nftsim

import (
	"cmp"
	"slices"

	"nftmigrate/packet"
)

// A Machine is a decoded batch with the state of its sets and buckets. It is
// not safe for concurrent use.
type Machine struct {
	Tables []*Table
	states states
	run    execution
	asked  map[int][]instanceID // what Collect found, by IP version
	rings  *rings
}

// A Table is a decoded table.
type Table struct {
	Family  uint8 // NFPROTO_*
	Name    string
	Dormant bool // its chains are not attached to hooks
	Chains  []*Chain
	Sets    []*Set
	// Unknown names what is not modelled of the table itself; every packet
	// that its base chains see is then undecided.
	Unknown string
	chains  map[string]*Chain
	sets    map[string]*Set // the first of each name
	objects map[objectKey]any
}

// A Chain is a decoded chain.
type Chain struct {
	Table *Table
	Name  string
	Base  *Base // nil for a regular chain
	Rules []*Rule
	// Unknown names what is not modelled of the chain itself.
	Unknown string
}

// A Base says where a base chain hangs.
type Base struct {
	Type     string // filter, nat or route
	Hook     uint32 // NF_INET_* number, of the family's hooks
	Priority int32
	Drop     bool // policy drop, else accept
}

// A Rule is a decoded rule.
type Rule struct {
	Chain        *Chain
	Message      int    // index of its message in the batch
	Comment      string // of the user data
	Instructions []Instruction
	handle       uint64
}

// The address families of tables.
//
// Kernel: include/uapi/linux/netfilter.h, NFPROTO_*.
const (
	familyInet   = 1
	familyIPv4   = 2
	familyARP    = 3
	familyNetdev = 5
	familyBridge = 7
	familyIPv6   = 10
)

var familyNames = map[uint8]string{
	familyInet: "inet", familyIPv4: "ip", familyARP: "arp",
	familyNetdev: "netdev", familyBridge: "bridge", familyIPv6: "ip6",
}

// sees says whether chains of a family see packets of an IP version.
func sees(family uint8, version int) bool {
	switch family {
	case familyInet:
		return version == 4 || version == 6
	case familyIPv4:
		return version == 4
	case familyIPv6:
		return version == 6
	}
	return false
}

var stageKinds = map[string]packet.StageKind{
	"filter": packet.Filter, "nat": packet.NAT, "route": packet.Reroute,
}

// Stages returns a stage for each base chain, in the order in which the kernel
// runs them: by hook, then priority, then the order of the batch. A packet of
// a version that the table's family does not see passes a stage untouched.
//
// Chains of arp and bridge tables see no packet that is routed and have no
// stage. Those of netdev tables and of the ingress hook are not modelled: they
// make every packet undecided at the hook they come before.
func (m *Machine) Stages() []packet.Stage {
	var stages []packet.Stage
	for _, t := range m.Tables {
		if t.Dormant || t.Family == familyARP || t.Family == familyBridge {
			continue
		}
		for _, c := range t.Chains {
			if c.Base != nil {
				stages = append(stages, m.stage(c))
			}
		}
	}
	slices.SortStableFunc(stages, func(a, b packet.Stage) int {
		return cmp.Or(cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.Priority, b.Priority))
	})
	return stages
}

func (m *Machine) stage(c *Chain) packet.Stage {
	s := packet.Stage{
		Name:     "table " + familyNames[c.Table.Family] + " " + c.Table.Name + " chain " + c.Name,
		Hook:     packet.Hook(c.Base.Hook),
		Priority: c.Base.Priority,
		Kind:     stageKinds[c.Base.Type],
	}
	if c.Table.Family == familyNetdev || c.Base.Hook > uint32(packet.Postrouting) {
		const beforeAll = -1 << 31
		s.Hook, s.Priority, s.Kind = packet.Prerouting, beforeAll, packet.Filter
		if c.Table.Family == familyNetdev && c.Base.Hook != 0 {
			s.Hook = packet.Postrouting
		}
		s.Run = func(f *packet.Flight) packet.Verdict {
			return undecided(f, s.Name+": the hook is not modelled")
		}
		return s
	}
	s.Run = func(f *packet.Flight) packet.Verdict { return m.runChain(c, s.Name, f) }
	return s
}

// Rules returns all rules in the order in which their chains run them.
func (m *Machine) Rules() []*Rule {
	var rules []*Rule
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			rules = append(rules, c.Rules...)
		}
	}
	return rules
}

// Reset forgets what packets have left behind: elements that they added,
// buckets that they drained.
func (m *Machine) Reset() {
	m.states = states{}
	for _, t := range m.Tables {
		for _, s := range t.Sets {
			s.reset()
		}
	}
}

// NeedsConntrack says whether loading the batch makes the kernel track the
// connections of an IP version, and so reassemble its fragments.
//
// Kernel: net/netfilter, callers of nf_ct_netns_get. A notrack expression does
// not ask for tracking, and neither does a nat chain without a nat statement.
func (m *Machine) NeedsConntrack(version int) bool {
	for _, r := range m.Rules() {
		if !sees(r.Chain.Table.Family, version) {
			continue
		}
		for _, i := range r.Instructions {
			if t, ok := i.(tracker); ok && t.tracks(version) {
				return true
			}
		}
	}
	return false
}

// A tracker is an instruction that makes the kernel track connections of an IP
// version, when its table's family sees that version.
type tracker interface {
	tracks(version int) bool
}
