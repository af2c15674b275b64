package iptsim

import (
	"fmt"
	"strings"
	"time"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// describeHashlimit puts a table of buckets in the words of the proof. Without a
// key it is one bucket.
func describeHashlimit(h predicate.Hashlimit) symbolic.Instance {
	period, burst := h.Bucket()
	in := symbolic.Instance{
		Kind: "limit", Parameters: fmt.Sprintf("one per %dns burst %d", period, burst), Width: 1, Firm: len(h.Key) == 0,
		Turns: int(burst), Lasts: time.Duration(period), Name: "hashlimit " + h.Table,
	}
	if !divides(period) {
		in.Loose = "limit-resolution"
	}
	if h.Forgets() {
		in.Needs = append(in.Needs, "hashlimit-expiry")
	}
	if len(h.Key) == 0 {
		return in
	}
	in.Needs = append(in.Needs, "hashlimit-table-size")
	in.Key = fmt.Sprintf("%s for %dms", keyOf(h.Key, h.IPv6), h.Expire)
	return in
}

// keyOf puts the fields of a key in words, "" for none.
func keyOf(key []predicate.KeyPart, ipv6 bool) string {
	version := 4
	if ipv6 {
		version = 6
	}
	var words []string
	for _, k := range key {
		words = append(words, keyWords(k, version))
	}
	return strings.Join(words, " ")
}

// divides reports whether a period is that of a whole number of packets in a
// second, minute, hour, day or week.
func divides(period int64) bool {
	for _, seconds := range []int64{1, 60, 3600, 86400, 604800} {
		unit := seconds * int64(time.Second)
		if packets := unit / period; packets > 0 && unit/packets == period {
			return true
		}
	}
	return false
}

// A keySpan is where the variables of a field of a key are.
type keySpan struct {
	group symbolic.Group
	first int
	width int
}

// keySpans are the fields that can be keys, by version of IP.
var keySpans = map[predicate.FieldID]map[int]keySpan{
	predicate.SrcAddr: {4: {symbolic.Source, 96, 32}, 6: {symbolic.Source, 0, 128}},
	predicate.DstAddr: {4: {symbolic.Destination, 96, 32}, 6: {symbolic.Destination, 0, 128}},
	predicate.SrcPort: {4: {symbolic.Transport, 0, 16}, 6: {symbolic.Transport, 0, 16}},
	predicate.DstPort: {4: {symbolic.Transport, 16, 16}, 6: {symbolic.Transport, 16, 16}},
}

// keyWords names the bits of a field under a mask, runs of them by the first and
// the last; masked bits are 0. A field takes whole words of 32 bits.
func keyWords(k predicate.KeyPart, version int) string {
	span := keySpans[k.Field.ID][version]
	var words []string
	for i := 0; i < span.width; {
		kept, n := bitOf(k.Mask, span.width-1-i), 1
		for i+n < span.width && bitOf(k.Mask, span.width-1-i-n) == kept {
			n++
		}
		if kept {
			words = append(words, fmt.Sprintf("%v[%d:%d]", span.group, span.first+i, span.first+i+n))
		} else {
			words = append(words, "0b"+strings.Repeat("0", n))
		}
		i += n
	}
	if rest := span.width % 32; rest != 0 {
		words = append(words, "0b"+strings.Repeat("0", 32-rest))
	}
	return strings.Join(words, " ")
}
