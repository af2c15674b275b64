package rulegen

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// Gateway returns an IPv4 ruleset like that of a university's gateway: tables
// raw, mangle, nat and filter; a dispatch by the interfaces of up to 100 VLANs
// with protection against spoofing; chains for each VLAN that list servers,
// hosts and network cards; chains that log and drop.
//
// It has as many rules as are asked for from 100 up, and 3 VLANs or one for
// each 60 rules: with [GatewayRules] it has 91, and 235 chains.
func Gateway(rules int, seed uint64) []byte {
	c := &campus{
		Rand:    rand.New(rand.NewPCG(seed, 4)),
		save:    new(save),
		network: netip.MustParsePrefix("198.18.0.0/15"),
		admins:  netip.MustParsePrefix("172.16.8.0/24"),
		bogus: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
			netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"),
		},
		icmp: "icmp", icmpMatch: "icmp --icmp-type", echo: 8, pathTypes: []int{3, 11, 12},
		tooFar: "-j REJECT --reject-with icmp-port-unreachable",
	}
	c.host = func(p netip.Prefix) netip.Addr {
		for {
			a := addrIn(c.Rand, p)
			if a != p.Addr() && p.Contains(a.Next()) {
				return a
			}
		}
	}
	c.outside = func() netip.Prefix {
		// Between 20 and 100 nothing is reserved.
		a := netip.AddrFrom4([4]byte{byte(20 + c.IntN(80)), byte(c.Uint32()), byte(c.Uint32()), byte(c.Uint32())})
		return netip.PrefixFrom(a, choose(c.Rand, []choice[int]{{10, 32}, {6, 24}, {2, 22}, {2, 16}, {1, 27}})).Masked()
	}
	c.addVLANs(rules, func(i int) netip.Prefix {
		bits := choose(c.Rand, []choice[int]{{2, 23}, {6, 24}, {3, 25}, {2, 26}})
		if i < 12 {
			bits = 22
		}
		// Room for the largest network each, so that all are aligned.
		return netip.PrefixFrom(nth(c.network.Addr(), uint32(i)<<10), bits)
	})
	c.addRaw("172.16.8.53")
	c.addMangle()
	c.addNAT()
	c.addFilter()
	c.fill(rules, []filling{
		{42, (*campus).addService},
		{15, (*campus).addMAC},
		{12, (*campus).addRange},
		{15, (*campus).addForward},
		{6, (*campus).addListed},
		{6, (*campus).addBlocked},
		{3, (*campus).addMapped},
		{1, (*campus).addMarked},
	})
	return c.save.text()
}

// addRaw leaves the queries of a name server untracked, and what comes through
// the tunnel.
func (c *campus) addRaw(nameServer string) {
	t := c.save.table("raw", "PREROUTING", "OUTPUT")
	t.chain("PREROUTING").begin(
		rule{in: tunnel, action: "-j NOTRACK"},
		rule{destination: single(netip.MustParseAddr(nameServer)).String(), protocol: "udp", action: "-j NOTRACK"}.with(udpTo(53)))
	t.chain("OUTPUT").begin(rule{out: tunnel, action: "-j NOTRACK"})
}

// addMangle marks what some VLANs send, so that it can be routed apart, and
// makes large packets fit through the slow line.
func (c *campus) addMangle() {
	t := c.save.table("mangle", "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
	t.chain("PREROUTING").begin(rule{action: "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"})
	for i, v := range c.vlans {
		if i%5 == 0 {
			t.chain("PREROUTING").end(rule{in: v.device, action: fmt.Sprintf("-j MARK --set-xmark 0x%x/0xff", 1+i%7)}.
				with("mark --mark 0x0/0xff"))
		}
	}
	t.chain("FORWARD").begin(rule{out: dialup, protocol: "tcp", action: "-j TCPMSS --clamp-mss-to-pmtu"}.with("tcp --tcp-flags SYN,RST SYN"))
	t.chain("POSTROUTING").begin(rule{action: "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"}.
		with("mark ! --mark 0x0/0xff"))
}

// addMarked marks what one host sends, or what is sent to a service.
func (c *campus) addMarked() {
	v := c.vlan()
	protocol, port := service(c.Rand)
	r := rule{in: v.device, protocol: protocol, action: fmt.Sprintf("-j MARK --set-xmark 0x%x/0xff", 8+c.IntN(200))}.
		with(fmt.Sprintf("%s --dport %d", protocol, port))
	if oneIn(c.Rand, 2) {
		r.source = c.server(v)
	}
	c.save.named("mangle").chain("PREROUTING").add(r)
}

// addNAT hides the private networks behind an address each, or behind that of
// the line.
func (c *campus) addNAT() {
	t := c.save.table("nat", "PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")
	t.chain("PREROUTING").end(rule{in: c.vlans[0].device, protocol: "udp", action: "-j REDIRECT --to-ports 5353"}.with(udpTo(53)))
	post := t.chain("POSTROUTING")
	for i := range c.vlans {
		if i%3 != 0 {
			continue
		}
		private := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(17 + i%14), byte(i), 0}), 24)
		post.end(rule{source: private.String(), destination: "! 172.16.0.0/12", out: uplink,
			action: "-j SNAT --to-source " + c.host(c.network).String()})
	}
	post.end(rule{source: "172.16.0.0/12", out: dialup, action: "-j MASQUERADE"})
}

// addMapped lets somebody reach a server with a private address: one port of
// it, or all.
func (c *campus) addMapped() {
	t := c.save.named("nat")
	private := c.host(netip.MustParsePrefix("172.16.0.0/12"))
	public := c.host(c.network)
	r := rule{destination: single(public).String(), in: uplink}
	if oneIn(c.Rand, 5) {
		t.chain("PREROUTING").add(r.to("-j DNAT --to-destination " + private.String()))
		return
	}
	protocol, port := service(c.Rand)
	r.protocol = protocol
	if oneIn(c.Rand, 4) {
		r.source = c.outside().String()
	}
	outer := port
	if oneIn(c.Rand, 3) {
		outer = 20000 + c.IntN(20000)
	}
	t.chain("PREROUTING").add(r.with(fmt.Sprintf("%s --dport %d", protocol, outer)).to(fmt.Sprintf("-j DNAT --to-destination %s:%d", private, port)))
}
