package nftgen

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/internal/testkit"
)

// exampleRuleset is a small firewall with all that the text can show.
func exampleRuleset() *Ruleset {
	source := diag.NewSource("/etc/iptables/rules.v4", []byte(strings.Repeat("rule\n", 30)))
	at := func(line int32) diag.Range { return diag.Range{Source: source, Start: 5 * (line - 1), End: 5*line - 1} }
	nets := &Set{Name: "trusted", Key: []*Datatype{ipv4Addr}, Interval: true, Note: "where the operators sit"}
	for i := range 12 {
		nets.Elements = append(nets.Elements, []Interval{span(Value{10, byte(2 * i), 0, 0}, Value{10, byte(2 * i), 255, 255})})
	}
	guests := &Set{Name: "guests", Key: []*Datatype{ipv4Addr, inetService}, Dynamic: true, Timeout: 90 * time.Second, Size: 65535}
	input := &Chain{
		Name: "INPUT", Base: &Base{Type: "filter", Hook: 1, Drop: true}, Origin: at(2),
		Rules: []*Rule{
			{Stmts: []Stmt{AnyBit{Field: CTState, Bits: u32(6)}, accept}, Origin: at(5)},
			{Stmts: []Stmt{IfName{Field: MetaIifname, Name: "lo"}, accept}, Origin: at(6)},
			{Stmts: []Stmt{InSet{Fields: []Field{IPSaddr}, Set: nets}, eq(Dport(6), u16(22)), Counter{Packets: 5, Bytes: 300}, accept}, Comment: "ssh", Origin: at(7)},
			{Stmts: []Stmt{set(Dport(6), only(u16(80)), only(u16(443))), VerdictStmt{Kind: Jump, Chain: "web"}}, Origin: at(8)},
			{Stmts: []Stmt{Limit{Rate: 3, Unit: time.Minute, Burst: 5}, Log{Prefix: "lost $: ", Level: 4}}},
			{Stmts: []Stmt{eq(IPSaddr, ip("192.0.2.7")), OneOfTuple{Fields: []Field{IPDaddr, Dport(6)}, Tuples: [][]Interval{
				{only(ip("192.0.2.1")), span(u16(1), u16(9))}, {only(ip("192.0.2.2")), only(u16(25))}}}, Reject{Code: 3}}, Comment: "a rule that is too long for the others to be aligned with it", Origin: at(9)},
		},
	}
	web := &Chain{Name: "web", Note: "two services\n\nbehind one name", Rules: []*Rule{
		{Stmts: []Stmt{Update{Op: OpUpdate, Set: guests, Fields: []Field{IPSaddr, Dport(6)}}, accept}, Origin: at(12)},
	}}
	output := &Chain{Name: "output", Base: &Base{Type: "route", Hook: 3, Priority: -150}}
	dstnat := &Chain{Name: "dstnat_output", Base: &Base{Type: "nat", Hook: 3, Priority: -100}}
	return &Ruleset{
		Head:  []string{"Generated from rules.v4.", "", "Do not edit \x1b[31m."},
		Table: &Table{Family: IP, Name: "firewall", Sets: []*Set{nets, guests}, Chains: []*Chain{input, web, output, dstnat}},
	}
}

func TestPrint(t *testing.T) { golden(t, "testdata/example.nft", printed(t, exampleRuleset())) }

// TestPrintEmpty prints tables with little in them.
func TestPrintEmpty(t *testing.T) {
	rs := &Ruleset{Table: &Table{Family: Inet, Name: "firewall"}}
	want := "table inet firewall\ndelete table inet firewall\n\ntable inet firewall {\n}\n"
	if got := printed(t, rs); got != want {
		t.Errorf("Print = %q, want %q", got, want)
	}
}

func TestExampleIsBatch(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	requireSame(t, exampleRuleset())
	requireSame(t, &Ruleset{Table: &Table{Family: Inet, Name: "firewall"}})
}

// TestLargeSets has sets that do not fit one message.
func TestLargeSets(t *testing.T) {
	points := &Set{Name: "points", Key: []*Datatype{ipv4Addr}}
	spans := &Set{Name: "spans", Key: []*Datatype{ipv6Addr}, Interval: true}
	pairs := &Set{Name: "pairs", Key: []*Datatype{ipv4Addr, inetService}, Interval: true}
	var list []Interval
	for i := range uint32(5000) {
		low := append(ip("2001:db8::")[:12], u32(i*16)...)
		points.Elements = append(points.Elements, []Interval{only(u32(0x0a000000 + i))})
		spans.Elements = append(spans.Elements, []Interval{{low, append(low[:12:12], u32(i*16+5)...)}})
		pairs.Elements = append(pairs.Elements, []Interval{only(u32(0x0a000000 + i)), span(u16(80), u16(90))})
		list = append(list, only(u16(uint16(2*i))))
	}
	rs := &Ruleset{Table: &Table{
		Family: Inet, Name: "large", Sets: []*Set{points, spans, pairs},
		Chains: []*Chain{{Name: "c", Rules: []*Rule{{Stmts: []Stmt{set(Dport(6), list...)}}}}},
	}}
	batch, err := Encode(rs)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range batch.Messages {
		if len(m.Data) > 1<<16 {
			t.Errorf("message %d has %d bytes", i, len(m.Data))
		}
	}
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	requireSame(t, rs)
}

// TestDeterminism encodes and prints the same ruleset many times at once.
func TestDeterminism(t *testing.T) {
	rs := caseRuleset(Inet, allCases())
	want, err := Encode(rs)
	if err != nil {
		t.Fatal(err)
	}
	text := printed(t, rs)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			got, err := Encode(rs)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("Encode differs, error %v", err)
			}
			var b bytes.Buffer
			if err := Print(&b, rs); err != nil || b.String() != text {
				t.Errorf("Print differs, error %v", err)
			}
		})
	}
	wait.Wait()
}

// TestBatch has the frame of a batch.
func TestBatch(t *testing.T) {
	rs := exampleRuleset()
	batch, err := Encode(rs)
	if err != nil {
		t.Fatal(err)
	}
	if len(batch.Messages) != len(batch.Origins) {
		t.Fatalf("%d messages, %d origins", len(batch.Messages), len(batch.Origins))
	}
	var kinds []string
	for i, m := range batch.Messages {
		if m.Header.Sequence != 0 {
			t.Errorf("message %d has the number %d", i, m.Header.Sequence)
		}
		place := ""
		if r := batch.Origins[i]; !r.IsZero() {
			place = fmt.Sprintf("@%d", r.Line())
		}
		kinds = append(kinds, fmt.Sprintf("%d%s", m.Header.Type&0xff, place))
	}
	// Begin, three of the table, four chains, two sets of which one is
	// filled, six rules, the second to the last with a set before it, and one.
	want := "16 0 2 0 3@2 3 3 3 9 12 9 6@5 6@6 6@7 9@8 12@8 6@8 6 9@9 12@9 6@9 6@12 17"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("messages are %s, want %s", got, want)
	}
}

func benchmarkRuleset(rules int) *Ruleset {
	c := &Chain{Name: "c"}
	for i := range uint32(rules) {
		c.Rules = append(c.Rules, &Rule{Stmts: []Stmt{eq(IPSaddr, u32(0x0a000000+i)), eq(Dport(6), u16(uint16(i))), counter, accept}})
	}
	return &Ruleset{Table: &Table{Family: Inet, Name: "bench", Chains: []*Chain{c}}}
}

func BenchmarkEncode(b *testing.B) {
	rs := benchmarkRuleset(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(rs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrint(b *testing.B) {
	rs := benchmarkRuleset(100_000)
	b.ReportAllocs()
	for b.Loop() {
		var w bytes.Buffer
		if err := Print(&w, rs); err != nil {
			b.Fatal(err)
		}
	}
}
