package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
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
	{"ECN_ECNE", ""}, {"ECN_CWR", ""}, {"SHUTDOWN_COMPLETE", "-------T"}, {"I_DATA", "----IUBE"}, {"RE_CONFIG", ""}, {"PAD", ""},
	{"ASCONF", ""}, {"ASCONF_ACK", ""}, {"FORWARD_TSN", ""}, {"I_FORWARD_TSN", ""},
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
	if m.Chunks.Present {
		match = append(match, predicate.Unmodelled{What: "the chunks of SCTP"})
	}
	return predicate.Meaning{Hotdrop: truncated(12), Match: match}
}

func (m *sctpMatch) Translate(r *translate.Rule) error {
	if m.Chunks.Present {
		return &translate.Untranslatable{
			Summary: "--chunk-types is not translated",
			Detail: "iptables drops packets whose chunks it cannot walk to the end, and looks at each chunk of a type; " +
				"nftables does neither. Match the ports alone.",
			Range: m.Chunks.Range,
		}
	}
	addPorts(r, protocolSCTP, m.Sport, m.Dport)
	r.FirstFragment()
	return nil
}
