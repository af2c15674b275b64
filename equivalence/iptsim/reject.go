package iptsim

import "nftmigrate/packet"

// rejections are the answers of REJECT by the name that iptables gives them:
// ICMP and ICMPv6 destination unreachable, or a TCP reset.
//
// Kernel: net/ipv4/netfilter/ipt_REJECT.c, net/ipv6/netfilter/ip6t_REJECT.c.
var rejections = map[string]packet.RejectEvent{
	"tcp-reset":              {Reset: true},
	"icmp-net-unreachable":   {Type: 3, Code: 0},
	"icmp-host-unreachable":  {Type: 3, Code: 1},
	"icmp-proto-unreachable": {Type: 3, Code: 2},
	"icmp-port-unreachable":  {Type: 3, Code: 3},
	"icmp-net-prohibited":    {Type: 3, Code: 9},
	"icmp-host-prohibited":   {Type: 3, Code: 10},
	"icmp-admin-prohibited":  {Type: 3, Code: 13},
	"icmp6-no-route":         {Type: 1, Code: 0},
	"icmp6-adm-prohibited":   {Type: 1, Code: 1},
	"icmp6-addr-unreachable": {Type: 1, Code: 3},
	"icmp6-port-unreachable": {Type: 1, Code: 4},
	"icmp6-policy-fail":      {Type: 1, Code: 5},
	"icmp6-reject-route":     {Type: 1, Code: 6},
}

// reject records the answer that is asked for. Whether the stack then finds the
// packet worth one does not depend on the rules ([packet.Host.Answers]).
func reject(v *view, with string) (unknown string) {
	event, ok := rejections[with]
	if !ok {
		return "answer " + with
	}
	v.f.Emit(event)
	return ""
}
