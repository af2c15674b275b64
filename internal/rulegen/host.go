package rulegen

import (
	"fmt"
	"net/netip"
)

// A filling adds one rule to a campus.
type filling = choice[func(*campus)]

// fill adds rules about hosts until there are enough.
func (c *campus) fill(rules int, kinds []filling) {
	for n := rules - c.save.rules(); n > 0; n-- {
		choose(c.Rand, kinds)(c)
	}
}

// addService lets somebody reach a server.
func (c *campus) addService() {
	v := c.vlan()
	v.in.add(c.reach(v))
}

// reach is a rule about one server. Its protocol and ports are alike in all
// places where such a rule may stand.
func (c *campus) reach(v *vlan) rule {
	r := rule{destination: c.server(v), action: choose(c.Rand, []choice[string]{
		{20, "-j ACCEPT"}, {2, "-j DROP"}, {1, "-j LOG_DROP"}, {1, "-j REJECT --reject-with " + rejectWith(c.icmp)},
	})}
	switch n := c.IntN(20); {
	case n < 8:
	case n < 14:
		r.source = c.outside().String()
	case n < 17:
		r.source = c.vlan().network.String()
	case n < 18:
		r.source = "! " + c.network.String()
	default:
		r.source = c.server(c.vlan())
	}
	protocol, port := service(c.Rand)
	r.protocol = protocol
	switch n := c.IntN(20); {
	case n < 11:
		return r.with(fmt.Sprintf("%s --dport %d", protocol, port))
	case n < 13:
		return r.with(fmt.Sprintf("%s --dport %s", protocol, portRange(c.Rand)))
	case n < 16:
		return r.with("multiport --dports " + portList(c.Rand))
	case n < 17:
		return r.with(fmt.Sprintf("%s --sport 1024:65535 --dport %d", protocol, port))
	case n < 18:
		r.protocol = c.icmp
		return r.with(c.ofICMP(c.echo))
	case n < 19:
		r.protocol = "tcp"
		return r.with(fmt.Sprintf("tcp --dport %d --tcp-flags FIN,SYN,RST,ACK SYN", port)).with("conntrack --ctstate NEW")
	}
	r.protocol = ""
	return r
}

// rejectWith is the answer of a closed port.
func rejectWith(icmp string) string {
	if icmp == "icmp" {
		return "icmp-port-unreachable"
	}
	return "icmp6-port-unreachable"
}

// addMAC ties a new host to a network card, or shuts a card out.
func (c *campus) addMAC() {
	v := c.vlan()
	for v.guard == unguarded {
		v = c.vlan()
	}
	if oneIn(c.Rand, 12) {
		v.macs.add(rule{action: "-j LOG_MAC"}.with("mac --mac-source " + macAddress(c.Rand)))
		return
	}
	a := c.host(v.network)
	v.servers = append(v.servers, a)
	r := c.macOf(a).to("-j RETURN")
	if v.guard == loose {
		r = rule{source: r.source, action: "-j LOG_MAC"}.with("mac ! --mac-source " + macAddress(c.Rand))
	}
	v.macs.add(r)
}

// macOf matches a host with its network card.
func (c *campus) macOf(a netip.Addr) rule {
	return rule{source: single(a).String()}.with("mac --mac-source " + macAddress(c.Rand))
}

// addRange says where the hosts of a VLAN may go.
func (c *campus) addRange() {
	v := c.vlan()
	r := rule{source: c.server(v), action: "-j ACCEPT"}
	protocol, port := service(c.Rand)
	switch c.IntN(6) {
	case 0:
	case 1:
		r.destination = c.outside().String()
	case 2:
		r.destination = "! " + c.network.String()
		r.protocol = protocol
		r = r.with(fmt.Sprintf("%s ! --dport %d", protocol, port)).to("-j LOG_DROP")
	case 3:
		r.protocol = "tcp"
		r = r.with("multiport --dports " + portList(c.Rand))
	case 4:
		low := c.host(v.network)
		high := low
		for range 1 + c.IntN(16) {
			if v.network.Contains(high.Next()) {
				high = high.Next()
			}
		}
		r = rule{out: uplink, action: oneOf(c.Rand, []string{"-j ACCEPT", "-j DROP"})}.with(fmt.Sprintf("iprange --src-range %s-%s", low, high))
	default:
		r.out, r.protocol = uplink, protocol
		r = r.with(fmt.Sprintf("%s --dport %d", protocol, port))
	}
	v.out.add(r)
}

// addForward adds a rule to FORWARD itself, as people do who are in a hurry.
func (c *campus) addForward() {
	from, to := c.vlan(), c.vlan()
	f := c.filter.chain("FORWARD")
	switch c.IntN(8) {
	case 0:
		f.add(rule{source: c.server(from), in: from.device, action: "-j ACCEPT"})
	case 1:
		f.add(rule{source: c.server(from), destination: c.server(to), in: from.device, action: "-j ACCEPT"})
	case 2:
		protocol, port := service(c.Rand)
		f.add(rule{source: from.network.String(), destination: to.network.String(), in: from.device, out: to.device, protocol: protocol,
			action: oneOf(c.Rand, []string{"-j ACCEPT", "-j DROP"})}.with(fmt.Sprintf("%s --dport %d", protocol, port)))
	case 3:
		f.add(rule{destination: c.server(to), in: "! " + uplink, out: to.device, protocol: "tcp", action: "-j ACCEPT"}.with(synOnly))
	case 4:
		_, port := service(c.Rand)
		f.add(rule{destination: c.server(to), protocol: "tcp",
			action: fmt.Sprintf("-j LOG --log-prefix %q --log-level %d", fmt.Sprintf("vlan %d port %d: ", to.id, port), oneOf(c.Rand, []int{5, 6, 7}))}.
			with(tcpTo(port)).with("limit --limit 5/min"))
	case 5:
		f.add(rule{source: c.outside().String(), destination: c.server(to), in: uplink, action: "-j ACCEPT"})
	default:
		r := c.reach(to)
		r.out = to.device
		f.add(r)
	}
}

// addListed enters a host in the list of those that have a service.
func (c *campus) addListed() {
	c.filter.chain(oneOf(c.Rand, serviceChains).name).add(rule{destination: c.newServer(c.vlan()), action: "-j ACCEPT"})
}

// addBlocked blocks somebody outside.
func (c *campus) addBlocked() {
	c.filter.chain("blocked").add(rule{source: c.outside().String(), action: oneOf(c.Rand, []string{"-j DROP", "-j DROP", "-j LOG_DROP"})})
}
