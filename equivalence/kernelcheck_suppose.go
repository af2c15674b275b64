package equivalence

import (
	"slices"
	"time"

	"nftmigrate/packet"
)

// Bounds of what is supposed about one packet: how many matches that no machine
// decides, and how many places in the range of a translation.
const (
	maxAnswers = 3
	maxPlaces  = 512
)

// ranges reports whether the kernel chose where in a range the packet lands.
func ranges(f packet.Fate) bool {
	return slices.ContainsFunc(f.Events, func(e packet.Event) bool {
		n, ok := e.(packet.NATEvent)
		return ok && n.Ranges()
	})
}

// places is the number of places in the ranges in which the packet landed.
func places(f packet.Fate) uint32 {
	n := uint32(0)
	for _, e := range f.Events {
		if e, ok := e.(packet.NATEvent); ok && e.Ranges() {
			n = max(n, e.Places(maxPlaces))
		}
	}
	return n
}

// A fit is how well what is supposed fits.
type fit uint8

const (
	unfit   fit = iota
	maybe       // the model is undecided for other reasons
	chance      // a clock or a random number decides
	fitting     // the model does what its kernel did
)

// fit looks for a place in the range of a translation with which the model does
// what its kernel did, given answers of matches that it does not decide.
func (r *kernelRun) fit(w *Walker, p *packet.Packet, kernel packet.Fate, answers []bool) (f packet.Fate, place uint32, found fit) {
	for last := uint32(0); place <= last; place++ {
		f = r.suppose(w, p, kernel, packet.Supposition{Answers: answers, Place: place})
		last = max(last, places(f))
		switch {
		case f.Verdict == packet.Undecided:
			found = maybe
		case len(visible(Differ(seen(kernel), seen(f)), f)) == 0:
			return f, place, fitting
		case f.Unsure:
			found = chance
		}
	}
	return f, 0, found
}

// suppose runs a packet through a model once more. What the model remembers is
// behind its kernel's memory then.
func (r *kernelRun) suppose(w *Walker, p *packet.Packet, kernel packet.Fate, s packet.Supposition) packet.Fate {
	if w == r.walkA {
		r.strayed.source = true
	} else {
		r.strayed.target = true
	}
	if r.forgets {
		r.a.Reset()
		r.b.Reset()
	}
	w.supposed = s
	defer func() { w.supposed = packet.Supposition{} }()
	return w.Run(observed(p, kernel, int64(time.Since(r.start))))
}

// lands reports whether the model does what its kernel did, or is undecided, from
// another place in the range of a translation: rules behind it tell such places
// apart.
func (r *kernelRun) lands(w *Walker, p *packet.Packet, kernel packet.Fate) bool {
	_, _, found := r.fit(w, p, kernel, nil)
	return found != unfit
}

// supposing looks for answers of the matches that neither machine decides, and for
// places in the ranges of translations, with which each model does what its kernel
// did. Then ok is true when the difference of the kernels is one of the places, or
// of what chance or the clock decides, or is explained by the deviation why.
func (r *kernelRun) supposing(p *packet.Packet, inSource, inTarget packet.Fate, aspects []Aspect) (why string, ok bool) {
	for n := 0; n <= maxAnswers; n++ {
		for bits := range 1 << n {
			answers := make([]bool, n)
			for i := range answers {
				answers[i] = bits>>i&1 != 0
			}
			a, place, foundA := r.fit(r.walkA, p, inSource, answers)
			if foundA < chance {
				continue
			}
			b, _, foundB := r.fit(r.walkB, p, inTarget, answers)
			if foundB < chance {
				continue
			}
			if foundA == chance || foundB == chance {
				ok = true
				continue
			}
			if why := r.explained(p, seen(a), seen(b), aspects); why != "" {
				return why, true
			}
			if !ranges(a) || !ranges(b) {
				continue
			}
			// From one place both do the same.
			b = r.suppose(r.walkB, p, inTarget, packet.Supposition{Answers: answers, Place: place})
			if len(visible(Differ(seen(a), seen(b)), a)) == 0 {
				return "", true
			}
		}
	}
	return "", ok
}
