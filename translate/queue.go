package translate

import (
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// Enqueue adds the handing over of the packet to a queue. In the OUTPUT chain of
// table mangle it declares that the packet is not routed again before.
//
// Kernel: net/ipv4/netfilter/iptable_mangle.c, ipt_mangle_out;
// net/netfilter/nft_chain_route.c.
func Enqueue(r *Rule, q nftgen.Queue) {
	r.Add(q)
	if r.Context.Table == "mangle" && r.Context.Hooks&iptables.Output != 0 {
		r.Declare(Deviation{
			Code: "queue-reroute",
			Detail: "A local packet whose mark, addresses or type of service a rule before this one changed in the same table is routed again by " +
				"xtables before it comes to the queue. nftables routes it again only when the listener changes it, or a later chain.",
		})
	}
}
