package extension

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatch("sctp", func() iptables.Match { return new(sctpMatch) })
	registerProtocolMatch(protocolSCTP, "sctp")
}

var (
	_ iptsim.Meaning       = (*sctpMatch)(nil)
	_ translate.Translator = (*sctpMatch)(nil)
	_ iptables.Validator   = (*sctpMatch)(nil)
)

// protocolSCTP is the protocol number of SCTP (RFC 9260).
const protocolSCTP = 132

// sctpMatch is "-m sctp": ports and the types of the chunks of an SCTP packet.
//
// Later fragments never match, and a packet with less than 12 bytes of the header
// is dropped on the spot.
//
// Kernel: net/netfilter/xt_sctp.c.
type sctpMatch struct {
	Sport, Dport iptables.Opt[iptables.PortSpan]
	Chunks       iptables.Opt[sctpChunks]
}

// An sctpChunks is the two arguments of --chunk-types: whether all, any or only
// such chunks are asked for, and which, each with flags to look at.
type sctpChunks struct {
	scope string
	list  []sctpChunk
	every bool // ALL
}

// An sctpChunk is a type of chunk, and its flags as they are printed.
type sctpChunk struct {
	place int // in sctpChunkTypes
	flags string
}

// sctpChunkTypes are the names that iptables knows, in the order in which it
// prints them, with the flags of each from the highest bit on.
var sctpChunkTypes = []struct{ name, flags string }{
	{"DATA", "----IUBE"}, {"INIT", ""}, {"INIT_ACK", ""}, {"SACK", ""}, {"HEARTBEAT", ""}, {"HEARTBEAT_ACK", ""},
	{"ABORT", "-------T"}, {"SHUTDOWN", ""}, {"SHUTDOWN_ACK", ""}, {"ERROR", ""}, {"COOKIE_ECHO", ""}, {"COOKIE_ACK", ""},
	{"ECN_ECNE", ""}, {"ECN_CWR", ""}, {"SHUTDOWN_COMPLETE", "-------T"}, {"I_DATA", "----IUBE"}, {"ASCONF_ACK", ""}, {"RE_CONFIG", ""},
	{"PAD", ""}, {"FORWARD_TSN", ""}, {"ASCONF", ""}, {"I_FORWARD_TSN", ""},
}

// Count returns 2.
func (*sctpChunks) Count() int { return 2 }

// Set satisfies Value; SetArgs is called instead.
func (c *sctpChunks) Set(arg string) error { return c.SetArgs(strings.Fields(arg)) }

// String returns both arguments with a blank between them.
func (c *sctpChunks) String() string { return strings.Join(c.Args(), " ") }

// SetArgs reads "all", "any" or "only", and a list of types.
func (c *sctpChunks) SetArgs(args []string) error {
	*c = sctpChunks{scope: strings.ToLower(args[0])}
	switch c.scope {
	case "all", "any", "only":
	default:
		return fmt.Errorf("%q is none of all, any and only", args[0])
	}
	switch strings.ToUpper(args[1]) {
	case "ALL":
		c.every = true
		return nil
	case "NONE":
		return nil
	}
	given := map[int]string{}
	for part := range strings.SplitSeq(args[1], ",") {
		name, flags, _ := strings.Cut(part, ":")
		place := -1
		for i, t := range sctpChunkTypes {
			if strings.EqualFold(t.name, name) {
				place = i
			}
		}
		if place < 0 {
			return fmt.Errorf("%q is no type of chunk", name)
		}
		for _, f := range flags {
			if !strings.ContainsRune(sctpChunkTypes[place].flags, f&^0x20) || f == '-' {
				return fmt.Errorf("%q is no flag of %s", string(f), sctpChunkTypes[place].name)
			}
		}
		given[place] = flags
	}
	for i, t := range sctpChunkTypes {
		flags, ok := given[i]
		if !ok {
			continue
		}
		chunk := sctpChunk{place: i}
		for _, f := range t.flags {
			switch {
			case f == '-':
			case strings.ContainsRune(flags, f):
				chunk.flags += string(f)
			case strings.ContainsRune(flags, f|0x20):
				chunk.flags += string(f | 0x20)
			}
		}
		c.list = append(c.list, chunk)
	}
	return nil
}

// Args writes both arguments.
func (c *sctpChunks) Args() []string {
	switch {
	case c.every:
		return []string{c.scope, "ALL"}
	case len(c.list) == 0:
		return []string{c.scope, "NONE"}
	}
	parts := make([]string, len(c.list))
	for i, chunk := range c.list {
		parts[i] = sctpChunkTypes[chunk.place].name
		if chunk.flags != "" {
			parts[i] += ":" + chunk.flags
		}
	}
	return []string{c.scope, strings.Join(parts, ",")}
}

func (*sctpMatch) Name() string { return "sctp" }

func (m *sctpMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("sport", &m.Sport, iptables.Invertible),
		iptables.Bind("dport", &m.Dport, iptables.Invertible),
		iptables.Bind("chunk-types", &m.Chunks, iptables.Invertible),
		iptables.Alias("source-port", "sport"),
		iptables.Alias("destination-port", "dport"),
	}
}

func (*sctpMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "sctp", protocolSCTP)
}

func (m *sctpMatch) Meaning(iptables.Context) predicate.Meaning {
	match := predicate.All{
		firstFragment(),
		portWithin(predicate.SrcPort, m.Sport),
		portWithin(predicate.DstPort, m.Dport),
	}
	meaning := predicate.Meaning{Hotdrop: truncated(12), Match: match}
	if !m.Chunks.Present {
		return meaning
	}
	walk := m.Chunks.Value.walk()
	cut := walk
	cut.Cut = true
	// What is no chunk is none of those that are looked for: with a negation the
	// match holds, and the target works on the packet before it is dropped.
	meaning.Doom = append(slices.Clone(match), predicate.Stateful{Instance: cut})
	meaning.Match = append(match, negatedIf(m.Chunks.Negated, predicate.Stateful{Instance: walk}))
	return meaning
}

// sctpChunkNumbers are the numbers of the types, in the order of their names (RFC 9260,
// section 3.2, and the registry of IANA).
var sctpChunkNumbers = []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 64, 128, 130, 132, 192, 193, 194}

// walk is what the list asks of the chunks. A flag is asked to be set by a capital
// letter, not to be by a small one; the letters stand for bits from the highest on.
func (c *sctpChunks) walk() predicate.Chunks {
	walk := predicate.Chunks{Scope: c.scope, Every: c.every, Types: map[uint8]predicate.ChunkFlags{}}
	for _, chunk := range c.list {
		var f predicate.ChunkFlags
		for _, letter := range chunk.flags {
			for i, name := range sctpChunkTypes[chunk.place].flags {
				switch bit := uint8(0x80) >> i; letter {
				case name:
					f.Mask, f.Value = f.Mask|bit, f.Value|bit
				case name | 0x20:
					f.Mask |= bit
				}
			}
		}
		walk.Types[sctpChunkNumbers[chunk.place]] = f
	}
	return walk
}

func (m *sctpMatch) Translate(r *translate.Rule) error {
	if m.Chunks.Present {
		if u := m.refusal(); u != nil {
			return u
		}
	}
	addPorts(r, protocolSCTP, m.Sport, m.Dport)
	r.FirstFragment()
	if m.Chunks.Present {
		m.addChunks(r)
	}
	return nil
}

// refusal refuses what nftables cannot ask of chunks.
func (m *sctpMatch) refusal() *translate.Untranslatable {
	why := ""
	switch c := m.Chunks.Value; {
	case c.every && c.scope == "all":
		why = "No name of nft stands for a type that has none."
	case c.every:
	case c.scope == "only" && len(c.list) > 0:
		why = "Of chunks of other types, nftables can ask for those only that have a name."
	default:
		for _, chunk := range c.list {
			if chunk.flags != "" {
				why = "iptables looks at the flags of every chunk of a type, nftables at those of the first."
			}
			if nftgen.SCTPChunk(sctpChunkWords[chunk.place]).Text == "" {
				why = "One of the types has no name in nft."
			}
		}
	}
	if why == "" {
		return nil
	}
	return &translate.Untranslatable{
		Summary: "--chunk-types asks what nftables cannot",
		Detail:  why + " Ask for any or all of types without flags, or match the ports alone.", Range: m.Chunks.Range,
	}
}

// sctpChunkWords are the names of the types in nft, in the order of those in
// iptables, "" for none.
var sctpChunkWords = []string{
	"data", "init", "init-ack", "sack", "heartbeat", "heartbeat-ack", "abort", "shutdown", "shutdown-ack", "error", "cookie-echo", "cookie-ack",
	"ecne", "cwr", "shutdown-complete", "", "asconf-ack", "", "", "forward-tsn", "asconf", "",
}

// addChunks adds the tests of the chunks. There is always one, or the packet is
// dropped.
func (m *sctpMatch) addChunks(r *translate.Rule) {
	c, negated := m.Chunks.Value, m.Chunks.Negated
	if holds := c.every || c.scope == "all" && len(c.list) == 0; holds || len(c.list) == 0 {
		if holds == negated {
			r.Never()
		}
		return
	}
	proto := nftgen.Compare{Field: nftgen.MetaL4Proto, Op: nftgen.Eq, Value: nftgen.Value{protocolSCTP}}
	there := func(missing bool) (list []nftgen.Stmt) {
		for _, chunk := range c.list {
			list = append(list, nftgen.Exists{Field: nftgen.SCTPChunk(sctpChunkWords[chunk.place]), Missing: missing})
		}
		return list
	}
	// All of them there, or none: one rule; any there, or missing: alternatives.
	if (c.scope == "all") != negated {
		r.Add(proto)
		r.Add(there(negated)...)
		return
	}
	branch := translate.Branch{Otherwise: translate.Fail}
	for _, test := range there(negated) {
		branch.Rows = append(branch.Rows, translate.Row{Stmts: []nftgen.Stmt{proto, test}, Then: translate.Match})
	}
	r.Branch(branch)
}
