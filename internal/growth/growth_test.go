package growth

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// someSeries grow by the rules, by their square, and by less.
func someSeries() []Series {
	power := func(shape string, exponent float64, sizes ...int) Series {
		s := Series{Shape: shape}
		for _, n := range sizes {
			value := math.Pow(float64(n), exponent)
			s.Points = append(s.Points, Point{Rules: n, Seconds: 1e-5 * value, Bytes: uint64(1000 * value)})
		}
		return s
	}
	return []Series{
		power("gateway", 1, 5000, 200, 1000),
		power("a <shape> & more", 2, 100, 1000),
		power("flat", 0.5, 100, 110_008),
		{Shape: "empty"},
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, someSeries()); err != nil {
		t.Fatal(err)
	}
	want := `| shape | rules | time | per rule | growth | memory | per rule | growth |
|---|--:|--:|--:|--:|--:|--:|--:|
| gateway | 200 | 2 ms | 10 µs |  | 200 kB | 1 kB |  |
| gateway | 1,000 | 10 ms | 10 µs | 1.00 | 1 MB | 1 kB | 1.00 |
| gateway | 5,000 | 50 ms | 10 µs | 1.00 | 5 MB | 1 kB | 1.00 |
| a <shape> & more | 100 | 100 ms | 1 ms |  | 10 MB | 100 kB |  |
| a <shape> & more | 1,000 | 10 s | 10 ms | 2.00 | 1 GB | 1 MB | 2.00 |
| flat | 100 | 100 µs | 1 µs |  | 10 kB | 100 B |  |
| flat | 110,008 | 3.32 ms | 30.2 ns | 0.50 | 332 kB | 3.01 B | 0.50 |
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// elements reads an SVG and returns how many elements of each name it has, and
// its texts.
func elements(t *testing.T, svg []byte) (count map[string]int, texts []string) {
	t.Helper()
	count = map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count, texts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			count[token.Name.Local]++
		case xml.CharData:
			if s := strings.TrimSpace(string(token)); s != "" {
				texts = append(texts, s)
			}
		}
	}
}

func TestPlot(t *testing.T) {
	for of, labels := range map[Quantity][]string{
		Time:   {"time", "100 µs", "1 ms", "10 ms", "1 s", "10 s"},
		Memory: {"memory", "10 kB", "1 MB", "1 GB"},
	} {
		var b bytes.Buffer
		if err := Plot(&b, "Proof & time", of, someSeries()); err != nil {
			t.Fatal(err)
		}
		count, texts := elements(t, b.Bytes())
		// A mark for each point, and one in the legend for each series.
		if count["circle"] != 3+1 || count["rect"] != 2+1 {
			t.Errorf("%s: %v", of, count)
		}
		all := strings.Join(texts, "\n")
		for _, want := range append(labels, "Proof & time", "rules", "100", "1 k", "10 k", "100 k", "gateway", "a <shape> & more", "flat", "empty", "by the rules (n¹)") {
			if !strings.Contains("\n"+all+"\n", "\n"+want+"\n") {
				t.Errorf("%s: no text %q among\n%s", of, want, all)
			}
		}
		var again bytes.Buffer
		if err := Plot(&again, "Proof & time", of, someSeries()); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Errorf("%s: another picture the second time (%v)", of, err)
		}
		if bytes.Contains(b.Bytes(), []byte("NaN")) || bytes.Contains(b.Bytes(), []byte("Inf")) {
			t.Errorf("%s: a place is no number", of)
		}
	}
}

func TestAxis(t *testing.T) {
	for _, c := range []struct {
		values    []float64
		low, high float64
		labels    string
	}{
		{[]float64{200, 110_008}, 200, 200_000, "[1 k 10 k 100 k]"},
		{[]float64{100}, 100, 1000, "[100 200 500 1 k]"},
		{[]float64{0.3, 0.9}, 0.2, 2, "[200 500 1 k 2 k]"},
		{[]float64{1, 10}, 1, 10, "[1 2 5 10]"},
	} {
		a := axis{from: 10, to: 110, format: formatShort}
		if c.low < 1 {
			a.format = func(x float64) string { return formatShort(1000 * x) }
		}
		for _, v := range c.values {
			a.include(v)
		}
		a.settle()
		var labels []string
		for _, tick := range a.ticks() {
			if tick.label != "" {
				labels = append(labels, tick.label)
			}
		}
		if math.Abs(a.low/c.low-1) > 1e-9 || math.Abs(a.high/c.high-1) > 1e-9 || fmt.Sprint(labels) != c.labels {
			t.Errorf("%v: %g to %g with %v, want %g to %g with %s", c.values, a.low, a.high, labels, c.low, c.high, c.labels)
		}
		if at := a.at(a.low); at != 10 {
			t.Errorf("%v: the lowest value is at %g", c.values, at)
		}
		if at := a.at(math.Sqrt(a.low * a.high)); math.Abs(at-60) > 1e-6 {
			t.Errorf("%v: the middle is at %g", c.values, at)
		}
	}
}

func TestNothingToShow(t *testing.T) {
	for _, series := range [][]Series{
		nil, {{Shape: "empty"}},
		{{Shape: "a", Points: []Point{{Rules: 0, Seconds: 1, Bytes: 1}}}},
		{{Shape: "a", Points: []Point{{Rules: 1, Seconds: 0, Bytes: 1}}}},
		{{Shape: "a", Points: []Point{{Rules: 1, Seconds: math.NaN(), Bytes: 1}}}},
		{{Shape: "a", Points: []Point{{Rules: 1, Seconds: 1}}}},
	} {
		var b bytes.Buffer
		if Plot(&b, "", Time, series) == nil || Table(&b, series) == nil || b.Len() > 0 {
			t.Errorf("%v is shown as\n%s", series, b.String())
		}
	}
	if Plot(io.Discard, "", 7, someSeries()) == nil {
		t.Error("a quantity that is none is shown")
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{formatSeconds(0.0009999), "1 ms"}, {formatSeconds(1), "1 s"}, {formatSeconds(123.4), "123 s"}, {formatSeconds(2.4e-10), "0.24 ns"},
		{formatSeconds(0.42), "420 ms"}, {formatBytes(793_999_999), "794 MB"}, {formatBytes(999), "999 B"}, {formatBytes(999_999), "1 MB"},
		{formatShort(100), "100"}, {formatShort(100_000), "100 k"}, {formatShort(2e6), "2 M"},
		{formatCount(7), "7"}, {formatCount(123), "123"}, {formatCount(5556), "5,556"}, {formatCount(1110008), "1,110,008"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// TestColours wants every colour to stand out from white and from nearly black
// paper as WCAG 2.1 demands of graphics, and words as of large text.
func TestColours(t *testing.T) {
	luminance := func(colour string) float64 {
		var r, g, b int
		if _, err := fmt.Sscanf(colour, "#%02x%02x%02x", &r, &g, &b); err != nil {
			t.Fatal(err)
		}
		linear := func(n int) float64 {
			if c := float64(n) / 255; c > 0.03928 {
				return math.Pow((c+0.055)/1.055, 2.4)
			} else {
				return c / 12.92
			}
		}
		return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
	}
	contrast := func(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }
	for _, c := range append([]string{ink}, palette...) {
		for _, paper := range []string{"#ffffff", "#0d1117"} {
			if got := contrast(luminance(c), luminance(paper)); got < 3 {
				t.Errorf("%s on %s: contrast %.2f", c, paper, got)
			}
		}
	}
}
