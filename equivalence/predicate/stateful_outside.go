package predicate

// Outside is a match that asks what no machine models: the fingerprints that
// user space loaded, an estimator of rates, the transforms of a packet. Its answer
// for a packet is unknown; a proof compares what is asked.
type Outside struct {
	Words string
	Needs []Field // a packet without one of them does not match
}

var _ Content = Outside{}

// Content marks the type.
func (Outside) Content() {}

// Identity is "": what is asked is not ours.
func (Outside) Identity() string { return "" }

// Describe says what is asked.
func (o Outside) Describe() string { return o.Words }

// Keys is what the packet needs.
func (o Outside) Keys() []Field { return o.Needs }

// Ask knows the answer only for packets that lack something.
func (o Outside) Ask(r Reader, _ string) Truth {
	for _, f := range o.Needs {
		if _, there := r.Field(f); there == No {
			return No
		}
	}
	return Unknown
}
