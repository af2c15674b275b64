package equivalence

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// An Outcome is what a stage does with a class of packets.
type Outcome struct {
	// Verdict is "accept", "drop" or, for what is not modelled, "undecided".
	Verdict string
	// Events are what others can see, in order: messages to the log, answers to
	// the sender, translations, questions to states. Sometimes are those that only
	// happen to some of the packets, or when a state says so.
	Events, Sometimes []string
	// Writes are what is set, such as "mark 0x1".
	Writes []string
	// Rule decides, or is the zero value for various rules.
	Rule RuleName
	id   any // of the rule
}

// String says an outcome in words, without the rule.
func (o Outcome) String() string {
	words := slices.Clone(o.Events)
	for _, e := range o.Sometimes {
		words = append(words, "sometimes "+e)
	}
	return strings.Join(append(append(words, o.Writes...), o.Verdict), ", ")
}

// outcomeOf says a leaf in words.
func outcomeOf(s *symbolic.Space, l symbolic.Leaf) Outcome {
	o := Outcome{Verdict: l.Verdict.String(), Writes: writeWords(s, l.Effect)}
	for _, t := range s.Events(l.Effect) {
		o.Events = append(o.Events, eventWords(t))
	}
	return o
}

var nanoseconds = regexp.MustCompile(`\b[0-9]+ns\b`)

// eventWords says an event in words.
func eventWords(t symbolic.Token) string {
	text := t.String()
	if strings.HasPrefix(t.Text, t.Kind+" ") {
		text = t.Text
	}
	if t.Kind == "ask" {
		text = "asks " + t.Text
	}
	return durations(text)
}

// durations says numbers of nanoseconds as people do.
func durations(text string) string {
	return nanoseconds.ReplaceAllStringFunc(text, func(n string) string {
		if d, err := time.ParseDuration(n); err == nil {
			return d.String()
		}
		return n
	})
}

// writeWords says what an effect writes, by fields.
func writeWords(s *symbolic.Space, e symbolic.Effect) []string {
	var words []string
	done := map[symbolic.Group]bool{}
	for _, l := range s.WrittenLevels(e) {
		g, _, ok := symbolic.GroupOf(l)
		if !ok || done[g] {
			continue
		}
		done[g] = true
		value, mask := new(big.Int), new(big.Int)
		constant := true
		levels := s.Levels(g)
		for i, to := range levels {
			c, written := s.Written(e, to)
			if !written {
				continue
			}
			mask.SetBit(mask, len(levels)-1-i, 1)
			if _, _, varies := c.Variable(); varies {
				constant = false
			} else if c == symbolic.One {
				value.SetBit(value, len(levels)-1-i, 1)
			}
		}
		switch {
		case !constant:
			words = append(words, g.String()+" from the packet")
		case mask.BitLen() == len(levels) && mask.TrailingZeroBits() == 0 && new(big.Int).Add(mask, big.NewInt(1)).TrailingZeroBits() == uint(len(levels)):
			words = append(words, fmt.Sprintf("%v %#x", g, value))
		default:
			words = append(words, fmt.Sprintf("%v %#x/%#x", g, value, mask))
		}
	}
	return words
}

// join reports whether an outcome is another one but for events, and makes it
// both.
func (o *Outcome) join(p Outcome, do bool) bool {
	if o.Verdict != p.Verdict || o.Rule != p.Rule || !slices.Equal(o.Writes, p.Writes) {
		return false
	}
	if !do || slices.Equal(o.Events, p.Events) {
		return true
	}
	var always []string
	for _, e := range o.Events {
		if slices.Contains(p.Events, e) {
			always = append(always, e)
		}
	}
	for _, e := range slices.Concat(o.Events, p.Events) {
		if !slices.Contains(always, e) && !slices.Contains(o.Sometimes, e) {
			o.Sometimes = append(o.Sometimes, e)
		}
	}
	o.Events = always
	return true
}

// An outcomePair is a class of packets with one leaf on either side.
type outcomePair struct {
	where bdd.Ref
	a, b  symbolic.Leaf
}

// outcomePairs splits a class by the leaves of both sides.
func outcomePairs(s *symbolic.Space, where, f, g bdd.Ref) []outcomePair {
	outside := s.Leaf(symbolic.Leaf{Why: "outside"})
	var pairs []outcomePair
	known := map[[2]symbolic.Leaf]uint32{}
	r := s.Apply(s.NewOp("outcomes", func(f, g bdd.Ref) (bdd.Ref, bool) {
		if f == outside {
			return s.Terminal(0), true
		}
		x, okX := s.Value(f)
		y, okY := s.Value(g)
		if !okX || !okY {
			return 0, false
		}
		key := [2]symbolic.Leaf{s.LeafOf(x), s.LeafOf(y)}
		id, ok := known[key]
		if !ok {
			pairs = append(pairs, outcomePair{a: key[0], b: key[1]})
			id = uint32(len(pairs))
			known[key] = id
		}
		return s.Terminal(id), true
	}), s.ITE(where, f, outside), g)
	for i := range pairs {
		pairs[i].where = s.Where(r, uint32(i+1))
	}
	return pairs
}
