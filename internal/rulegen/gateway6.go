package rulegen

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// Gateway6 returns an IPv6 ruleset like that of a university's gateway, the kin
// of what [Gateway] returns: tables raw, mangle and filter; a /64 for each VLAN,
// six of which share a /48; hosts with random interface identifiers; many rules
// that test nothing but one whole address.
//
// It has as many rules as are asked for from 100 up, and 3 VLANs or one for
// each 60 rules, up to 100: with [Gateway6Rules] it has 100, and 252 chains.
func Gateway6(rules int, seed uint64) []byte {
	c := &campus{
		Rand:    rand.New(rand.NewPCG(seed, 6)),
		save:    new(save),
		network: netip.MustParsePrefix("2001:db8::/32"),
		admins:  netip.MustParsePrefix("2001:db8:0:8::/64"),
		bogus: []netip.Prefix{
			netip.MustParsePrefix("::/8"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("ff00::/8"),
		},
		icmp: "ipv6-icmp", icmpMatch: "icmp6 --icmpv6-type", echo: 128, pathTypes: []int{1, 2, 3, 4},
		tooFar: "-j REJECT --reject-with icmp6-port-unreachable",
	}
	c.host = c.host6
	c.outside = func() netip.Prefix {
		var b [16]byte
		copy(b[:], oneOf(c.Rand, [][]byte{{0x2a, 0x00}, {0x2a, 0x02}, {0x26, 0x00}, {0x24, 0x00}, {0x20, 0x03}}))
		binary.BigEndian.PutUint32(b[2:], c.Uint32())
		binary.BigEndian.PutUint16(b[6:], uint16(c.Uint32()))
		p := netip.PrefixFrom(netip.AddrFrom16(b), 64)
		bits := choose(c.Rand, []choice[int]{{6, 128}, {5, 64}, {4, 48}, {2, 32}, {1, 56}})
		if bits == 128 {
			return single(c.host6(p))
		}
		return netip.PrefixFrom(p.Addr(), bits).Masked()
	}
	c.addVLANs(rules, func(i int) netip.Prefix {
		b := netip.MustParseAddr("2001:db8::").As16()
		binary.BigEndian.PutUint16(b[4:], uint16(1+i/6))
		binary.BigEndian.PutUint16(b[6:], uint16(i%6<<12|c.IntN(1<<12)))
		return netip.PrefixFrom(netip.AddrFrom16(b), 64)
	})
	c.addRaw("2001:db8:0:8::53")
	c.addMangle()
	c.addFilter()
	c.filter.chain("INPUT").begin(c.neighbours()...)
	c.fill(rules, []filling{
		{20, (*campus).addHost},
		{24, (*campus).addService},
		{6, (*campus).addMAC},
		{9, (*campus).addRange},
		{12, (*campus).addForward},
		{8, (*campus).addNetwork},
		{8, (*campus).addListed},
		{6, (*campus).addBlocked},
		{4, (*campus).addPing},
		{1, (*campus).addMarked},
	})
	return c.save.text()
}

// host6 returns an address of a /64: with a random identifier, one made of a
// hardware address, or a small one that a person chose.
func (c *campus) host6(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	low := choose(c.Rand, []choice[uint64]{
		{3, c.Uint64()},
		{1, 0x0216_3eff_fe00_0000 | uint64(c.Uint32()&0xffffff)},
		{1, uint64(1 + c.IntN(0xfff))},
	})
	// In a network that is wider, the bits up to the identifier are random too.
	if wide := 64 - p.Bits(); wide > 0 {
		high := binary.BigEndian.Uint64(b[:8]) | c.Uint64()&(1<<wide-1)
		binary.BigEndian.PutUint64(b[:8], high)
	}
	binary.BigEndian.PutUint64(b[8:], low)
	return netip.AddrFrom16(b)
}

// neighbours are the rules without which there are no neighbours.
func (c *campus) neighbours() []rule {
	var rules []rule
	for _, kind := range []int{133, 134, 135, 136} {
		rules = append(rules, rule{protocol: c.icmp, action: "-j ACCEPT"}.with(c.ofICMP(kind)).with("hl --hl-eq 255"))
	}
	return rules
}

// addHost adds a rule that tests one whole address and nothing else.
func (c *campus) addHost() {
	v := c.vlan()
	r := rule{action: choose(c.Rand, []choice[string]{{8, "-j ACCEPT"}, {2, "-j DROP"}, {1, "-j LOG_DROP"}})}
	if v.guard != strict && oneIn(c.Rand, 2) {
		r.source = c.newServer(v)
	} else {
		r.destination = c.newServer(v)
	}
	if oneIn(c.Rand, 3) {
		c.filter.chain("FORWARD").add(r)
	} else if r.source != "" {
		v.out.add(r)
	} else {
		v.in.add(r)
	}
}

// addNetwork adds a rule about two networks.
func (c *campus) addNetwork() {
	v := c.vlan()
	r := rule{source: c.outside().String(), destination: v.network.String(), action: oneOf(c.Rand, []string{"-j ACCEPT", "-j DROP"})}
	if oneIn(c.Rand, 2) {
		r.protocol = oneOf(c.Rand, []string{"tcp", "udp"})
		r = r.with("multiport --dports " + portList(c.Rand))
	}
	v.in.add(r)
}

// addPing lets one type of ICMP through to a host.
func (c *campus) addPing() {
	v := c.vlan()
	v.in.add(rule{destination: c.server(v), protocol: c.icmp, action: oneOf(c.Rand, []string{"-j ACCEPT", "-j DROP"})}.
		with(fmt.Sprintf("%s %s", c.icmpMatch, oneOf(c.Rand, []string{"128", "129", "1/4", "3/1", "4/0", "135", "139"}))))
}
