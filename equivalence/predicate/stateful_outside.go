package predicate

// Outside is a match that asks what no machine models: the fingerprints that
// user space loaded, an estimator of rates, the transforms of a packet. Its answer
// for a packet is unknown; a proof compares what is asked.
type Outside struct{ Words string }

var _ Content = Outside{}

// Content marks the type.
func (Outside) Content() {}

// Identity is "": what is asked is not ours.
func (Outside) Identity() string { return "" }

// Describe says what is asked.
func (o Outside) Describe() string { return o.Words }

// Keys is none.
func (Outside) Keys() []Field { return nil }

// Ask does not know.
func (Outside) Ask(Reader, string) Truth { return Unknown }
