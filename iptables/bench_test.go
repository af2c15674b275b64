package iptables

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"nftmigrate/diag"
)

// benchmarkRules is how many rules the benchmarks parse and print.
const benchmarkRules = 100_000

func benchmarkText() []byte {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for i := range benchmarkRules {
		fmt.Fprintf(&b, "-A INPUT -s 10.%d.%d.%d/32 -p tcp -m tcp --dport %d -j ACCEPT\n", i>>16, i>>8&0xff, i&0xff, 1+i%65535)
	}
	b.WriteString("COMMIT\n")
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	text := benchmarkText()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var kept *Ruleset
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		r, list := Parse(diag.NewSource("bench", text), IPv4, testRegistry{})
		if len(list) != 0 {
			b.Fatal(list)
		}
		kept = r
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(benchmarkRules*b.N)/b.Elapsed().Seconds(), "rules/s")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(text)), "kept-bytes/input-byte")
	runtime.KeepAlive(kept)
}

func BenchmarkPrint(b *testing.B) {
	text := benchmarkText()
	r, _ := Parse(diag.NewSource("bench", text), IPv4, testRegistry{})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Print(io.Discard, r, PrintOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchmarkRules*b.N)/b.Elapsed().Seconds(), "rules/s")
}

// TestParseManyRules bounds the memory that a large ruleset takes.
func TestParseManyRules(t *testing.T) {
	text := benchmarkText()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, list := Parse(diag.NewSource("many", text), IPv4, testRegistry{})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if list != nil || len(r.Table("filter").Chain("INPUT").Rules) != benchmarkRules {
		t.Fatal("not all rules were read", list)
	}
	if factor := float64(after.HeapAlloc-before.HeapAlloc) / float64(len(text)); factor > 10 {
		t.Errorf("the ruleset takes %.1f times its text", factor)
	}
	runtime.KeepAlive(r)
}
