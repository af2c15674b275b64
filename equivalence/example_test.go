package equivalence_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

const rulesBefore = `*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 10.0.0.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
COMMIT
`

const rulesAfter = `*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 10.0.0.0/8 -j DROP
-A INPUT -s 10.0.0.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
COMMIT
`

func machineOf(name, rules string) equivalence.Machine {
	rs, list := iptables.Parse(diag.NewSource(name, []byte(rules)), iptables.IPv4, extension.Registry)
	if list.HasErrors() {
		log.Fatal(list)
	}
	return iptsim.New(rs)
}

// Which rules never match, and why; and whether a stage accepts some packets.
func ExampleAnalyse() {
	a, err := equivalence.Analyse(context.Background(), machineOf("rules.v4", rulesAfter), equivalence.ProofOptions{Versions: []int{4}})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range a.Rules {
		fmt.Println(f.Matched, "|", f)
		for _, why := range f.Why {
			fmt.Println("  ", why.Text)
		}
	}
	input := a.Stages[0]
	ssh := input.Packets(equivalence.Filter{
		Source: netip.MustParsePrefix("10.0.0.0/24"), Protocol: packet.TCP,
		DestinationPort: equivalence.Ports{First: 22, Last: 22}, States: []packet.State{packet.New}, In: "eth0",
	})
	fmt.Println(input.Name, "drops SSH from the office:", ssh.Within(input.Dropped()))
	fmt.Println("It accepts")
	for _, cube := range input.Accepted().Words(10).Cubes {
		fmt.Println("  ", cube)
	}
	// Output:
	// shown | rules.v4:5 -A INPUT -i lo -j ACCEPT
	// shown | rules.v4:6 -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	// shown | rules.v4:7 -A INPUT -s 10.0.0.0/8 -j DROP
	// never | rules.v4:8 -A INPUT -s 10.0.0.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
	//    rules.v4:7 -A INPUT -s 10.0.0.0/8 -j DROP takes all packets that it would match at filter INPUT.
	// shown | rules.v4:9 -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
	// filter INPUT drops SSH from the office: true
	// It accepts
	//    in lo
	//    ct state established or related
	//    tcp from any but 10.0.0.0/8 to port 80 or 443
}

// What a line changes before it is typed.
func ExampleChanges() {
	before, after := machineOf("rules.v4", rulesBefore), machineOf("after.v4", rulesAfter)
	c, err := equivalence.Changes(context.Background(), before, after, equivalence.ProofOptions{Versions: []int{4}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Word)
	for _, ch := range c.Changes {
		fmt.Printf("%s: %v by %v, now %v by %v\n", ch.Stage, ch.Before, ch.Before.Rule, ch.After, ch.After.Rule)
		for _, cube := range ch.Packets.Words(5).Cubes {
			fmt.Println("  ", cube)
		}
		fmt.Println("   such as", ch.Example.Packet)
	}
	// Output:
	// different
	// filter INPUT: accept by rules.v4:8 -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT, now drop by after.v4:7 -A INPUT -s 10.0.0.0/8 -j DROP
	//    in any but lo, tcp from 10.0.0.0/8 to port 80 or 443, ct state any but established or related
	//    such as in dev0 10.0.2.3:40000 > 192.0.2.1:80 tcp syn length 40, mac 02:00:00:01:00:09, ct new
	// filter INPUT: accept by rules.v4:7 -A INPUT -s 10.0.0.0/24 -p tcp -m tcp --dport 22 -j ACCEPT, now drop by after.v4:7 -A INPUT -s 10.0.0.0/8 -j DROP
	//    in any but lo, tcp from 10.0.0.0/24 to port 22, ct state any but established or related
	//    such as in dev0 10.0.0.3:40000 > 192.0.2.1:22 tcp syn length 40, mac 02:00:00:01:00:09, ct new
}
