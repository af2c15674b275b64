package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"nftmigrate/internal/growth"
)

// TestWrite writes a document of made-up measurements.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	series := []growth.Series{{Shape: "gateway", Points: []growth.Point{{Rules: 100, Seconds: 0.1, Bytes: 1 << 20}, {Rules: 1000, Seconds: 2, Bytes: 1 << 24}}}}
	if err := write(dir, 20, series, []string{"- gateway, 3000 rules: undecided"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "growth.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"gateway", "1,000", "Not proven within the budget:\n\n- gateway, 3000 rules"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, plot := range []string{"growth-time.svg", "growth-memory.svg"} {
		if svg, err := os.ReadFile(filepath.Join(dir, plot)); err != nil || !bytes.HasPrefix(svg, []byte("<svg")) {
			t.Errorf("%s: %v", plot, err)
		}
	}
	if err := write(dir, 20, nil, nil); err == nil {
		t.Error("no measurement is no error")
	}
}

// TestPeak wants the memory of this process to be more than nothing.
func TestPeak(t *testing.T) {
	if n, err := peak(); err != nil || n < 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
