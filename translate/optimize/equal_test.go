package optimize_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

var (
	rulesets = flag.Int("rulesets", 60, "how many random rulesets are proven")
	seed     = flag.Uint64("seed", 1, "of the random rulesets")
)

// A writer writes rulesets whose rules have much in common: few values, so that
// they overlap, hide each other and differ in verdicts.
type writer struct {
	*rand.Rand
	six bool // writes rules of IPv6
}

func (w writer) one(list ...string) string { return list[w.IntN(len(list))] }

func (w writer) address() string {
	if w.six {
		return w.one(fmt.Sprintf("fd00::%d:0/112", w.IntN(4)), fmt.Sprintf("fd00::/%d", 100+w.IntN(12)), fmt.Sprintf("fd00::%d:%d", w.IntN(3), w.IntN(4)))
	}
	switch w.IntN(6) {
	case 0:
		return fmt.Sprintf("10.0.%d.0/24", w.IntN(4))
	case 1:
		return fmt.Sprintf("10.0.0.0/%d", 14+w.IntN(12))
	case 2:
		return fmt.Sprintf("10.0.%d.%d/31", w.IntN(4), 2*w.IntN(3))
	}
	return fmt.Sprintf("10.0.%d.%d", w.IntN(3), w.IntN(4))
}

func (w writer) port() string {
	if w.IntN(4) == 0 {
		low := 1 + w.IntN(12)
		return fmt.Sprintf("%d:%d", low, low+1+w.IntN(6))
	}
	return fmt.Sprint(1 + w.IntN(14))
}

// tests returns tests of a kind; rules of a kind differ in values.
func (w writer) tests(kind int) string {
	not := ""
	if w.IntN(12) == 0 {
		not = "! "
	}
	switch kind {
	case 0:
		return not + "-s " + w.address()
	case 1:
		return "-p tcp -m tcp " + not + "--dport " + w.port()
	case 2:
		p := w.one("tcp", "udp")
		return "-p " + p + " -m " + p + " --dport " + w.port()
	case 3:
		return "-s " + w.address() + " -p tcp -m tcp --dport " + w.port()
	case 4:
		return "-i " + w.one("eth0", "eth1", "lo", "eth+", "wg0")
	case 5:
		return "-d " + w.address() + " -p udp -m udp --dport " + w.port()
	case 6:
		return "-s " + w.address() + " -d " + w.address()
	case 7:
		return "-p tcp -m multiport --dports " + w.port() + "," + fmt.Sprint(40+w.IntN(4))
	case 8:
		return "-m mark --mark " + w.one("1", "2", "3")
	case 9:
		if w.six {
			return "-p ipv6-icmp -m icmp6 --icmpv6-type " + w.one("128", "129", "1/4", "3")
		}
		return "-p icmp -m icmp --icmp-type " + w.one("8", "0", "3/1", "11")
	case 10:
		return "-m conntrack --ctstate NEW -p tcp -m tcp --dport " + w.port()
	case 11:
		return "-p " + w.one("tcp", "udp", "icmp", "gre")
	}
	return ""
}

func (w writer) ruleset() string {
	var rules []string
	table := w.one("filter", "mangle")
	chains := []string{"A", "B", "C", "D", "SUB0", "SUB1", "SUB2", "SUB3", "SUB4", "SUB5", "SUB6", "SUB7", "SUB8"}
	fill := func(chain string, n, below int) {
		kinds := []int{w.IntN(12), w.IntN(12)}
		if w.IntN(2) == 0 {
			kinds = append(kinds, w.IntN(12))
		}
		jumps := w.IntN(3) == 0
		for range n {
			target := w.one("ACCEPT", "DROP", "ACCEPT")
			switch w.IntN(10) {
			case 0:
				target = w.one("RETURN", "LOG", "CONNMARK --set-xmark 0x2/0xffffffff")
			case 1:
				target = "REJECT"
				if table == "mangle" {
					target = w.one("MARK --set-xmark 0x1/0xffffffff", "MARK --set-xmark 0x2/0xffffffff")
				}
			}
			verb := "-j"
			if below < len(chains) && (w.IntN(10) == 0 || jumps) {
				target = chains[below+w.IntN(min(4, len(chains)-below))]
				verb = w.one("-j", "-j", "-g")
			}
			kind := kinds[w.IntN(len(kinds))]
			if w.IntN(40) == 0 {
				kind = 12
			}
			rules = append(rules, fmt.Sprintf("[%d:%d] ", w.IntN(9), w.IntN(900))+strings.Join(strings.Fields(fmt.Sprintf("-A %s %s %s %s", chain, w.tests(kind), verb, target)), " "))
		}
	}
	fill("INPUT", 5+w.IntN(60), 0)
	for i, c := range chains {
		fill(c, w.IntN(12), min(i+1, len(chains)))
	}
	net := func(i int) string { return fmt.Sprintf("10.9.%d.0/24", i) }
	if w.six {
		net = func(i int) string { return fmt.Sprintf("fd00:9:%d::/48", i) }
	}
	if w.IntN(3) == 0 {
		for i := range 9 {
			rules = append(rules, fmt.Sprintf("-A FORWARD -s %s -j SUB%d", net(i), i))
		}
	}
	var b strings.Builder
	b.WriteString("*" + table + "\n:INPUT " + w.one("ACCEPT", "DROP") + " [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for _, c := range chains {
		b.WriteString(":" + c + " - [0:0]\n")
	}
	b.WriteString(strings.Join(rules, "\n") + "\nCOMMIT\n")
	return b.String()
}

// valued returns rules that differ in what they translate to, or mark with: families for
// maps to values, with overlaps, and with others between.
func (w writer) valued() string {
	host := func() string {
		if w.six {
			return fmt.Sprintf("fd00:1::%d", 1+w.IntN(5))
		}
		return fmt.Sprintf("10.1.0.%d", 1+w.IntN(5))
	}
	withPort := func(host string) string {
		if w.six {
			host = "[" + host + "]"
		}
		return fmt.Sprintf("%s:%d", host, 80+w.IntN(3))
	}
	var b strings.Builder
	write := func(chain string, tests string, target string) {
		fmt.Fprintf(&b, "[%d:%d] -A %s %s -j %s\n", w.IntN(9), w.IntN(900), chain, strings.Join(strings.Fields(tests), " "), target)
	}
	b.WriteString("*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n")
	kinds := []int{w.IntN(9), w.IntN(9)}
	for range 5 + w.IntN(40) {
		target := fmt.Sprintf("MARK --set-xmark 0x%x/0xffffffff", 1+w.IntN(4))
		switch w.IntN(12) {
		case 0:
			target = w.one("ACCEPT", "RETURN")
		case 1:
			target = "MARK --set-xmark 0x10/0x30"
		}
		write("PREROUTING", w.tests(kinds[w.IntN(2)]), target)
	}
	b.WriteString("COMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n")
	kinds = []int{w.one2(0, 1, 2, 3, 5), w.one2(1, 2, 3, 5)}
	for range 5 + w.IntN(40) {
		kind := kinds[w.IntN(2)]
		target := "DNAT --to-destination " + host()
		if kind != 0 && w.IntN(3) > 0 {
			target = "DNAT --to-destination " + withPort(host())
		}
		if w.IntN(12) == 0 {
			target = w.one("ACCEPT", "RETURN")
		}
		write("PREROUTING", w.tests(kind), target)
	}
	for range w.IntN(30) {
		write("POSTROUTING", w.tests(0)+" -o "+w.one("eth0", "eth0", "eth1"), w.one("SNAT --to-source "+host(), "SNAT --to-source "+host(), "MASQUERADE"))
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

func (w writer) one2(list ...int) int { return list[w.IntN(len(list))] }

// TestEqualValues is TestEqual of rules that translate and mark.
func TestEqualValues(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(*seed, 1)), false}
	maps := map[string]int{}
	for n := range *rulesets / 2 {
		texts := []string{w.valued()}
		if n%2 == 1 {
			w.six = true
			texts = append(texts, w.valued())
			w.six = false
		}
		for level := 1; level <= 2; level++ {
			got, rs := proven(t, texts, level, n%3 == 2)
			if got != "equivalent" {
				t.Fatalf("ruleset %d of seed %d, level %d: %s\n%s\n%s", n, *seed, level, got, texts, rs)
			}
			for line := range strings.Lines(rs) {
				for _, kind := range []string{"meta mark set", "dnat to", "dnat ip to", "dnat ip6 to", "snat to", "snat ip to"} {
					if strings.Contains(line, kind) && strings.Contains(line, " map @") {
						maps[kind]++
					}
				}
			}
		}
	}
	if len(maps) < 6 {
		t.Errorf("there are only these maps: %v", maps)
	}
}

// TestEqual proves of random rulesets, of one family and of both, that they do the same
// after all passes.
func TestEqual(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(*seed, 0)), false}
	lookups := 0
	for n := range *rulesets {
		texts := []string{w.ruleset()}
		if n%2 == 1 {
			w.six = true
			texts = append(texts, w.ruleset())
			w.six = false
		}
		for level := 1; level <= 2; level++ {
			got, rs := proven(t, texts, level, n%3 == 2)
			if got != "equivalent" {
				t.Fatalf("ruleset %d of seed %d, level %d: %s\n%s\n%s", n, *seed, level, got, texts, rs)
			}
			lookups += strings.Count(rs, "@") + strings.Count(rs, "vmap {")
		}
	}
	if lookups == 0 {
		t.Error("no ruleset has a lookup")
	}
}

// proven proves a translation of a level and returns the word and its text.
func proven(t *testing.T, texts []string, level int, counters bool) (word, nft string) {
	t.Helper()
	var (
		families [2]*iptables.Ruleset
		sources  []equivalence.Machine
		versions []int
		codes    []string
	)
	for i, text := range texts {
		family := []iptables.Family{iptables.IPv4, iptables.IPv6}[i]
		rules, list := iptables.Parse(diag.NewSource("test", []byte(text)), family, extension.Registry)
		if list.HasErrors() {
			t.Fatalf("%v\n%s", list, text)
		}
		families[i] = rules
		sources = append(sources, iptsim.NewWithSets(rules, nil))
		versions = append(versions, []int{4, 6}[i])
	}
	result, list := translate.Translate(families[0], families[1], translate.Options{Optimize: level, Counters: counters})
	if result == nil {
		t.Fatalf("%v\n%s", list, texts)
	}
	var b bytes.Buffer
	if err := nftgen.Print(&b, result.Ruleset); err != nil {
		t.Fatalf("%v\n%s", err, texts)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		t.Fatal(err)
	}
	target, err := nftsim.Decode(batch.Messages)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range result.Deviations {
		codes = append(codes, d.Code)
	}
	proof, err := equivalence.Prove(t.Context(), equivalence.Join(sources...), target, equivalence.ProofOptions{Versions: versions, Deviations: codes})
	if err != nil {
		t.Fatal(err)
	}
	return string(proof.Word), b.String()
}
