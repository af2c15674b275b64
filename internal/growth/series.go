package growth

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A Series is what was measured with rulesets of one shape.
type Series struct {
	Shape  string
	Points []Point
}

// A Point is one measurement.
type Point struct {
	Rules   int
	Seconds float64
	Bytes   uint64 // of memory
}

// A Quantity is one of the things that a point measures.
type Quantity uint8

// The quantities.
const (
	Time Quantity = iota
	Memory
)

// quantities says how each is read, called and written.
var quantities = map[Quantity]struct {
	name   string
	value  func(Point) float64
	format func(float64) string
}{
	Time:   {"time", func(p Point) float64 { return p.Seconds }, formatSeconds},
	Memory: {"memory", func(p Point) float64 { return float64(p.Bytes) }, formatBytes},
}

// String returns the name of the quantity.
func (q Quantity) String() string { return quantities[q].name }

// sorted returns the points from few rules to many.
func (s Series) sorted() []Point {
	return slices.SortedStableFunc(slices.Values(s.Points), func(a, b Point) int { return cmp.Compare(a.Rules, b.Rules) })
}

// check returns what keeps series from being shown.
func check(series []Series) error {
	points := 0
	for _, s := range series {
		for _, p := range s.Points {
			if p.Rules <= 0 || !(p.Seconds > 0) || p.Bytes == 0 {
				return fmt.Errorf("%s: %+v: only numbers above zero have a logarithm", s.Shape, p)
			}
			points++
		}
	}
	if points == 0 {
		return errors.New("nothing was measured")
	}
	return nil
}
