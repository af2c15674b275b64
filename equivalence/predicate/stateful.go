package predicate

// An Instance is a stateful test: a bucket, a list or a counter with
// parameters and a key. Two tests that share a state return the same Identity.
// There is one file per kind of instance (stateful_*.go), each with its kernel
// source.
type Instance interface {
	// Identity names the state; "" means private to the match, so that each
	// place in a ruleset has its own.
	Identity() string
	// Describe says kind, parameters and key in words.
	Describe() string
	// Keys lists the fields that select the entry within the state.
	Keys() []Field
	// Ask consults the state for one packet, and changes it as the kernel does.
	Ask(r Reader, scope string) Truth
}

// A Loader is an instance whose state is shaped when its rule is loaded, before
// any packet. Instances are loaded in the order of the rules.
type Loader interface {
	Instance
	Load(s *States)
}

// A Declarer is a [Reader] that wants to know when an answer follows from a
// limit of the kernel's that a translation may declare not to have. The codes
// are those of docs/deviations.md.
type Declarer interface {
	Declare(code string)
}

func declare(r Reader, code string) {
	if d, ok := r.(Declarer); ok {
		d.Declare(code)
	}
}

// A Doubter is a [Reader] that wants to know when an answer would be another at
// a slightly different time.
type Doubter interface {
	Doubt()
}

func doubt(r Reader) {
	if d, ok := r.(Doubter); ok {
		d.Doubt()
	}
}

// slack is by how much the clock of a machine may differ from that of a kernel
// that runs the same packets, in jiffies.
const slack = HZ / 5

// HZ is the number of jiffies in a second, the granularity of the time that
// rate buckets and lists of recent addresses see. It is CONFIG_HZ of the kernel,
// which distributions set to 250 or 1000.
const HZ = 250

// jiffies converts the virtual clock.
func jiffies(now int64) int64 { return now / (1e9 / HZ) }

// States holds the states of one machine. The zero value is empty and ready.
type States struct{ m map[string]any }

// Get returns the state of an identity, made by fresh when there is none yet.
func Get[T any](s *States, identity string, fresh func() T) T {
	if v, ok := s.m[identity].(T); ok {
		return v
	}
	v := fresh()
	if s.m == nil {
		s.m = make(map[string]any)
	}
	s.m[identity] = v
	return v
}

// Reset forgets everything.
func (s *States) Reset() { s.m = nil }
