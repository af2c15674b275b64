package rulegen

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// A campus is the network behind a gateway, and the save file that speaks of
// it. Both families are filled by the same code; what differs between them is
// in the fields.
type campus struct {
	*rand.Rand
	save   *save
	filter *table

	network netip.Prefix   // all of it
	admins  netip.Prefix   // who may reach the gateway
	bogus   []netip.Prefix // never a source on the line to the provider
	vlans   []*vlan

	icmp      string // the protocol
	icmpMatch string // with the option that takes a type
	echo      int    // the type of a request
	pathTypes []int  // types without which connections stall
	tooFar    string // the answer to traceroute

	// host returns a new address in a network, outside a network that is
	// somewhere else.
	host    func(netip.Prefix) netip.Addr
	outside func() netip.Prefix
}

// A vlan is one network of a campus, on an interface of its own.
type vlan struct {
	id      int
	device  string
	network netip.Prefix
	servers []netip.Addr
	guard   guard
	in, out *chain // of what is sent to it, and by it
	macs    *chain // nil without a guard
}

// A guard says how a VLAN ties addresses to network cards.
type guard uint8

const (
	unguarded guard = iota
	strict          // what is not listed may not send
	loose           // what is listed may not send with another card
)

// The lines to the world.
const (
	uplink = "eth0"
	dialup = "ppp0"
	tunnel = "tun0"
)

// perVLAN is how many rules a gateway has for each of its VLANs.
const perVLAN = 60

// addVLANs adds as many VLANs as a gateway of that many rules has, 3 to 100.
// The first ones have most rules.
func (c *campus) addVLANs(rules int, network func(i int) netip.Prefix) {
	ids := c.Perm(1900)
	for i := range min(max(rules/perVLAN, 3), 100) {
		v := &vlan{id: 100 + ids[i], network: network(i), guard: [...]guard{strict, unguarded, unguarded, loose, unguarded, unguarded}[i%6]}
		v.device = fmt.Sprintf("eth1.%d", v.id)
		for range 4 {
			v.servers = append(v.servers, c.host(v.network))
		}
		c.vlans = append(c.vlans, v)
	}
}

// vlan returns a VLAN, the first ones more often than the last.
func (c *campus) vlan() *vlan {
	n := len(c.vlans)
	return c.vlans[min(c.IntN(n), c.IntN(n))]
}

// server returns one host of a VLAN, now and then a new one. Under a strict guard
// it is one that may send: a rule about any other source would be dead.
func (c *campus) server(v *vlan) string {
	if v.guard != strict && oneIn(c.Rand, 3) {
		return c.newServer(v)
	}
	return single(oneOf(c.Rand, v.servers)).String()
}

// newServer returns a new host of a VLAN, for a rule about a destination.
func (c *campus) newServer(v *vlan) string {
	a := c.host(v.network)
	if v.guard != strict {
		v.servers = append(v.servers, a)
	}
	return single(a).String()
}

// ofICMP returns the match of a type.
func (c *campus) ofICMP(kind int) string { return fmt.Sprintf("%s %d", c.icmpMatch, kind) }

const (
	invalid   = "conntrack --ctstate INVALID"
	untracked = "conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED"
	synOnly   = "tcp --tcp-flags FIN,SYN,RST,ACK SYN"
)

// tcpTo and udpTo are the matches of a port or range.
func tcpTo(ports any) string { return fmt.Sprint("tcp --dport ", ports) }
func udpTo(ports any) string { return fmt.Sprint("udp --dport ", ports) }

// The chains that log and drop, each with its own limit.
var logChains = []struct{ name, prefix, limit string }{
	{"LOG_DROP", "[FW DROP]: ", "3/min"},
	{"LOG_SPOOF", "[FW SPOOF]: ", "1/sec --limit-burst 10"},
	{"LOG_MAC", "[FW MAC]: ", "10/hour"},
}

// serviceChains list the hosts that have a service.
var serviceChains = []struct{ name, protocol, match string }{
	{"srv_web", "tcp", "multiport --dports 80,443,8080"},
	{"srv_mail", "tcp", "multiport --dports 25,110,143,465,587,993,995"},
	{"srv_dns", "udp", "udp --dport 53"},
	{"srv_ssh", "tcp", "tcp --dport 22"},
}

// addFilter adds table filter without the rules that name hosts.
func (c *campus) addFilter() {
	c.filter = c.save.table("filter", "INPUT", "FORWARD", "OUTPUT")
	c.filter.chain("INPUT").policy = "DROP"
	c.filter.chain("FORWARD").policy = "DROP"
	for _, l := range logChains {
		c.filter.chain(l.name).end(
			rule{matches: []string{"limit --limit " + l.limit}, action: fmt.Sprintf("-j LOG --log-prefix %q", l.prefix)},
			rule{action: "-j DROP"})
	}
	c.addInput()
	c.addOutput()

	f := c.filter.chain("FORWARD")
	f.begin(rule{action: "-j ACCEPT"}.with(untracked), rule{action: "-j DROP"}.with(invalid))
	for _, p := range append(c.bogus, c.network) {
		f.begin(rule{source: p.String(), in: uplink, action: "-j LOG_SPOOF"})
	}
	for _, v := range c.vlans {
		f.begin(rule{source: "! " + v.network.String(), in: v.device, action: oneOf(c.Rand, []string{"-j LOG_SPOOF", "-j DROP"})})
	}
	for _, v := range c.vlans {
		c.addVLANChains(v)
		if v.macs != nil {
			f.begin(rule{in: v.device, action: "-j " + v.macs.name})
		}
	}
	f.begin(rule{in: uplink, action: "-j blocked"})
	c.filter.chain("blocked")
	for _, kind := range append([]int{c.echo}, c.pathTypes...) {
		f.begin(rule{protocol: c.icmp, action: "-j ACCEPT"}.with(c.ofICMP(kind)))
	}
	for _, s := range serviceChains {
		f.begin(rule{protocol: s.protocol, action: "-j " + s.name}.with(s.match))
		c.filter.chain(s.name)
	}
	for _, v := range c.vlans {
		f.end(rule{out: v.device, action: "-j " + v.in.name}, rule{in: v.device, action: "-j " + v.out.name})
	}
	f.end(
		rule{protocol: "tcp", action: "-j REJECT --reject-with tcp-reset"}.with(tcpTo(113)),
		rule{action: "-j LOG_DROP"})
}

// addVLANChains adds the chains of one VLAN with how they end.
func (c *campus) addVLANChains(v *vlan) {
	chain := func(kind string) *chain { return c.filter.chain(fmt.Sprintf("%s_%d", kind, v.id)) }
	v.in, v.out = chain("filter"), chain("ranges")
	v.in.end(rule{in: "! " + uplink, protocol: c.icmp, action: "-j ACCEPT"}, rule{in: uplink, action: "-j LOG_DROP"})
	v.out.end(
		rule{destination: c.network.String(), action: "-j RETURN"},
		rule{source: v.network.String(), out: uplink, protocol: "tcp", action: "-j ACCEPT"}.with("multiport --dports 80,443"))
	switch v.guard {
	case loose:
		v.macs = chain("mac")
	case strict:
		v.macs = chain("mac")
		for _, a := range v.servers {
			v.macs.begin(c.macOf(a).to("-j RETURN"))
		}
		v.macs.end(rule{action: "-j LOG_MAC"})
	}
}

func (c *campus) addInput() {
	in := c.filter.chain("INPUT")
	in.begin(
		rule{in: "lo", action: "-j ACCEPT"},
		rule{action: "-j ACCEPT"}.with("state --state RELATED,ESTABLISHED"),
		rule{protocol: c.icmp, action: "-j ACCEPT"}.with(c.ofICMP(c.echo)).with("limit --limit 10/sec --limit-burst 20"),
		rule{source: c.admins.String(), protocol: "tcp", action: "-j ACCEPT"}.with(tcpTo(22)),
		rule{source: "! " + c.network.String(), protocol: "tcp", action: "-j LOG_DROP"}.with("multiport --dports 22,23,161,830"),
		rule{source: c.network.String(), in: "! " + uplink, protocol: "udp", action: "-j ACCEPT"}.with(udpTo(123)))
	for _, kind := range c.pathTypes {
		in.begin(rule{protocol: c.icmp, action: "-j ACCEPT"}.with(c.ofICMP(kind)))
	}
	for i, v := range c.vlans {
		if i%4 == 0 {
			in.begin(rule{in: v.device, protocol: "udp", action: "-j ACCEPT"}.with("udp --sport 67:68 --dport 67:68"))
		}
	}
	in.end(
		rule{protocol: "udp", action: c.tooFar}.with(udpTo("33434:33524")),
		rule{action: "-j LOG_DROP"})
}

func (c *campus) addOutput() {
	c.filter.chain("OUTPUT").begin(
		rule{out: "lo", action: "-j ACCEPT"},
		rule{out: uplink, protocol: "tcp", action: "-j REJECT --reject-with tcp-reset"}.with(tcpTo(25)).with("owner ! --uid-owner 0"))
}
