package equivalence

import (
	"bytes"
	"fmt"
	"slices"

	"nftmigrate/packet"
)

// An Aspect is one of the things that are compared.
type Aspect string

// The aspects. docs/semantics.md says what each covers.
const (
	AspectVerdict  Aspect = "verdict"
	AspectData     Aspect = "rewritten packet"
	AspectDevice   Aspect = "outgoing device"
	AspectMark     Aspect = "packet mark"
	AspectConnMark Aspect = "connection mark"
	AspectSecmark  Aspect = "security mark"
	AspectTracking Aspect = "tracking"
	AspectPriority Aspect = "priority"
	AspectEvents   Aspect = "events"
)

// Differ returns the aspects in which two fates differ. Neither is undecided.
// What a dropped packet would have looked like does not matter; what was logged
// or answered on its way, and the marks of its connection, do.
func Differ(a, b packet.Fate) []Aspect {
	var out []Aspect
	note := func(differs bool, aspect Aspect) {
		if differs {
			out = append(out, aspect)
		}
	}
	note(a.Verdict != b.Verdict || a.Verdict == packet.Accept && a.Last != b.Last, AspectVerdict)
	if a.Verdict == packet.Accept && b.Verdict == packet.Accept {
		note(!bytes.Equal(a.Data, b.Data), AspectData)
		note(a.Out != b.Out, AspectDevice)
		note(a.Mark != b.Mark, AspectMark)
		note(a.Priority != b.Priority, AspectPriority)
		note(a.Secmark != b.Secmark, AspectSecmark)
		note(a.Tracked != b.Tracked, AspectTracking)
	}
	note(a.Tracked && b.Tracked && a.ConnMark != b.ConnMark, AspectConnMark)
	note(a.Tracked && b.Tracked && a.ConnSecmark != b.ConnSecmark, AspectSecmark)
	note(!slices.Equal(a.Events, b.Events), AspectEvents)
	return out
}

// Describe says in words what became of a packet.
func Describe(f packet.Fate) string {
	var s string
	switch {
	case f.Verdict == packet.Undecided:
		s = fmt.Sprintf("undecided (%s)", join(f.Unknown))
	case f.Verdict == packet.Drop && f.Hotdrop:
		s = fmt.Sprintf("dropped inside a match at %v", f.Last)
	case f.Verdict == packet.Drop:
		s = fmt.Sprintf("dropped at %v", f.Last)
	case f.Last == packet.Input:
		s = "delivered"
	default:
		s = "sent by " + f.Out
	}
	if f.Verdict == packet.Accept {
		if f.Mark != 0 {
			s += fmt.Sprintf(", mark %#x", f.Mark)
		}
		if f.Secmark != 0 {
			s += fmt.Sprintf(", security mark %#x", f.Secmark)
		}
		if f.Priority != 0 {
			s += fmt.Sprintf(", priority %#x", f.Priority)
		}
	}
	if f.Tracked && f.ConnMark != 0 {
		s += fmt.Sprintf(", connection mark %#x", f.ConnMark)
	}
	if f.Tracked && f.ConnSecmark != 0 {
		s += fmt.Sprintf(", security mark of the connection %#x", f.ConnSecmark)
	}
	for _, e := range f.Events {
		s += ", " + e.String()
	}
	return s
}

func join(words []string) string {
	switch len(words) {
	case 0:
		return "no reason given"
	case 1:
		return words[0]
	}
	return fmt.Sprintf("%s and %d more", words[0], len(words)-1)
}
