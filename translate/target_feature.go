package translate

import (
	"reflect"
	"strings"

	"nftmigrate/nftgen"
)

// A Feature is something that kernels and versions of nft have since some time.
// The numbers are those of the upstream histories of Linux and nftables.
type Feature struct {
	Name        string
	Kernel, NFT Version
}

// base is what every nf_tables that a translation can be for has: tables of both
// families, interval sets, marks, and comments of rules.
var baseFeature = Feature{"nf_tables", Version{4, 1}, Version{0, 5}}

// Features of more than one statement or field.
var (
	// inetNAT is chains of type nat in a table of both families.
	inetNAT = Feature{"address translation in a table of both families", Version{5, 2}, Version{0, 9, 1}}
	// namedPriority is "priority mangle"; before, there are numbers.
	namedPriority = Feature{"names of priorities", Version{}, Version{0, 9, 1}}
	// flagNegation is "ct state ! new"; before, there is a mask compared with 0.
	flagNegation = Feature{"the negation of flags", Version{}, Version{1, 0, 0}}
	// concatRanges is intervals among several fields.
	concatRanges = Feature{"ranges in concatenations", Version{5, 6}, Version{0, 9, 4}}
	// natPrefix maps a network to another.
	natPrefix = Feature{"address translation by prefix", Version{5, 8}, Version{0, 9, 5}}
	// natMap maps to addresses and ports that an element tells; before, nft wants
	// the word for the pair in another place.
	natMap = Feature{"address translation by a map", Version{4, 1}, Version{0, 9, 9}}
	// setDelete removes the packet's element from a set.
	setDelete = Feature{"elements that packets remove from sets", Version{5, 4}, Version{0, 9, 3}}
	// twoRegisters is arithmetic of two fields.
	twoRegisters = Feature{"arithmetic of two marks", Version{6, 13}, Version{1, 1, 2}}
	// connlimit counts connections.
	connlimit = Feature{"limits of connections", Version{4, 18}, Version{0, 9, 0}}
	// unknownFeature is what the tables below do not know.
	unknownFeature = Feature{"something of which the version is not known", Version{1 << 15}, Version{1 << 15}}
)

// stmtKinds are the kinds of statements by the names of their types.
var stmtKinds = map[string]Feature{
	"Compare": baseFeature, "IfName": baseFeature, "InPrefix": baseFeature, "InSpan": baseFeature, "AnyBit": baseFeature,
	"OneOf": baseFeature, "OneOfTuple": baseFeature, "InSet": baseFeature, "Vmap": baseFeature, "MapAssign": baseFeature, "NATMap": natMap, "VerdictStmt": baseFeature, "Counter": baseFeature,
	"Log": baseFeature, "LogGroup": baseFeature, "Reject": baseFeature, "Assign": baseFeature, "Trace": baseFeature,
	"NAT": baseFeature, "Masquerade": baseFeature, "Redirect": baseFeature, "Update": baseFeature,
	"Queue":       baseFeature,
	"Xt":          {"extensions of xtables in nf_tables", Version{3, 13}, Version{}},
	"Exists":      {"tests whether a header or option is there", Version{4, 11}, Version{0, 8}},
	"Limit":       {"limits with a burst", Version{4, 3}, Version{0, 6}},
	"Quota":       {"quotas", Version{4, 9}, Version{0, 7}},
	"ConnLimit":   connlimit,
	"SetField":    {"changes of header fields", Version{4, 10}, Version{0, 7}},
	"MapByte":     {"changes of header fields by a map", Version{4, 10}, Version{0, 8}},
	"Notrack":     {"notrack", Version{4, 9}, Version{0, 7}},
	"SetMSS":      {"changes of TCP options", Version{4, 14}, Version{0, 8}},
	"Use":         {"named counters, quotas and helpers", Version{4, 12}, Version{0, 8}},
	"Dup":         {"copies of packets", Version{4, 3}, Version{0, 6}},
	"HasLabel":    {"labels of connections", Version{3, 16}, Version{0, 5}},
	"SetLabel":    {"changes of labels of connections", Version{4, 10}, Version{0, 8}},
	"SynProxy":    {"synproxy", Version{5, 3}, Version{0, 9, 2}},
	"SetZone":     {"zones of connections", Version{4, 11}, Version{0, 8}},
	"SetEvents":   {"events of connections", Version{4, 15}, Version{0, 8}},
	"TProxy":      {"tproxy", Version{4, 19}, Version{0, 9, 1}},
	"ResetOption": {"removal of TCP options", Version{5, 18}, Version{1, 0, 2}},
}

// fieldKinds are fields by how nft's words for them begin; the longest decides.
var fieldKinds = []struct {
	words   string
	feature Feature
}{
	{"meta ", baseFeature}, {"ct ", baseFeature}, {"ip ", baseFeature}, {"ip6 ", baseFeature}, {"tcp ", baseFeature}, {"udp ", baseFeature},
	{"udplite ", baseFeature}, {"sctp ", baseFeature}, {"dccp ", baseFeature}, {"icmp ", baseFeature}, {"icmpv6 ", baseFeature},
	{"ah ", baseFeature}, {"esp ", baseFeature}, {"comp ", baseFeature}, {"ether ", baseFeature}, {"frag ", baseFeature}, {"hbh ", baseFeature},
	{"rt ", baseFeature}, {"srh ", baseFeature}, {"cgroup", baseFeature}, {"dst ", baseFeature}, {"mh ", baseFeature}, {"iif", baseFeature}, {"oif", baseFeature}, {"@", baseFeature},
	{"exthdr ", Feature{"tests whether an extension header is there", Version{4, 11}, Version{0, 8}}},
	{"fib ", Feature{"questions to the routing tables", Version{4, 10}, Version{0, 7}}},
	{"numgen ", Feature{"numbers that go round", Version{4, 9}, Version{0, 7}}},
	{"th ", Feature{"ports of any protocol", Version{}, Version{0, 9, 2}}},
	{"tcp option ", Feature{"TCP options", Version{4, 11}, Version{0, 8}}},
	{"meta random", Feature{"random numbers of the packet", Version{4, 18}, Version{0, 9, 0}}},
	{"meta hour", metaTime}, {"meta day", metaTime}, {"meta time", metaTime},
	{"ct original", ctTuple}, {"ct reply", ctTuple},
	{"socket ", Feature{"sockets of packets", Version{4, 18}, Version{0, 9, 0}}},
	{"socket wildcard", Feature{"wildcard sockets", Version{5, 10}, Version{0, 9, 7}}},
	{"socket cgroupv2", Feature{"control groups of sockets", Version{5, 13}, Version{0, 9, 9}}},
	{"osf ", Feature{"fingerprints of operating systems", Version{4, 19}, Version{0, 9, 1}}},
	{"ipsec ", Feature{"IPsec policies of packets", Version{4, 20}, Version{0, 9, 1}}},
	{"sctp chunk", Feature{"chunks of SCTP", Version{5, 14}, Version{1, 0, 0}}},
	{"dccp option", Feature{"options of DCCP", Version{6, 5}, Version{1, 0, 8}}},
}

var (
	metaTime = Feature{"times of day", Version{5, 4}, Version{0, 9, 3}}
	ctTuple  = Feature{"addresses and ports of connections", Version{4, 17}, Version{0, 9, 0}}
)

// fieldFeature returns what a field needs.
func fieldFeature(text string) Feature {
	found, length := unknownFeature, 0
	for _, k := range fieldKinds {
		if strings.HasPrefix(text, k.words) && len(k.words) > length {
			found, length = k.feature, len(k.words)
		}
	}
	return found
}

// stmtFeatures returns what a statement needs.
func stmtFeatures(s nftgen.Stmt) []Feature {
	kind, ok := stmtKinds[reflect.TypeOf(s).Name()]
	if !ok {
		kind = unknownFeature
	}
	list := []Feature{kind}
	for _, f := range nftgen.Fields(s) {
		list = append(list, fieldFeature(f.Text))
	}
	switch s := s.(type) {
	case nftgen.AnyBit:
		if s.Not {
			list = append(list, flagNegation)
		}
	case nftgen.OneOfTuple:
		for _, tuple := range s.Tuples {
			if hasRange(tuple) {
				list = append(list, concatRanges)
				break
			}
		}
	case nftgen.NAT:
		if s.Prefix != 0 {
			list = append(list, natPrefix)
		}
	case nftgen.Assign:
		if s.From != nil && s.Keep != nil {
			list = append(list, twoRegisters)
		}
	case nftgen.Update:
		if s.Op == nftgen.OpDelete {
			list = append(list, setDelete)
		}
		for _, inner := range s.Stmts {
			list = append(list, stmtFeatures(inner)...)
		}
	}
	return list
}

// setFeatures returns what a set needs.
func setFeatures(s *nftgen.Set) []Feature {
	list := []Feature{baseFeature}
	if s.Interval && len(s.Key) > 1 {
		list = append(list, concatRanges)
	}
	if s.Counter {
		list = append(list, Feature{"counters of elements", Version{5, 7}, Version{0, 9, 5}})
	}
	return list
}

func hasRange(tuple []nftgen.Interval) bool {
	for _, i := range tuple {
		if string(i.Low) != string(i.High) {
			return true
		}
	}
	return false
}
