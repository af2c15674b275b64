package equivalence

import (
	"fmt"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// audited is a machine whose stages are held against their functions: for each
// packet the function predicts what the stage will do.
type audited struct {
	Machine
	space     *symbolic.Space
	functions []auditedStage
	report    func(mismatch string)
}

type auditedStage struct {
	name     string
	hook     packet.Hook
	priority int32
	f        bdd.Ref
}

// Stages returns the machine's stages, each with a look before and behind.
func (a *audited) Stages() []packet.Stage {
	stages := slices.Clone(a.Machine.Stages())
	for i := range stages {
		st := &stages[i]
		at := slices.IndexFunc(a.functions, func(q auditedStage) bool {
			return q.name == st.Name && q.hook == st.Hook && q.priority == st.Priority
		})
		if at < 0 || st.Version != 0 && st.Version != a.space.Version {
			continue
		}
		run, f := st.Run, a.functions[at].f
		st.Run = func(flight *packet.Flight) packet.Verdict {
			if len(flight.Data) == 0 || int(flight.Data[0]>>4) != a.space.Version {
				return run(flight)
			}
			expected, all := a.predict(f, flight)
			events := len(flight.Events)
			verdict := run(flight)
			if all {
				a.compare(st.Name, expected, verdict, flight, events)
			}
			return verdict
		}
	}
	return stages
}

// A prediction is what a function says of a packet: the marks that a leaf leaves,
// with the bits of them that are told.
type prediction struct {
	leaf                   symbolic.Leaf
	mark, connMark, skbPri toldWord
}

// A toldWord is a number of which only some bits are told.
type toldWord struct{ value, told uint32 }

func (w toldWord) is(n uint32) bool { return (w.value^n)&w.told == 0 }

// mostLooks is up to how many nodes of a function are looked at for a packet.
const mostLooks = 100_000

// predict lists what a function says of a packet, whatever the states answer and
// what else nobody knows of it. A leaf is there once. all is false when there is too
// much to look at.
func (a *audited) predict(f bdd.Ref, flight *packet.Flight) (list []prediction, all bool) {
	s := a.space
	value := s.Bind(flight)
	seen := map[bdd.Ref]bool{}
	open := []bdd.Ref{f}
	for len(open) > 0 && len(seen) < mostLooks {
		f, open = open[len(open)-1], open[:len(open)-1]
		for !seen[f] {
			seen[f] = true
			if v, ok := s.Value(f); ok {
				list = append(list, a.prediction(s.LeafOf(v), value))
				break
			}
			l := s.Level(f)
			switch {
			case !s.Knows(l):
				open = append(open, s.High(f))
				f = s.Low(f)
			case value(l):
				f = s.High(f)
			default:
				f = s.Low(f)
			}
		}
	}
	return list, len(open) == 0
}

func (a *audited) prediction(leaf symbolic.Leaf, value func(bdd.Level) bool) prediction {
	p := prediction{leaf: leaf}
	for _, part := range []struct {
		group symbolic.Group
		to    *toldWord
	}{{symbolic.Mark, &p.mark}, {symbolic.CTMark, &p.connMark}, {symbolic.Priority, &p.skbPri}} {
		for _, l := range a.space.Levels(part.group) {
			bit, told := value(l), true
			if c, ok := a.space.Written(leaf.Effect, l); ok {
				if from, complement, isOld := c.Variable(); isOld {
					bit, told = value(from) != complement, a.space.Knows(from)
				} else {
					bit = c == symbolic.One
				}
			}
			part.to.value, part.to.told = part.to.value<<1, part.to.told<<1
			if bit {
				part.to.value |= 1
			}
			if told {
				part.to.told |= 1
			}
		}
	}
	return p
}

// compare reports a stage that did what its function does not allow.
func (a *audited) compare(stage string, expected []prediction, verdict packet.Verdict, flight *packet.Flight, events int) {
	var why string
	for _, p := range expected {
		if why = a.mismatch(p, verdict, flight, events); why == "" {
			return
		}
	}
	a.report(fmt.Sprintf("%s: %s: %v", stage, why, flight.Packet))
}

var verdictsOf = map[symbolic.Verdict]packet.Verdict{
	symbolic.Accept: packet.Accept, symbolic.Drop: packet.Drop, symbolic.Undecided: packet.Undecided,
}

func (a *audited) mismatch(p prediction, verdict packet.Verdict, flight *packet.Flight, events int) string {
	if p.leaf.Verdict == symbolic.Undecided {
		return "" // what is not modelled for the proof, the machine may know
	}
	if verdict == packet.Undecided && flight.Unanswered {
		return "" // the proof takes either answer, the machine none
	}
	if verdictsOf[p.leaf.Verdict] != verdict {
		return fmt.Sprintf("the proof says %v, the machine %v", p.leaf.Verdict, verdict)
	}
	var said, done []string
	for _, t := range a.space.Events(p.leaf.Effect) {
		switch t.Kind {
		case "log", "reject", "notrack", "trace", "queue", "external", "zone", "helper", "event mask", "label", "audit", "dup", "synproxy", "offer":
			if t.Kind == "zone" {
				t.Text = "of " + t.Text // the number can depend on the packet
			}
			said = append(said, t.Kind+" "+t.Text)
		}
	}
	for _, e := range flight.Events[events:] {
		switch e := e.(type) {
		case packet.LogEvent:
			done = append(done, "log "+e.String())
		case packet.RejectEvent:
			done = append(done, "reject "+e.String())
		case packet.NotrackEvent:
			done = append(done, "notrack ")
		case packet.TraceEvent:
			done = append(done, "trace ")
		case packet.SynProxyEvent:
			done = append(done, "synproxy "+e.String())
		case packet.OfferEvent:
			done = append(done, "offer "+e.String())
		case packet.AuditEvent:
			done = append(done, "audit ")
		case packet.DupEvent:
			done = append(done, "dup ")
		case packet.ZoneEvent:
			done = append(done, "zone of "+e.Of.String())
		case packet.HelperEvent:
			done = append(done, "helper "+e.String())
		case packet.LabelEvent:
			done = append(done, "label "+e.Context)
		case packet.EventMaskEvent:
			done = append(done, "event mask "+e.String())
		case packet.QueueEvent:
			done = append(done, "queue "+e.String())
		case packet.ExternalEvent:
			done = append(done, "external "+e.What)
		}
	}
	if !slices.Equal(said, done) {
		return fmt.Sprintf("the proof says %v, the machine %v", said, done)
	}
	if verdict != packet.Accept {
		return ""
	}
	connMark := uint32(0)
	if flight.Tracking.Entry != nil {
		connMark = flight.Tracking.Entry.Mark
	} else {
		p.connMark = toldWord{told: ^uint32(0)}
	}
	if !p.mark.is(flight.Mark) || !p.connMark.is(connMark) || !p.skbPri.is(flight.Priority) {
		return fmt.Sprintf("the proof says mark %#x, connection mark %#x, priority %#x; the machine %#x, %#x, %#x",
			p.mark.value, p.connMark.value, p.skbPri.value, flight.Mark, connMark, flight.Priority)
	}
	return ""
}
