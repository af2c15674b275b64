package equivalence

import (
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A field is a number that classes are said by, as variables with the most
// significant bit first.
type field struct {
	name   string
	words  string // a format for the values
	place  int    // in a sentence
	levels []bdd.Level
	of     map[bdd.Level]bool
	bits   bool // said by single bits, under a mask
	format func(r span) []string
	// usual, when not nil, reports whether ordinary packets have such values.
	usual func(values []span, not bool) bool
	// rather, when not nil, reports whether the contrary of values says more.
	rather func(values []span) bool
	// minor fields are left out of cubes first, major ones last.
	minor, address bool
}

// A span is a range of values.
type span struct{ low, high *big.Int }

func (f *field) has(l bdd.Level) bool { return f.of[l] }

// rank is the order in which fields are left out of a cube.
func (f *field) rank(addressesLast bool) int {
	switch {
	case f.minor:
		return 0
	case f.address == addressesLast:
		return 2
	}
	return 1
}

// groupFields are fields of one group, in the order of a sentence.
var groupFields = []field{
	{name: "in-interface", words: "in %s"},
	{name: "out-interface", words: "out %s"},
	{name: "protocol", words: "%s"},
	{name: "source", words: "from %s", address: true},
	{name: "source port", words: "from port %s"},
	{name: "destination", words: "to %s", address: true},
	{name: "destination port", words: "to port %s"},
	{name: "tcp flags", words: "tcp flags %s", bits: true},
	{name: "ct state", words: "ct state %s"},
	{name: "ct status", words: "ct status %s", bits: true},
	{name: "ct direction", words: "ct direction %s"},
	{name: "mark", words: "mark %s", bits: true},
	{name: "ct mark", words: "ct mark %s", bits: true},
}

// fieldsOf lists the fields of variables.
func fieldsOf(s *symbolic.Space, levels []bdd.Level) []*field {
	var list []*field
	byName := map[string]*field{}
	for _, l := range levels {
		f := fieldOf(s, l)
		if f == nil {
			continue
		}
		if byName[f.name] == nil {
			f.of = map[bdd.Level]bool{}
			for _, l := range f.levels {
				f.of[l] = true
			}
			byName[f.name] = f
			list = append(list, f)
		}
	}
	return list
}

// fieldOf makes the field of a variable.
func fieldOf(s *symbolic.Space, l bdd.Level) *field {
	g, bit, ok := symbolic.GroupOf(l)
	if !ok {
		return answerField(s, l)
	}
	f := &field{name: g.String(), levels: s.Levels(g), format: numbers, minor: true}
	switch g {
	case symbolic.Source, symbolic.Destination, symbolic.CTOrigSrc, symbolic.CTOrigDst, symbolic.CTReplSrc, symbolic.CTReplDst:
		f.format = addresses(s.Version)
	case symbolic.InName, symbolic.OutName:
		f.format = func(r span) []string { return each(r, func(n uint64) string { return s.DeviceWords(int(n)) }) }
		f.rather = func(values []span) bool {
			return slices.ContainsFunc(values, func(r span) bool {
				return slices.ContainsFunc(f.format(r), func(name string) bool { return name == symbolic.OtherDevice })
			})
		}
	case symbolic.Protocol:
		f.format = func(r span) []string { return named(r, protocolWords) }
	case symbolic.Tracking:
		f.name = "ct state"
		f.format = func(r span) []string { return each(r, stateWords) }
	case symbolic.CTDirection:
		f.format = func(r span) []string {
			return each(r, func(n uint64) string { return [...]string{"original", "reply"}[n&1] })
		}
	case symbolic.TransportBytes:
		f.usual = func(values []span, not bool) bool {
			const whole = 20
			return !not && len(values) == 1 && values[0].low.Cmp(big.NewInt(whole)) <= 0 && values[0].high.Cmp(big.NewInt(whole)) > 0
		}
	case symbolic.Fragment, symbolic.MoreFragments, symbolic.BehindAuth:
		f.usual = only(0)
	case symbolic.TransportFound:
		f.usual = only(1)
	case symbolic.Transport:
		transportField(f, s, bit/8)
	case symbolic.Link:
		if at := bit / 8; at >= 6 && at < 12 {
			source, _ := s.Bytes(symbolic.Link, 6, 6)
			f.name, f.levels = "source MAC", variables(s, source)
			f.format = macs
		} else {
			f.bits = true
		}
	case symbolic.Mark, symbolic.CTMark, symbolic.CTStatus, symbolic.CTLabels, symbolic.TOS, symbolic.TCPOption, symbolic.NetworkRest, symbolic.Auth:
		f.bits = true
	}
	f.words = f.name + " %s"
	f.place = len(groupFields) + int(l)
	for i := range groupFields {
		if known := &groupFields[i]; known.name == f.name {
			f.words, f.place, f.minor = known.words, i, false
			f.bits, f.address = f.bits || known.bits, known.address
		}
	}
	return f
}

// transportField is the field of a byte of the transport header.
func transportField(f *field, s *symbolic.Space, at int) {
	bytes := func(offset, n int) []bdd.Level {
		w, _ := s.Bytes(symbolic.Transport, offset, n)
		return variables(s, w)
	}
	const flags = 13
	switch at {
	case 0, 1:
		f.name, f.levels = "source port", bytes(0, 2)
	case 2, 3:
		f.name, f.levels = "destination port", bytes(2, 2)
	case flags:
		f.name, f.levels = "tcp flags", bytes(flags, 1)
	default:
		f.name, f.levels, f.bits = fmt.Sprintf("byte %d of the transport header", at), bytes(at, 1), true
	}
}

// answerField is the answer that a state gives to a packet.
func answerField(s *symbolic.Space, l bdd.Level) *field {
	slot, ok := s.SlotOf(l)
	if !ok {
		return nil
	}
	in := s.InstanceOf(slot)
	name := durations(strings.TrimSpace(in.Kind + " " + in.Parameters))
	width := max(in.Width, 1)
	first := s.FirstAnswer(slot)
	turn := (l - first) / bdd.Level(width)
	f := &field{name: fmt.Sprintf("%s, %s, answer %d", name, in.Place, turn+1), minor: true, place: 1 << 20, format: numbers}
	for bit := range width {
		f.levels = append(f.levels, first+turn*bdd.Level(width)+bdd.Level(bit))
	}
	f.words = name + " says %s"
	if width == 1 {
		f.format = func(r span) []string {
			return each(r, func(n uint64) string { return [...]string{"no", "yes"}[n&1] })
		}
	}
	return f
}

func variables(s *symbolic.Space, w symbolic.Word) []bdd.Level {
	list := make([]bdd.Level, len(w))
	for i, f := range w {
		list[i] = s.Level(f)
	}
	return list
}

// only is usual for one value.
func only(n int64) func([]span, bool) bool {
	return func(values []span, not bool) bool {
		return !not && len(values) == 1 && values[0].low.Cmp(big.NewInt(n)) == 0 && values[0].high.Cmp(big.NewInt(n)) == 0
	}
}

// maxRanges is how many ranges of one field are ever listed.
const maxRanges = 64

// ranges lists the values of a field for which a function of it holds; ok is
// false when there are more than most.
func (f *field) ranges(s *symbolic.Space, where bdd.Ref, most int) (list []span, ok bool) {
	order := f.levels
	ok = true
	var walk func(g bdd.Ref, bit int, low *big.Int)
	walk = func(g bdd.Ref, bit int, low *big.Int) {
		switch {
		case g == bdd.False || !ok:
			return
		case g == bdd.True:
			size := new(big.Int).Lsh(big.NewInt(1), uint(len(order)-bit))
			high := new(big.Int).Add(low, size)
			high.Sub(high, big.NewInt(1))
			if n := len(list); n > 0 && new(big.Int).Add(list[n-1].high, big.NewInt(1)).Cmp(low) == 0 {
				list[n-1].high = high
				return
			}
			if len(list) == most {
				ok = false
				return
			}
			list = append(list, span{low, high})
			return
		}
		zero, one := g, g
		if s.Level(g) == order[bit] {
			zero, one = s.Low(g), s.High(g)
		}
		walk(zero, bit+1, low)
		walk(one, bit+1, new(big.Int).SetBit(low, len(order)-1-bit, 1))
	}
	walk(where, 0, new(big.Int))
	return list, ok
}

// around is the largest range of good values around one of a path's.
func (f *field) around(s *symbolic.Space, good, own bdd.Ref) bdd.Ref {
	path, ok := s.Pick(own, nil)
	if !ok {
		return own
	}
	value := new(big.Int)
	for i, l := range f.levels {
		if path[l] {
			value.SetBit(value, len(f.levels)-1-i, 1)
		}
	}
	w := make(symbolic.Word, len(f.levels))
	for i, l := range f.levels {
		w[i] = s.Var(l)
	}
	// Grow by powers of two as long as all is good.
	low, high := new(big.Int).Set(value), new(big.Int).Set(value)
	last := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(len(w))), big.NewInt(1))
	for bit := len(w) - 1; bit >= 0; bit-- {
		step := new(big.Int).Lsh(big.NewInt(1), uint(bit))
		if next := new(big.Int).Sub(low, step); next.Sign() >= 0 && s.Diff(between(s, w, next, high), good) == bdd.False {
			low = next
		}
		if next := new(big.Int).Add(high, step); next.Cmp(last) <= 0 && s.Diff(between(s, w, low, next), good) == bdd.False {
			high = next
		}
	}
	return between(s, w, low, high)
}

// masked says the bits of a cube.
func (f *field) masked(s *symbolic.Space, cube bdd.Ref) string {
	path, _ := s.Pick(cube, nil)
	value, mask := new(big.Int), new(big.Int)
	for i, l := range f.levels {
		if v, ok := path[l]; ok {
			mask.SetBit(mask, len(f.levels)-1-i, 1)
			if v {
				value.SetBit(value, len(f.levels)-1-i, 1)
			}
		}
	}
	if f.name == "tcp flags" {
		return flagWords(value.Uint64(), mask.Uint64())
	}
	if full := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(len(f.levels))), big.NewInt(1)); mask.Cmp(full) == 0 {
		return fmt.Sprintf("%#x", value)
	}
	return fmt.Sprintf("%#x/%#x", value, mask)
}

var flagNames = [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"}

func flagWords(value, mask uint64) string {
	var words []string
	for bit, name := range flagNames {
		switch {
		case mask>>bit&1 == 0:
		case value>>bit&1 == 1:
			words = append(words, name)
		default:
			words = append(words, "no "+name)
		}
	}
	return strings.Join(words, " and ")
}

func numbers(r span) []string {
	if r.low.Cmp(r.high) == 0 {
		return []string{r.low.String()}
	}
	return []string{r.low.String() + "-" + r.high.String()}
}

// each names each value of a range.
func each(r span, name func(n uint64) string) []string {
	var list []string
	for n := r.low.Uint64(); n <= r.high.Uint64() && len(list) < maxRanges; n++ {
		list = append(list, name(n))
	}
	return list
}

// named names the values of a range that is short, else its ends.
func named(r span, names map[uint64]string) []string {
	const short = 2
	if new(big.Int).Sub(r.high, r.low).Cmp(big.NewInt(short)) > 0 {
		return []string{"protocols " + numbers(r)[0]}
	}
	return each(r, func(n uint64) string {
		if name := names[n]; name != "" {
			return name
		}
		return fmt.Sprint("protocol ", n)
	})
}

var protocolWords = map[uint64]string{
	packet.ICMP: "icmp", packet.TCP: "tcp", packet.UDP: "udp", packet.ESP: "esp", packet.AH: "ah", packet.ICMPv6: "icmpv6",
	packet.SCTP: "sctp", packet.UDPLite: "udplite", packet.DCCP: "dccp",
}

func stateWords(n uint64) string {
	if n == 0 {
		return "not looked for yet"
	}
	return packet.State(n).String()
}

func macs(r span) []string {
	text := func(n *big.Int) string { return net.HardwareAddr(n.FillBytes(make([]byte, 6))).String() }
	if r.low.Cmp(r.high) == 0 {
		return []string{text(r.low)}
	}
	return []string{text(r.low) + "-" + text(r.high)}
}

// addresses says a range of addresses, as a network when it is one.
func addresses(version int) func(r span) []string {
	size := 4
	if version == 6 {
		size = 16
	}
	return func(r span) []string {
		low, _ := netip.AddrFromSlice(r.low.FillBytes(make([]byte, size)))
		high, _ := netip.AddrFromSlice(r.high.FillBytes(make([]byte, size)))
		if low == high {
			return []string{low.String()}
		}
		for bits := range 8 * size {
			p := netip.PrefixFrom(low, bits)
			host := new(big.Int).Lsh(big.NewInt(1), uint(8*size-bits))
			if p.Masked().Addr() == low && new(big.Int).Add(r.low, host).Cmp(new(big.Int).Add(r.high, big.NewInt(1))) == 0 {
				return []string{p.String()}
			}
		}
		return []string{low.String() + "-" + high.String()}
	}
}

// adapt says what a condition means for a protocol: the first bytes of ICMP are no
// ports.
func (t *Condition) adapt(proto uint8, all []Condition) {
	icmp := proto == packet.ICMP || proto == packet.ICMPv6
	switch t.Field {
	case "source port":
		if icmp {
			t.Field, t.words = "icmp type and code", "type and code %s"
			t.icmp()
		}
	case "destination port":
		if icmp {
			t.Field, t.words = "icmp checksum", "checksum %s"
		}
	case "fragment offset":
		// What has ports, flags or a type is no later fragment.
		t.Usual = t.Usual && slices.ContainsFunc(all, func(o Condition) bool {
			return strings.Contains(o.Field, "port") || o.Field == "tcp flags" || strings.HasPrefix(o.Field, "icmp")
		})
	}
}

// icmp says type and code of what was taken for ports.
func (t *Condition) icmp() {
	for i, v := range t.Values {
		var low, high int
		if n, _ := fmt.Sscanf(v, "%d-%d", &low, &high); n < 2 {
			high = low
		}
		const codes = 256
		switch {
		case low%codes == 0 && high == low+codes-1:
			t.Values[i] = fmt.Sprintf("type %d", low/codes)
		case low == high:
			t.Values[i] = fmt.Sprintf("type %d code %d", low/codes, low%codes)
		default:
			t.Values[i] = fmt.Sprintf("type %d code %d to type %d code %d", low/codes, low%codes, high/codes, high%codes)
		}
	}
	t.words = "%s"
}
