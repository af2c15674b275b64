package predicate

import "fmt"

// Quota is "-m quota": it holds as long as the bytes that a rule has seen fit
// into a number; "! --quota" is its negation. The packet that does not fit is
// refused, and so are all behind it, also ones that would fit.
//
// Kernel: net/netfilter/xt_quota.c.
type Quota struct{ Bytes uint64 }

var _ Instance = Quota{}

// Identity is "": each rule counts by itself.
func (Quota) Identity() string { return "" }

// Describe says the number.
func (q Quota) Describe() string { return fmt.Sprintf("quota of %d bytes", q.Bytes) }

// Keys is the length of the packet, which is counted.
func (Quota) Keys() []Field { return []Field{{ID: TotalLength}} }

// Ask counts the packet.
func (q Quota) Ask(r Reader, scope string) Truth {
	length, present := r.Field(Field{ID: TotalLength})
	if present != Yes {
		return present
	}
	left := Get(r.States(), scope, func() *uint64 { n := q.Bytes; return &n })
	if *left < length.Lo {
		*left = 0
		return No
	}
	*left -= length.Lo
	return Yes
}
