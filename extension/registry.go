package extension

import (
	"sort"

	"nftmigrate/iptables"
)

// Registry supplies the extensions of this package.
var Registry iptables.Registry = registry{}

type registry struct{}

const (
	v4 = 1 << iota
	v6
	both = v4 | v6
)

// An entry makes an extension. The two families may have different ones of one
// name.
type entry[T any] struct {
	families int
	fresh    [both]func() T // by v4 and v6
}

func (e entry[T]) with(families int, fresh func() T) entry[T] {
	e.families |= families
	for _, f := range []int{v4, v6} {
		if families&f != 0 {
			e.fresh[f] = fresh
		}
	}
	return e
}

var (
	matches         = map[string]entry[iptables.Match]{}
	targets         = map[string]entry[iptables.Target]{}
	protocolMatches = map[uint8]string{}
)

// registerMatch adds a match for both families.
func registerMatch(name string, fresh func() iptables.Match) { registerMatchFor(both, name, fresh) }

func registerMatchFor(families int, name string, fresh func() iptables.Match) {
	matches[name] = matches[name].with(families, fresh)
}

// registerProtocolMatch says which match "-p proto" makes available.
func registerProtocolMatch(proto uint8, name string) { protocolMatches[proto] = name }

// registerTarget adds a target for both families.
func registerTarget(name string, fresh func() iptables.Target) { registerTargetFor(both, name, fresh) }

func registerTargetFor(families int, name string, fresh func() iptables.Target) {
	targets[name] = targets[name].with(families, fresh)
}

func family(f iptables.Family) int {
	if f == iptables.IPv6 {
		return v6
	}
	return v4
}

// aliases are other names that ip6tables takes for a match; it prints the first.
var aliases = map[string]string{"icmpv6": "icmp6", "ipv6-icmp": "icmp6"}

func (registry) NewMatch(f iptables.Family, name string) iptables.Match {
	if other, ok := aliases[name]; ok && f == iptables.IPv6 {
		name = other
	}
	if fresh := matches[name].fresh[family(f)]; fresh != nil {
		return fresh()
	}
	return nil
}

func (registry) NewTarget(f iptables.Family, name string) iptables.Target {
	if fresh := targets[name].fresh[family(f)]; fresh != nil {
		return fresh()
	}
	return nil
}

func (registry) ProtocolMatch(f iptables.Family, proto uint8) string {
	name := protocolMatches[proto]
	if e, ok := matches[name]; ok && e.families&family(f) != 0 {
		return name
	}
	return ""
}

func (registry) Exists(name string) bool { return known[name] }

func (registry) Matches(f iptables.Family) []string {
	var names []string
	for name, e := range matches {
		if e.families&family(f) != 0 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func (registry) Targets(f iptables.Family) []string {
	var names []string
	for name, e := range targets {
		if e.families&family(f) != 0 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// known are the extensions of iptables 1.8.9 to 1.8.13 by name, whether this
// package supplies them or not.
var known = func() map[string]bool {
	m := make(map[string]bool)
	for _, name := range []string{
		"addrtype", "ah", "bpf", "cgroup", "cluster", "comment", "connbytes", "connlabel", "connlimit", "connmark",
		"conntrack", "cpu", "dccp", "devgroup", "dscp", "dst", "ecn", "esp", "eui64", "frag", "hashlimit", "hbh",
		"helper", "hl", "icmp", "icmp6", "ipcomp", "iprange", "ipv6header", "ipvs", "length", "limit", "mac", "mark",
		"mh", "multiport", "nfacct", "osf", "owner", "physdev", "pkttype", "policy", "quota", "rateest", "realm",
		"recent", "rpfilter", "rt", "sctp", "set", "socket", "srh", "state", "statistic", "string", "tcp", "tcpmss",
		"time", "tos", "ttl", "u32", "udp",
		"AUDIT", "CHECKSUM", "CLASSIFY", "CLUSTERIP", "CONNMARK", "CONNSECMARK", "CT", "DNAT", "DNPT", "DSCP", "ECN",
		"HL", "HMARK", "IDLETIMER", "LED", "LOG", "MARK", "MASQUERADE", "NETMAP", "NFLOG", "NFQUEUE", "NOTRACK",
		"RATEEST", "REDIRECT", "REJECT", "SECMARK", "SET", "SNAT", "SNPT", "SYNPROXY", "TCPMSS", "TCPOPTSTRIP",
		"TEE", "TOS", "TPROXY", "TRACE", "TTL", "ULOG",
	} {
		m[name] = true
	}
	return m
}()
