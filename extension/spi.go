package extension

import (
	"encoding/binary"
	"math"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// An allSpan is a span of 32 bits that iptables-save leaves out, negated or not,
// when it holds every number.
type allSpan struct{ iptables.U32Span }

// IsDefault reports whether the span holds every number.
func (s *allSpan) IsDefault() bool { return s.Low == 0 && s.High == math.MaxUint32 }

// addSpan adds the test that a field lies in a span, whose ends may be reversed.
// An option that was not given asks for nothing.
func addSpan(r *translate.Rule, f nftgen.Field, o iptables.Opt[allSpan]) {
	low, high := o.Value.Low, o.Value.High
	switch all := low == 0 && high == math.MaxUint32; {
	case !o.Present:
	case low > high && !o.Negated, all && o.Negated:
		r.Never()
	case low > high, all:
	default:
		r.Add(spanTest(f, binary.BigEndian.AppendUint32(nil, low), binary.BigEndian.AppendUint32(nil, high), o.Negated))
	}
}
