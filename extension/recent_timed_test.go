package extension

import (
	"fmt"
	"math/rand"
	"net/netip"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/translate"
)

// timedRules are rules whose answers depend on when packets come, or on how many
// came before. Times are short, so that a test is.
var timedRules = []struct {
	name, rules string
	family      iptables.Family
}{
	{name: "guard", rules: `
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name SSH
-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 2 --hitcount 4 --name SSH -j DROP`},
	{name: "guard of IPv6", family: iptables.IPv6, rules: `
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name SSH
-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 2 --hitcount 3 --name SSH -j DROP`},
	{name: "check before set", rules: `
-A INPUT -m recent --rcheck --seconds 2 --hitcount 3 -j DROP
-A INPUT -m recent --set -j ACCEPT`},
	{name: "one hit", rules: `
-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 1 --name bad -j DROP
-A INPUT -p tcp -m tcp --dport 23 -m recent --set --name bad -j DROP`},
	{name: "knock", rules: `
-A INPUT -p tcp -m tcp --dport 22 -m recent --rcheck --seconds 1 --name open -j ACCEPT
-A INPUT -p tcp -m tcp --dport 23 -m recent --set --name knocked -j DROP
-A INPUT -p tcp -m tcp --dport 24 -m recent --rcheck --seconds 1 --name knocked -m recent --remove --name knocked -m recent --set --name open -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j DROP`},
	{name: "remove", rules: `
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name x
-A INPUT -p tcp -m tcp --dport 23 -m recent --remove --name x -j DROP
-A INPUT -p tcp -m tcp --dport 24 -m recent ! --remove --name x -j DROP
-A INPUT -m recent --rcheck --hitcount 3 --name x -j DROP`},
	{name: "negated check", rules: `
-A INPUT -m recent ! --rcheck --seconds 1 --hitcount 2 --name n -j MARK --set-mark 1
-A INPUT -m recent ! --rcheck --seconds 2 --name n -j MARK --set-xmark 0x2/0x2
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name n
-A INPUT -m mark --mark 1 -j DROP
-A INPUT -m mark --mark 2 -j DROP`},
	{name: "negated update", rules: `
-A INPUT -p tcp -m tcp --dport 22 -m recent ! --update --seconds 1 --hitcount 2 --name n -j DROP
-A INPUT -p tcp -m tcp --dport 23 -m recent --set --name n
-A INPUT -p tcp -m tcp --dport 24 -m recent ! --set --name n -j DROP`},
	{name: "several ages", rules: `
-A INPUT -m recent --rcheck --seconds 1 --hitcount 2 --name s -m comment --comment "fast" -j DROP
-A INPUT -m recent --update --seconds 3 --hitcount 4 --name s -j DROP
-A INPUT -p tcp -m tcp --dport 24 -m recent --rcheck --hitcount 6 --name s -j DROP
-A INPUT -m recent --set --name s -j ACCEPT`},
	{name: "destination and mask", rules: `
-A INPUT -m recent --rcheck --seconds 1 --hitcount 2 --name d --mask 255.255.255.254 --rsource -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name d --mask 255.255.255.254 --rsource
-A INPUT -p tcp -m tcp --dport 23 -m recent --set --name d --mask 255.255.255.254 --rdest
-A INPUT -p tcp -m tcp --dport 24 -m recent --rcheck --seconds 1 --name d --mask 255.255.255.254 --rdest -j DROP`},
	{name: "limit", rules: `
-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 2/second --limit-burst 3 -j DROP
-A INPUT -p tcp -m tcp --dport 23 -m limit --limit 60/minute --limit-burst 1 -j DROP
-A INPUT -p tcp -m tcp --dport 24 -m limit --limit 4/second -j DROP`},
	{name: "statistic", rules: `
-A INPUT -p tcp -m tcp --dport 22 -m statistic --mode nth --every 3 --packet 0 -j DROP
-A INPUT -p tcp -m tcp --dport 23 -m statistic --mode nth --every 4 --packet 2 -j DROP
-A INPUT -p tcp -m tcp --dport 24 -m statistic --mode nth ! --every 3 --packet 1 -j DROP`},
}

// timedStep divides the time of a test. No age in the rules is a multiple of
// it, so that a packet that is some milliseconds late changes nothing.
const timedStep = 230 * time.Millisecond

// TestTimed sends packets at random times through four machines: xtables and
// nf_tables of the kernel on its clock, the models of both on a virtual one.
// All say the same of every packet.
func TestTimed(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	var cases []*timedCase
	for i, rules := range timedRules {
		cases = append(cases, newTimedCase(t, rules.name, "*filter\n"+rules.rules[1:]+"\nCOMMIT\n", rules.family == iptables.IPv6, int64(i+1)))
	}
	start := time.Now()
	for step := range 36 {
		at := time.Duration(step) * timedStep
		time.Sleep(time.Until(start.Add(at)))
		var differences []string
		for _, c := range cases {
			for range c.random.Intn(4) {
				differences = append(differences, c.send(t, at)...)
			}
		}
		if late := time.Since(start) - at; late > timedStep/2 {
			testkit.NotHere(t, "too busy for a test of times: %v late", late)
		}
		for _, d := range differences {
			t.Error(d)
		}
	}
	for _, c := range cases {
		if len(c.verdicts) < 2 {
			t.Errorf("%s: all packets had one fate, so that the case shows nothing: %v", c.name, c.verdicts)
		}
	}
}

// A timedCase is a ruleset in four machines.
type timedCase struct {
	name     string
	v6       bool
	random   *rand.Rand
	kernels  [2]*kernel.Machine // xtables, nf_tables
	models   [2]*equivalence.Walker
	verdicts map[packet.Verdict]int
}

func newTimedCase(t *testing.T, name, save string, v6 bool, seed int64) *timedCase {
	t.Helper()
	c := &timedCase{name: name, v6: v6, random: rand.New(rand.NewSource(seed)), verdicts: map[packet.Verdict]int{}}
	rs, batch := translated(t, save, v6)
	host := packet.DefaultHost([]string{"eth0"})
	const none = "*filter\nCOMMIT\n"
	texts := []string{save, none}
	if v6 {
		texts = []string{none, save}
	}
	var err error
	c.kernels[0], err = kernel.NewXtables(host, []byte(texts[0]), []byte(texts[1]), kernel.Options{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() { c.kernels[0].Close() })
	c.kernels[1], err = kernel.NewNftables(host, batch.Messages, kernel.Options{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() { c.kernels[1].Close() })
	model, err := nftsim.Decode(batch.Messages)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c.models = [2]*equivalence.Walker{equivalence.NewWalker(iptsim.New(rs), host), equivalence.NewWalker(model, host)}
	return c
}

// send sends one packet, of one of three hosts to one of four ports, and returns
// who says otherwise than xtables.
func (c *timedCase) send(t *testing.T, at time.Duration) (differences []string) {
	t.Helper()
	spec := packet.Spec{
		Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 4000, DstPort: uint16(22 + c.random.Intn(4)*c.random.Intn(2)),
		In: "eth0", State: packet.New, Time: int64(at),
	}
	spec.Src = netip.AddrFrom4([4]byte{192, 0, 2, byte(80 + c.random.Intn(3))})
	if c.v6 {
		spec.Src = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 0x80+c.random.Intn(3)))
	}
	p, err := spec.Packet()
	if err != nil {
		t.Fatal(err)
	}
	var fates []packet.Fate
	for _, m := range c.kernels {
		fate, err := m.Run(p)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		fates = append(fates, fate)
	}
	for _, w := range c.models {
		fates = append(fates, w.Run(p))
	}
	want := fates[0].Verdict
	c.verdicts[want]++
	for i, name := range []string{"xtables", "nf_tables", "the model of xtables", "the model of nf_tables"} {
		if got := fates[i].Verdict; got != want {
			differences = append(differences, fmt.Sprintf("%s: after %v, %v to port %d: %s says %v, xtables says %v",
				c.name, at, spec.Src, spec.DstPort, name, got, want))
		}
	}
	return differences
}

// TestTimedBoundary runs the models over times that are exactly as old as
// --seconds allows, and one tick older.
func TestTimedBoundary(t *testing.T) {
	const tick = int64(time.Second / 250)
	for _, hits := range []int{1, 3} {
		rs, batch := translated(t, fmt.Sprintf("*filter\n-A INPUT -m recent --rcheck --seconds 2 --hitcount %d -j DROP\n-A INPUT -m recent --set\nCOMMIT\n", hits), false)
		for _, age := range []int64{0, int64(2*time.Second) - tick, int64(2 * time.Second), int64(2*time.Second) + tick} {
			model, err := nftsim.Decode(batch.Messages)
			if err != nil {
				t.Fatal(err)
			}
			host := packet.DefaultHost([]string{"eth0"})
			for i, w := range []*equivalence.Walker{equivalence.NewWalker(iptsim.New(rs), host), equivalence.NewWalker(model, host)} {
				var fate packet.Fate
				for n := 0; n <= hits; n++ {
					spec := packet.Spec{Proto: packet.UDP, In: "eth0", State: packet.New, Time: 7 * tick}
					if n == hits {
						spec.Time += age
					}
					p, err := spec.Packet()
					if err != nil {
						t.Fatal(err)
					}
					fate = w.Run(p)
				}
				if want := age <= int64(2*time.Second); (fate.Verdict == packet.Drop) != want {
					t.Errorf("%d hits, age %v: model %d says %v", hits, time.Duration(age), i, fate.Verdict)
				}
			}
		}
	}
}

// translated returns rules and their batch.
func translated(t *testing.T, save string, v6 bool) (*iptables.Ruleset, *nftgen.Batch) {
	t.Helper()
	family := iptables.IPv4
	if v6 {
		family = iptables.IPv6
	}
	rs, diags := iptables.Parse(diag.NewSource("rules", []byte(save)), family, Registry)
	var v4rules, v6rules *iptables.Ruleset
	if v6 {
		v6rules = rs
	} else {
		v4rules = rs
	}
	if diags.HasErrors() {
		t.Fatalf("parse: %v", diags)
	}
	result, diags := translate.Translate(v4rules, v6rules, translate.Options{})
	if diags.HasErrors() {
		t.Fatalf("translate: %v", diags)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		t.Fatal(err)
	}
	return rs, batch
}
