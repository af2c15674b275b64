package equivalence_test

import (
	"testing"

	"nftmigrate/equivalence"
)

// TestWitnesses compares rules that only unusual packets tell apart: those have
// to be made for the difference to be shown.
func TestWitnesses(t *testing.T) {
	for _, c := range []struct{ name, table, chain, a, b string }{
		{"own address", "filter", "INPUT", "-m addrtype --src-type LOCAL -j DROP", ""},
		{"broadcast", "filter", "INPUT", "-p udp -m addrtype --dst-type BROADCAST -j DROP", ""},
		{"multicast", "filter", "INPUT", "-m addrtype --dst-type MULTICAST -j DROP", ""},
		{"own address at another device", "filter", "INPUT", "-m addrtype --dst-type LOCAL --limit-iface-in -j DROP", "-m addrtype --dst-type LOCAL -j DROP"},
		{"original port", "filter", "FORWARD", "-p tcp -m conntrack --ctorigdstport 443 --ctdir ORIGINAL -j DROP", "-p tcp -m conntrack --ctorigdstport 444 --ctdir ORIGINAL -j DROP"},
		{"port of the reply", "filter", "FORWARD", "-p tcp -m conntrack --ctreplsrcport 443 -j DROP", ""},
		{"original address", "filter", "FORWARD", "-m conntrack --ctorigsrc 10.1.2.3 --ctdir REPLY -j DROP", ""},
		{"original destination of a translated packet", "filter", "FORWARD", "-d 10.0.0.7 -m conntrack --ctorigdst 192.0.2.1 -j DROP", ""},
		{"packets of one direction", "filter", "INPUT", "-m connbytes --connbytes 5:9 --connbytes-dir original --connbytes-mode packets -j DROP", "-m connbytes --connbytes 5:8 --connbytes-dir original --connbytes-mode packets -j DROP"},
		{"bytes of both directions", "filter", "INPUT", "-m connbytes --connbytes 1000:2000 --connbytes-dir both --connbytes-mode bytes -j DROP", "-m connbytes --connbytes 1001:2000 --connbytes-dir both --connbytes-mode bytes -j DROP"},
		{"segment larger than the path takes", "mangle", "FORWARD", "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", ""},
		{"length of a datagram", "filter", "INPUT", "-p udp -m length --length 53 -j DROP", ""},
		{"random number", "filter", "INPUT", "-m statistic --mode random --probability 0.25 -j DROP", "-m statistic --mode random --probability 0.26 -j DROP"},
		{"random number more", "filter", "INPUT", "-m statistic --mode random --probability 0.25 -j DROP", "-m statistic --mode random --probability 0.25 -j DROP\n-A INPUT -m statistic --mode random --probability 0.25 -j DROP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			side := func(rule string) equivalence.Machine {
				if rule != "" {
					rule = "-A " + c.chain + " " + rule + "\n"
				}
				return rules(t, "*"+c.table+"\n:"+c.chain+" ACCEPT\n"+rule+"COMMIT")
			}
			p := prove(t, side(c.a), side(c.b), equivalence.ProofOptions{})
			if p.Word != equivalence.Different {
				t.Errorf("%s, want %s: %s", p.Word, equivalence.Different, p.Incomplete)
			}
		})
	}
}
