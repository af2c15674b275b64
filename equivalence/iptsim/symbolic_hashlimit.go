package iptsim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// A hashCase is a class of packets whose keys have the ports from the same place.
type hashCase struct {
	portless bool
	key      []predicate.KeyPart // of which ports are 0 in a portless case
}

// hashCases are the classes of a table's packets, by a rule.
func hashCases(h predicate.Hashlimit) []hashCase {
	ports := slices.ContainsFunc(h.Key, func(k predicate.KeyPart) bool { return k.Field.ID == predicate.FlowPort })
	if !ports {
		return []hashCase{{key: h.Key}}
	}
	ported, portless := hashCase{key: h.Key}, hashCase{portless: true, key: slices.Clone(h.Key)}
	for i, k := range portless.key {
		if k.Field.ID == predicate.FlowPort {
			portless.key[i].Mask = predicate.Bits{}
		}
	}
	known := slices.ContainsFunc(flowPortsAt, func(p flowPortPlace) bool { return p.proto == h.Protocol && p.proto != protoAuth })
	switch {
	case known && !h.IPv6:
		return []hashCase{ported}
	case known || h.Protocol == 0:
		return []hashCase{ported, portless}
	}
	return []hashCase{portless}
}

// describeHashlimit puts a table of buckets in the words of the proof. Without a
// key it is one bucket.
func describeHashlimit(h predicate.Hashlimit, of hashCase) symbolic.Instance {
	if h.Window != 0 { // which nothing but the match itself can count
		return symbolic.Instance{Kind: "windows", Parameters: h.WindowWords(), Width: 1}
	}
	in := symbolic.Instance{Kind: "limit", Width: 1, Name: "hashlimit " + h.Table}
	switch {
	case h.Bytes:
		rate, burst := h.ByteBucket()
		in.Parameters = fmt.Sprintf("%d bytes in 1s burst %d bytes", rate, burst)
		in.Needs = append(in.Needs, "hashlimit-bytes")
	default:
		period, burst := h.Bucket()
		in.Parameters, in.Turns, in.Lasts = fmt.Sprintf("one per %dns burst %d", period, burst), int(burst), time.Duration(period)
		if !divides(period) {
			in.Loose = "limit-resolution"
		}
	}
	if h.Forgets() {
		in.Needs = append(in.Needs, "hashlimit-expiry")
	}
	key := keyOf(of.key, h.IPv6)
	if len(hashCases(h)) == 1 && strings.Trim(key, "0b") == "" { // the same for all packets
		in.Firm = true
		return in
	}
	in.Needs = append(in.Needs, "hashlimit-table-size")
	if of.portless && !h.IPv6 && (h.Protocol == 0 || h.Protocol == protoAuth) {
		in.Needs = append(in.Needs, "hashlimit-ah-ports")
	}
	in.Key = fmt.Sprintf("%s for %dms", key, h.Expire)
	return in
}

// A stateCase is a state that a predicate consults for some packets, and the name
// that it has for all rules that share it, "" for one that belongs to its rule.
type stateCase struct {
	instance symbolic.Instance
	shared   string
}

// statesOf are the states that a predicate itself consults, none for one without:
// one of them for each packet.
func statesOf(p predicate.Predicate) []stateCase {
	i, ok := instanceOf(p)
	if !ok {
		return nil
	}
	name := sharedBy(p)
	s, _ := p.(predicate.Stateful)
	h, ok := s.Instance.(predicate.Hashlimit)
	if !ok || h.Window != 0 {
		return []stateCase{{i, name}}
	}
	var list []stateCase
	for _, of := range hashCases(h) {
		in := describeHashlimit(h, of)
		list = append(list, stateCase{in, name + " by " + in.Key})
	}
	return list
}

// askHashlimit is the function that consults a table: by the packet's case.
func (c *compiler) askHashlimit(h predicate.Hashlimit) bdd.Ref {
	f := c.unsure("hashlimit")
	for i := range hashCases(h) {
		slot := c.slots[scoped{c.rule, c.asked}]
		c.asked++
		answer, effect := c.space.Ask(slot)
		asked := c.asksOf(slot, answer[0], effect)
		if i == 0 {
			f = asked
		} else {
			f = c.space.ITE(c.ported(), f, asked)
		}
	}
	return f
}

// keyOf puts the fields of a key in words, "" for none.
func keyOf(key []predicate.KeyPart, ipv6 bool) string {
	version := 4
	if ipv6 {
		version = 6
	}
	var words []string
	for _, k := range key {
		for _, word := range strings.Fields(keyWords(k, version)) {
			// Numbers side by side are one.
			last := len(words) - 1
			if digits, constant := strings.CutPrefix(word, "0b"); constant && last >= 0 && strings.HasPrefix(words[last], "0b") {
				words[last] += digits
				continue
			}
			words = append(words, word)
		}
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
}

// spanOf is where the variables of a field are that is part of a key.
func spanOf(f predicate.Field, version int) keySpan {
	if f.ID == predicate.FlowPort {
		const width = 16
		return keySpan{symbolic.Transport, int(f.Arg) * width, width}
	}
	return keySpans[f.ID][version]
}

// keyWords names the bits of a field under a mask, runs of them by the first and
// the last; masked bits are 0. A field takes whole words of 32 bits.
func keyWords(k predicate.KeyPart, version int) string {
	span := spanOf(k.Field, version)
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
