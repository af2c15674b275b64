package growth

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
)

// The colours can be read on white and on black paper. Those of series repeat
// with another mark.
const (
	ink      = "#757e88"
	fontList = "system-ui, -apple-system, 'Segoe UI', sans-serif"
)

var (
	palette = []string{"#2f7de1", "#d9660d", "#2b9348", "#c9409a", "#7d5bd6", "#0f8fa0", "#dc4146", "#8a7d14"}
	marks   = []func(x, y float64) string{
		func(x, y float64) string { return fmt.Sprintf(`<circle cx="%.1f" cy="%.1f" r="3.5"/>`, x, y) },
		func(x, y float64) string {
			return fmt.Sprintf(`<rect x="%.1f" y="%.1f" width="6.4" height="6.4"/>`, x-3.2, y-3.2)
		},
		func(x, y float64) string { return fmt.Sprintf(`<path d="M%.1f %.1fl4.2 7.2h-8.4z"/>`, x, y-4.6) },
		func(x, y float64) string {
			return fmt.Sprintf(`<path d="M%.1f %.1fl4.4 4.4l-4.4 4.4l-4.4 -4.4z"/>`, x, y-4.4)
		},
		func(x, y float64) string { return fmt.Sprintf(`<path d="M%.1f %.1fl-4.2 -7.2h8.4z"/>`, x, y+4.6) },
	}
)

// The places of things in the picture.
const (
	width, height = 860.0, 520.0
	left, right   = 84.0, 672.0
	top, bottom   = 52.0, 456.0
)

// Plot writes series as an SVG with two logarithmic axes: rules, and a quantity.
// A broken line through the first point of the first series shows growth by the
// number of rules.
func Plot(w io.Writer, title string, of Quantity, series []Series) error {
	if err := check(series); err != nil {
		return err
	}
	d, known := quantities[of]
	if !known {
		return fmt.Errorf("%d is no quantity", of)
	}
	x := axis{from: left, to: right, format: formatShort}
	y := axis{from: bottom, to: top, format: d.format}
	for _, s := range series {
		for _, p := range s.Points {
			x.include(float64(p.Rules))
			y.include(d.value(p))
		}
	}
	x.settle()
	y.settle()

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" font-family="%s" font-size="13">`+"\n",
		width, height, width, height, fontList)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(&b, `<text x="%g" y="28" fill="%s" font-size="16" font-weight="600">%s</text>`+"\n", left, ink, html.EscapeString(title))
	writeFrame(&b, x, y, of)
	first := firstPoint(series)
	writeGuide(&b, x, y, float64(first.Rules), d.value(first))
	for i, s := range series {
		writeSeries(&b, i, s, x, y, d.value)
	}
	writeLegend(&b, series)
	b.WriteString("</svg>\n")
	_, err := w.Write(b.Bytes())
	return err
}

func firstPoint(series []Series) Point {
	for _, s := range series {
		if len(s.Points) > 0 {
			return s.sorted()[0]
		}
	}
	return Point{}
}

// writeFrame writes the grid, the frame and what stands along the axes.
func writeFrame(b *bytes.Buffer, x, y axis, of Quantity) {
	fmt.Fprintf(b, `<g stroke="%s" stroke-width="1" fill="none">`+"\n", ink)
	for _, t := range x.ticks() {
		fmt.Fprintf(b, `<path d="M%.1f %gV%g" opacity="%s"/>`+"\n", x.at(t.value), top, bottom, opacity(t))
	}
	for _, t := range y.ticks() {
		fmt.Fprintf(b, `<path d="M%g %.1fH%g" opacity="%s"/>`+"\n", left, y.at(t.value), right, opacity(t))
	}
	fmt.Fprintf(b, `<path d="M%g %gH%gV%gH%gz"/>`+"\n</g>\n<g fill=\"%s\">\n", left, top, right, bottom, left, ink)
	for _, t := range x.ticks() {
		if t.label != "" {
			fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="middle">%s</text>`+"\n", x.at(t.value), bottom+20, t.label)
		}
	}
	for _, t := range y.ticks() {
		if t.label != "" {
			fmt.Fprintf(b, `<text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n", left-8, y.at(t.value)+4.5, t.label)
		}
	}
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="middle">rules</text>`+"\n", (left+right)/2, bottom+44)
	middle := (top + bottom) / 2
	fmt.Fprintf(b, `<text x="20" y="%g" text-anchor="middle" transform="rotate(-90 20 %g)">%s</text>`+"\n</g>\n", middle, middle, of)
}

// opacity sets the lines that have a label apart from the others.
func opacity(t tick) string {
	if t.label != "" {
		return "0.45"
	}
	return "0.15"
}

// guideDash tells the guide from what was measured.
const guideDash = "6 5"

// writeGuide writes the line of growth by the number of rules through a point,
// as far as the frame goes.
func writeGuide(b *bytes.Buffer, x, y axis, rules, value float64) {
	perRule := value / rules
	low := max(x.low, y.low/perRule)
	high := min(x.high, y.high/perRule)
	if low < high {
		fmt.Fprintf(b, `<path d="M%.1f %.1fL%.1f %.1f" stroke="%s" stroke-width="1.5" stroke-dasharray="%s" fill="none"/>`+"\n",
			x.at(low), y.at(low*perRule), x.at(high), y.at(high*perRule), ink, guideDash)
	}
}

func colour(i int) string                  { return palette[i%len(palette)] }
func mark(i int) func(x, y float64) string { return marks[i%len(marks)] }

func writeSeries(b *bytes.Buffer, i int, s Series, x, y axis, value func(Point) float64) {
	points := s.sorted()
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(b, `<path d="`)
	for j, p := range points {
		command := "L"
		if j == 0 {
			command = "M"
		}
		fmt.Fprintf(b, "%s%.1f %.1f", command, x.at(float64(p.Rules)), y.at(value(p)))
	}
	fmt.Fprintf(b, `" stroke="%s" stroke-width="2" stroke-linejoin="round" fill="none"/>`+"\n", colour(i))
	fmt.Fprintf(b, `<g fill="%s">`+"\n", colour(i))
	for _, p := range points {
		b.WriteString(mark(i)(x.at(float64(p.Rules)), y.at(value(p))))
		b.WriteByte('\n')
	}
	b.WriteString("</g>\n")
}

func writeLegend(b *bytes.Buffer, series []Series) {
	const from, line = right + 20, 22.0
	y := top + 12
	for i, s := range series {
		fmt.Fprintf(b, `<path d="M%g %gh26" stroke="%s" stroke-width="2"/><g fill="%s">%s</g>`, from, y, colour(i), colour(i), mark(i)(from+13, y))
		fmt.Fprintf(b, `<text x="%g" y="%g" fill="%s">%s</text>`+"\n", from+34, y+4.5, ink, html.EscapeString(s.Shape))
		y += line
	}
	fmt.Fprintf(b, `<path d="M%g %gh26" stroke="%s" stroke-width="1.5" stroke-dasharray="%s"/>`, from, y, ink, guideDash)
	fmt.Fprintf(b, `<text x="%g" y="%g" fill="%s">by the rules (n¹)</text>`+"\n", from+34, y+4.5, ink)
}

// An axis is logarithmic.
type axis struct {
	low, high float64 // what it shows
	from, to  float64 // where they are in the picture
	format    func(float64) string
}

// A tick is a line across the picture. Some have a label.
type tick struct {
	value float64
	label string
}

func (a *axis) include(value float64) {
	if a.low == 0 {
		a.low, a.high = value, value
	}
	a.low, a.high = min(a.low, value), max(a.high, value)
}

// settle makes room to the next round numbers, and for two of them at least.
func (a *axis) settle() {
	low, high := a.low, a.high
	a.low, a.high = 0, 0
	for decade := math.Floor(math.Log10(low)) - 1; a.high == 0; decade++ {
		for _, digit := range []float64{1, 2, 5} {
			switch value := digit * math.Pow(10, decade); {
			case value <= low:
				a.low = value
			case a.high == 0 && value >= high:
				a.high = value
			}
		}
	}
	if a.high < 10*a.low {
		a.high = 10 * a.low
	}
}

// at returns where a value is.
func (a *axis) at(value float64) float64 {
	return a.from + (a.to-a.from)*math.Log(value/a.low)/math.Log(a.high/a.low)
}

// ticks returns the multiples of the powers of ten; the powers have a label and,
// where they are few, their doubles and halves.
func (a *axis) ticks() []tick {
	few := a.high/a.low <= 100
	var ticks []tick
	for decade := math.Floor(math.Log10(a.low)); ; decade++ {
		for digit := 1.0; digit < 10; digit++ {
			t := tick{value: digit * math.Pow(10, decade)}
			switch {
			case t.value > a.high*(1+1e-9):
				return ticks
			case t.value < a.low*(1-1e-9):
				continue
			case digit == 1, few && (digit == 2 || digit == 5):
				t.label = a.format(t.value)
			}
			ticks = append(ticks, t)
		}
	}
}
