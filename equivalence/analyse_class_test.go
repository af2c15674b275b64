package equivalence_test

import (
	"math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// incident analyses a file of the example, and returns its input stage.
func incident(t testing.TB, file string) (*equivalence.Analysis, *equivalence.StageFacts, *iptsim.Machine) {
	t.Helper()
	text, err := os.ReadFile("../examples/incident/" + file)
	if err != nil {
		t.Fatal(err)
	}
	m := iptsim.New(parsed(t, file, string(text), iptables.IPv4))
	a := analysed(t, m, 4)
	at := slices.IndexFunc(a.Stages, func(s *equivalence.StageFacts) bool { return s.Name == "filter INPUT" })
	return a, a.Stages[at], m
}

func TestClass(t *testing.T) {
	ssh := equivalence.Filter{
		Source: netip.MustParsePrefix("10.0.0.0/24"), Protocol: packet.TCP, DestinationPort: equivalence.Ports{First: 22, Last: 22},
		States: []packet.State{packet.New}, In: "eth0",
	}
	_, before, _ := incident(t, "rules.v4")
	a, after, m := incident(t, "after.v4")
	whole := before.Packets(ssh).Minus(before.Dropped())
	if c := before.Packets(ssh); c.Empty() || !whole.Within(before.Accepted()) || c.And(before.Accepted()).Empty() {
		t.Error("before, SSH from the office is not accepted")
	}
	if c := after.Packets(ssh); !c.And(after.Accepted()).Empty() || !c.Within(after.Dropped()) || !c.Exact() || !c.Certain() {
		t.Error("after, SSH from the office is not dropped")
	}
	for _, s := range []*equivalence.StageFacts{before, after} {
		x, y := s.Accepted(), s.Packets(equivalence.Filter{Source: netip.MustParsePrefix("10.0.0.0/8")})
		if !x.And(s.Dropped()).Empty() || !s.All().Minus(x.Or(s.Dropped())).Empty() || !s.Policy().Within(s.Dropped()) {
			t.Error("what is accepted and what is dropped do not make all")
		}
		if !x.Minus(y).Or(x.And(y)).Within(x) || !x.Within(x.Minus(y).Or(x.And(y))) || !x.Minus(y).And(y).Empty() {
			t.Error("the algebra of classes is wrong")
		}
		size := func(c equivalence.Class) *big.Int {
			n, err := c.Size()
			if err != nil || n.Least.Cmp(n.Most) != 0 || n.Most.Cmp(n.All) > 0 {
				t.Errorf("size %v, %v", n, err)
			}
			return n.Most
		}
		if sum := new(big.Int).Add(size(x), size(y)); sum.Cmp(new(big.Int).Add(size(x.Or(y)), size(x.And(y)))) != 0 {
			t.Error("sizes do not add up")
		}
	}
	if c := before.All().And(after.All()); c.Err() == nil || c.Empty() || c.Within(c) || len(c.Packets(3)) > 0 || len(c.Words(3).Cubes) > 0 {
		t.Error("classes of two analyses go together")
	}
	if c := (equivalence.Class{}); c.Err() == nil || c.Empty() || c.Certain() || c.Exact() || c.And(before.All()).Err() == nil {
		t.Error("no class is a class")
	}
	if c := before.Packets(equivalence.Filter{Source: netip.MustParsePrefix("fd00::/8")}); !c.Empty() {
		t.Error("IPv4 packets from IPv6 addresses")
	}
	// Devices that packets do not have yet, or no more, also where no rule asks.
	for _, s := range a.Stages {
		in, out := s.Packets(equivalence.Filter{In: "eth0"}).Empty(), s.Packets(equivalence.Filter{Out: "eth0"}).Empty()
		if in != (s.Hook == packet.Output) || out != (s.Hook == packet.Input || s.Hook == packet.Prerouting) {
			t.Errorf("%s: no packet in %t, out %t", s.Name, in, out)
		}
	}
	// Packets of what a rule matches are matched.
	for _, f := range a.Rules {
		if f.Matched != equivalence.Shown || strings.Contains(f.Text, "limit") {
			continue
		}
		list := f.At[0].Matched().Packets(5)
		if len(list) < 2 {
			t.Errorf("%s: %d packets", f, len(list))
		}
		for _, p := range list {
			w := equivalence.NewWalker(m, p.Host)
			matched := false
			w.Visit = func(rule any, how packet.Look) {
				matched = matched || rule == f.ID() && how >= packet.Matched
			}
			if w.Run(p.Packet); !matched {
				t.Errorf("%s does not match %v", f, p.Packet)
			}
		}
	}
}

func TestClassWords(t *testing.T) {
	_, before, _ := incident(t, "rules.v4")
	for _, c := range []struct {
		class equivalence.Class
		want  []string
	}{
		{before.Accepted(), []string{
			"in lo", "ct state established or related", "tcp to port 80 or 443",
			"tcp from 10.244.0.0/16 to port 8080", "tcp from 10.0.0.0/24 to port 22",
		}},
		{before.Packets(equivalence.Filter{Source: netip.MustParsePrefix("10.0.0.0/8"), Protocol: packet.TCP, DestinationPort: equivalence.Ports{First: 1024, Last: 65535}}),
			[]string{"tcp from 10.0.0.0/8 to port 1024-65535"}},
		{before.Packets(equivalence.Filter{In: "eth7", States: []packet.State{packet.Invalid}}), []string{"in any but lo, ct state invalid"}},
		{before.Packets(equivalence.Filter{Protocol: packet.ICMP}), []string{"icmp"}},
		{before.All(), []string{"all packets"}},
	} {
		cover, within, whole := c.class.CheckWords(10)
		var got []string
		for _, cube := range cover.Cubes {
			got = append(got, cube.String())
		}
		if !slices.Equal(got, c.want) || !cover.Exact || !within || !whole || cover.Rest.Sign() != 0 {
			t.Errorf("%q, exact %t, within %t, whole %t; want %q", got, cover.Exact, within, whole, c.want)
		}
	}
	if cover := before.Accepted().Words(2); cover.Exact || len(cover.Cubes) != 2 || cover.Rest.Sign() == 0 {
		t.Errorf("two cubes are all: %v", cover)
	}
}

// TestClassWordsRandom wants covers of random rules' classes to hold nothing else,
// and all where they say so.
func TestClassWordsRandom(t *testing.T) {
	exact, all := 0, 0
	for seed := range uint64(4) {
		a := analysed(t, iptsim.New(parsed(t, "rules.v4", randomRules(rand.New(rand.NewPCG(seed, 2)), seed%2 == 0), iptables.IPv4)), 4)
		for _, f := range a.Rules {
			for _, at := range f.At {
				if at.Matched().Empty() {
					continue
				}
				cover, within, whole := at.Matched().CheckWords(6)
				if !within || cover.Exact != whole {
					t.Errorf("seed %d, %s: %v, within %t, whole %t", seed, f, cover, within, whole)
				}
				if all++; cover.Exact {
					exact++
				}
			}
		}
	}
	t.Logf("%d of %d covers are exact", exact, all)
}
