package bugs_test

import (
	"strings"
	"testing"

	"nftmigrate/equivalence"
)

// A knownBug is a mistake that other tools make or made, as a wrong translation
// of small source rules.
type knownBug struct {
	name string
	// of is who made it.
	of   string
	v4   string // rules of *filter
	nat  string // rules of *nat
	nft  string // the wrong translation: chains of a table ip
	same bool   // it looks like the mistake, and is none
}

// The chains that each text below hangs its rules into.
const (
	intoInput = "type filter hook input priority filter; policy drop;"
	intoNAT   = "type nat hook prerouting priority dstnat; policy accept;"
)

var knownBugs = []knownBug{
	{
		name: "masked flags merged to a set", of: "nft -o, verified-nftables NFT_BUGS.md",
		v4: "-A INPUT -p tcp -m tcp --tcp-flags SYN SYN -j ACCEPT\n-A INPUT -p tcp -m tcp --tcp-flags ACK ACK -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			tcp flags { syn, ack } accept
		}`,
	},
	{
		name: "masked flags merged to a verdict map", of: "nft -o, verified-nftables NFT_BUGS.md",
		v4: "-A INPUT -p tcp -m tcp --tcp-flags SYN SYN -j ACCEPT\n-A INPUT -p tcp -m tcp --tcp-flags FIN FIN -j DROP\n-A INPUT -p tcp -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			tcp flags vmap { syn : accept, fin : drop }
			meta l4proto tcp accept
		}`,
	},
	{
		name: "bits of the connection's status merged to a set", of: "nft -o, verified-nftables NFT_BUGS.md",
		v4: "-A INPUT -m conntrack --ctstate SNAT -j ACCEPT\n-A INPUT -m conntrack --ctstate DNAT -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			ct status { snat, dnat } accept
		}`,
	},
	{
		name: "status compared whole", of: "nft -o, verified-nftables NFT_BUGS.md",
		v4: "-A INPUT -m conntrack --ctstatus ASSURED -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			ct status == assured accept
		}`,
	},
	{
		name: "states compared whole", of: "nft -o, verified-nftables NFT_BUGS.md",
		v4: "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			ct state == (established | related) accept
		}`,
	},
	{
		name: "states merged to a set", same: true, // a connection has one state
		v4: "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			ct state { established, related } accept
		}`,
	},
	{
		name: "lost port", of: "aerleon #376",
		v4: "-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 443 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			ip saddr 192.0.2.0/24 meta l4proto tcp accept
		}`,
	},
	{
		name: "lost port of a translation", of: "aerleon #376",
		nat: "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8080\n",
		nft: `chain nat_PREROUTING { ` + intoNAT + `
			tcp dport 80 dnat to 10.0.0.5
		}
		chain INPUT { ` + intoInput + ` }`,
	},
	{
		name: "port in the other byte order, and for the source", of: "iptables-nft, OpenWrt #13860: --sport 256 ! --dport 0 for 443",
		v4: "-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			tcp sport 256 tcp dport != 0 accept
		}`,
	},
	{
		name: "bucket split in two", of: "translators that copy a rule for each alternative",
		v4: "-A INPUT -p tcp -m multiport --dports 22,80 -m limit --limit 1/sec --limit-burst 5 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			tcp dport 22 limit rate 1/second burst 5 packets accept
			tcp dport 80 limit rate 1/second burst 5 packets accept
		}`,
	},
	{
		name: "bucket asked before the conditions", of: "translators that sort conditions",
		v4: "-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 1/sec --limit-burst 5 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			limit rate 1/second burst 5 packets tcp dport 22 accept
		}`,
	},
	{
		name: "two buckets made one", of: "translators that merge rules which look alike",
		v4: "-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 1/sec --limit-burst 5 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 80 -m limit --limit 1/sec --limit-burst 5 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			tcp dport { 22, 80 } limit rate 1/second burst 5 packets accept
		}`,
	},
	{
		name: "type of ICMP taken for true", of: "FWS, parse_iptables.py: --icmp-type is ignored",
		v4: "-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			meta l4proto icmp accept
		}`,
	},
	{
		name: "limit taken for true", of: "FWS, parse_iptables.py: limit is ignored",
		v4: "-A INPUT -p icmp -m limit --limit 1/sec -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			meta l4proto icmp accept
		}`,
	},
	{
		name: "match taken for true", of: "FWS, Batfish: -m with an extension that is not known is ignored",
		v4: "-A INPUT -p udp -m mark --mark 0x5 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			meta l4proto udp accept
		}`,
	},
	{
		name: "device taken for true", of: "soumiks/iptables_formal_verifier: -i is a wildcard",
		v4: "-A INPUT -i lan0 -p udp -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			meta l4proto udp accept
		}`,
	},
	{
		name: "fragments taken for true", of: "FWS, parse_iptables.py: -f is ignored",
		v4: "-A INPUT -p udp -f -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			meta l4proto udp accept
		}`,
	},
	{
		name: "overlapping addresses merged to a verdict map", of: "nft -o, verified-nftables NFT_BUGS.md",
		v4: "-A INPUT -s 10.0.0.0/8 -j ACCEPT\n-A INPUT -s 10.1.0.0/16 -j DROP\n-A INPUT -p tcp -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			ip saddr vmap { 10.0.0.0-10.0.255.255 : accept, 10.1.0.0/16 : drop, 10.2.0.0-10.255.255.255 : accept }
			meta l4proto tcp accept
		}`,
	},
	{
		name: "overlapping ports merged to a verdict map", of: "nft -o, verified-nftables NFT_BUGS.md",
		v4: "-A INPUT -p tcp -m tcp --dport 1:1000 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 80 -j DROP\n",
		nft: `chain INPUT { ` + intoInput + `
			tcp dport vmap { 1-79 : accept, 80 : drop, 81-1000 : accept }
		}`,
	},
	{
		name: "addresses merged in their order", same: true,
		v4: "-A INPUT -s 10.1.0.0/16 -j DROP\n-A INPUT -s 10.0.0.0/8 -j ACCEPT\n",
		nft: `chain INPUT { ` + intoInput + `
			ip saddr vmap { 10.0.0.0-10.0.255.255 : accept, 10.1.0.0/16 : drop, 10.2.0.0-10.255.255.255 : accept }
		}`,
	},
}

// TestKnownBugs proves that what other tools got wrong is wrong, and that the
// project's own translation of the same rules is right.
func TestKnownBugs(t *testing.T) {
	const heads = ":INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
	const natHeads = ":PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
	for _, b := range knownBugs {
		t.Run(b.name, func(t *testing.T) {
			source := "*filter\n" + heads + b.v4 + "COMMIT\n"
			if b.nat != "" {
				source = "*nat\n" + natHeads + b.nat + "COMMIT\n" + source
			}
			right := ruleset{name: b.name, v4: source}.translate(t)
			if proof := right.prove(t, right.batch(t)); proof.Word != equivalence.Equivalent {
				t.Errorf("our translation is %s", shownBy(proof))
			}
			batch := compiled(t, "table ip firewall {\n"+strings.ReplaceAll(b.nft, "\t\t", "\t")+"\n}\n")
			proof := right.prove(t, batch)
			if b.same {
				if proof.Word != equivalence.Equivalent {
					t.Errorf("%s, want %s", shownBy(proof), equivalence.Equivalent)
				}
				return
			}
			if proof.Word != equivalence.Different || len(proof.Differences) == 0 {
				t.Fatalf("%s, want %s, as %s", shownBy(proof), equivalence.Different, b.of)
			}
			for _, d := range proof.Differences {
				if !right.differs(t, batch, d) {
					t.Errorf("the packet comes out alike: %v", d.Packet)
				}
			}
			t.Logf("%s: %s", b.of, shownBy(proof))
		})
	}
}
