package rulegen

import (
	"bytes"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// sizes are those at which each shape is tried in full. For kube-proxy they are
// services.
var sizes = []int{1, 40, 200, 700, 2000}

func family(s Shape) iptables.Family {
	if s.IPv6 {
		return iptables.IPv6
	}
	return iptables.IPv4
}

// parse reads a text about which there is nothing to say.
func parse(t *testing.T, s Shape, text []byte) *iptables.Ruleset {
	t.Helper()
	r, list := iptables.Parse(diag.NewSource(s.Name, text), 0, extension.Registry)
	if len(list) > 0 {
		var b bytes.Buffer
		if err := diag.Write(&b, list[:min(3, len(list))]); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s: %d diagnostics, first\n%s", s.Name, len(list), b.String())
	}
	if r.Family != family(s) {
		t.Errorf("%s: is taken for %s", s.Name, r.Family)
	}
	return r
}

func wantPrinted(t *testing.T, s Shape, text []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := iptables.Print(&b, parse(t, s, text), iptables.PrintOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), text) {
		got, want := strings.Split(b.String(), "\n"), strings.Split(string(text), "\n")
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%s: line %d prints as\n%s, want\n%s", s.Name, i+1, got[i], want[i])
			}
		}
		t.Fatalf("%s: prints as %d lines, want %d", s.Name, len(got), len(want))
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	for _, s := range Shapes {
		a, b := s.Generate(300, 7), s.Generate(300, 7)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two texts of the same seed differ", s.Name)
		}
		if bytes.Equal(a, s.Generate(300, 8)) {
			t.Errorf("%s: another seed gives the same text", s.Name)
		}
		if !bytes.Equal(Reorder(a, 3, 1), Reorder(b, 3, 1)) {
			t.Errorf("%s: two orders of the same seed differ", s.Name)
		}
		m, what := Mutate(a, 1)
		if n, again := Mutate(b, 1); !bytes.Equal(m, n) || what != again {
			t.Errorf("%s: two mutants of the same seed differ", s.Name)
		}
	}
}

// TestPrinted wants each text to be what iptables-save prints, at its full size
// too.
func TestPrinted(t *testing.T) {
	for _, s := range Shapes {
		for _, size := range append(sizes, s.Full) {
			wantPrinted(t, s, s.Generate(size, uint64(size)))
		}
	}
}

func TestTranslated(t *testing.T) {
	for _, s := range Shapes {
		for _, size := range sizes {
			r := parse(t, s, s.Generate(size, uint64(size)))
			var v4, v6 *iptables.Ruleset
			if s.IPv6 {
				v6 = r
			} else {
				v4 = r
			}
			result, list := translate.Translate(v4, v6, translate.Options{Table: "firewall"})
			if result == nil || list.HasErrors() {
				var b bytes.Buffer
				if err := diag.Write(&b, list); err != nil {
					t.Fatal(err)
				}
				t.Fatalf("%s of size %d: no translation:\n%s", s.Name, size, b.String())
			}
			if _, err := nftgen.Encode(result.Ruleset); err != nil {
				t.Errorf("%s of size %d: %v", s.Name, size, err)
			}
		}
	}
}

func TestCounts(t *testing.T) {
	for _, c := range []struct {
		name          string
		text          []byte
		rules, chains int
	}{
		{"gateway", Gateway(GatewayRules, 1), GatewayRules, 235},
		{"gateway of 100", Gateway(100, 1), 100, 29},
		{"gateway6", Gateway6(Gateway6Rules, 1), Gateway6Rules, 252},
		{"gateway6 of 100", Gateway6(100, 1), 100, 25},
		{"kube-proxy of 4", KubeProxy(4, 1), 11*4 + 8, 3*4 + 8},
		{"kube-proxy", KubeProxy(KubeServices, 1), 110_008, 30_008},
		{"kube-proxy without a port left", KubeProxy(4*nodePorts+4, 1), 11*(4*nodePorts+4) + 6, 3*(4*nodePorts+4) + 8},
		{"random", Random(1000, 1), 1000, 3},
		{"pooled", Pooled(1000, 1), 1000, 3},
		{"cross", Cross(1000, 1), 1000, 3},
		{"block", Block(1000, 1), 1000, 3},
		{"nothing", Block(0, 1), 0, 3},
	} {
		if rules, chains := Count(c.text); rules != c.rules || chains != c.chains {
			t.Errorf("%s: %d rules and %d chains, want %d and %d", c.name, rules, chains, c.rules, c.chains)
		}
	}
	for rules := 100; rules < 3000; rules += 171 {
		for name, text := range map[string][]byte{"gateway": Gateway(rules, uint64(rules)), "gateway6": Gateway6(rules, uint64(rules))} {
			if got, _ := Count(text); got != rules {
				t.Errorf("%s: %d rules, want %d", name, got, rules)
			}
		}
	}
}

// TestGatewayHasAll wants the gateways to have what gateways have.
func TestGatewayHasAll(t *testing.T) {
	both := []string{
		"*raw\n", "*mangle\n", "*filter\n", "-j NOTRACK\n", "-j MARK --set-xmark ", "-m mac --mac-source ", "! --mac-source ", "-m multiport --dports ", "-m limit --limit ",
		"-j LOG --log-prefix ", "--sport 1024:65535 ", " -i eth1.", " -o eth1.", "! -s ", "! -d ", "! -i ", "! --dport ", "-m iprange --src-range ", "-j RETURN\n",
		"--ctstate RELATED,ESTABLISHED", "--tcp-flags ", "-j REJECT --reject-with ", "! --uid-owner ", "-j TCPMSS ", "-j CONNMARK ",
	}
	for _, c := range []struct {
		name string
		text []byte
		want []string
	}{
		{"gateway", Gateway(GatewayRules, 1), []string{"*nat\n", "-j DNAT --to-destination ", "-j SNAT --to-source ", "-j MASQUERADE\n", "-j REDIRECT ", "--icmp-type "}},
		{"gateway6", Gateway6(Gateway6Rules, 1), []string{"--icmpv6-type 135 ", "/64 ", "/48 ", "/128 -j "}},
	} {
		for _, want := range append(c.want, both...) {
			if !strings.Contains(string(c.text), want) {
				t.Errorf("%s: nowhere %q", c.name, want)
			}
		}
	}
}

// TestBlockedOnce wants the sources of a blocklist not to overlap.
func TestBlockedOnce(t *testing.T) {
	lines, first, end := forward(Block(20_000, 3))
	seen := map[string]bool{}
	for _, line := range lines[first:end] {
		t22 := parseTuple(line).source.Addr()
		p, err := t22.Prefix(22)
		if err != nil {
			t.Fatal(err)
		}
		if seen[p.String()] {
			t.Fatalf("%s is named twice", p)
		}
		seen[p.String()] = true
	}
}

func BenchmarkGenerate(b *testing.B) {
	for _, s := range Shapes {
		b.Run(s.Name, func(b *testing.B) {
			for b.Loop() {
				b.SetBytes(int64(len(s.Generate(s.Full, 1))))
			}
		})
	}
}
