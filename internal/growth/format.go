package growth

import (
	"math"
	"strconv"
	"strings"
)

// A unit is a multiple of another one.
type unit struct {
	size float64
	name string
}

var (
	timeUnits  = []unit{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}}
	byteUnits  = []unit{{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1, "B"}}
	countUnits = []unit{{1e6, " M"}, {1e3, " k"}, {1, ""}}
)

func formatSeconds(s float64) string { return inUnits(s, timeUnits, " ") }
func formatBytes(b float64) string   { return inUnits(b, byteUnits, " ") }

// formatShort writes a number of rules for an axis.
func formatShort(n float64) string { return inUnits(n, countUnits, "") }

// inUnits writes a number with up to three digits in the largest unit of which
// it has one.
func inUnits(x float64, units []unit, space string) string {
	x = round3(x)
	u := units[len(units)-1]
	for _, larger := range units {
		// A little less is one too, where the unit has no exact form.
		if x >= larger.size*(1-1e-9) {
			u = larger
			break
		}
	}
	return strconv.FormatFloat(round3(x/u.size), 'f', -1, 64) + space + u.name
}

// round3 rounds to three digits.
func round3(x float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'e', 2, 64), 64)
	if err != nil {
		return x
	}
	return rounded
}

// formatCount writes a number with commas between the thousands.
func formatCount(n int) string {
	digits := strconv.Itoa(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// exponent returns the power of the rules by which something grows from one
// point to another.
func exponent(before, now Point, value func(Point) float64) float64 {
	return math.Log(value(now)/value(before)) / math.Log(float64(now.Rules)/float64(before.Rules))
}
