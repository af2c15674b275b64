package translate

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/nftgen"
)

// Protocols of parts of sets.
const (
	noPorts        = -1 // the type has no ports
	otherProtocols = -2 // those without ports, together
	icmpProtocol   = 1
	tcpProtocol    = 6
	udpProtocol    = 17
	icmpv6Protocol = 58
	sctpProtocol   = 132
	udpliteProto   = 136
)

// portProtocols are the protocols that have parts of their own, with the ends of
// their sets' names.
var portProtocols = map[uint8]bool{
	icmpProtocol: true, tcpProtocol: true, udpProtocol: true, icmpv6Protocol: true, sctpProtocol: true, udpliteProto: true,
}

var protocolSuffix = map[int]string{
	icmpProtocol: "_icmp", tcpProtocol: "_tcp", udpProtocol: "_udp", icmpv6Protocol: "_icmpv6", sctpProtocol: "_sctp",
	udpliteProto: "_udplite", otherProtocols: "_proto",
}

// An ipset becomes one set of nftables for each of its parts: what one lookup
// can answer.
type setPart struct {
	partKey
	set      *ipset.Set
	key      []*nftgen.Datatype
	interval bool
	bulk     *nftgen.Bulk
	counted  *nftgen.Set
	plain    *nftgen.Set // without counters
	shares   *setPart    // the part whose set this one uses, or nil
	dynamic  bool        // changed by packets
}

// A partKey tells the parts of an ipset apart.
type partKey struct {
	proto      int
	prefix     string // of the names of devices, "" for whole names
	exceptions bool
	timed      bool
	carry      carry
}

// setParts are the parts of an ipset that have elements, in the order in which
// they are looked into.
type setParts struct {
	set    *ipset.Set
	list   []*setPart
	byKey  map[partKey]*setPart
	last   *setPart // that was asked for
	family uint8
	err    error
	packed []byte
	// changes are what packets do to the set, nil for nothing.
	changes  *changes
	carries  carryKind // what of elements is looked up, nothing for sets
	declared bool      // that each part has a size of its own
}

type setPartsKey struct{ set *ipset.Set }

// setParts divides an ipset, when first asked for.
func (s *Shared) setParts(set *ipset.Set, where diag.Range) (*setParts, error) {
	parts := Value(s, setPartsKey{set}, func() *setParts {
		p := &setParts{set: set, byKey: make(map[partKey]*setPart), family: set.Options.Family, changes: s.changing(set)}
		p.err = p.divide()
		return p
	})
	return parts.at(where)
}

// at returns the parts, or why there are none, for a place.
func (p *setParts) at(where diag.Range) (*setParts, error) {
	if u := AsUntranslatable(p.err); u != nil {
		again := *u
		again.Range = where
		return nil, &again
	}
	return p, p.err
}

// divide puts each element into its part.
func (p *setParts) divide() error {
	if err := p.check(); err != nil {
		return err
	}
	if p.set.Type.Nomatch() {
		return p.divideNets()
	}
	ports := p.set.Type.Bitmap && p.set.Type.Parts[0] == ipset.Port
	if ports {
		return p.dividePorts()
	}
	p.set.Elements(func(_ int, e *ipset.Element) bool {
		part := p.part(p.keyOf(e), false)
		if len(p.list) == 1 && part.bulk.Len() == 0 {
			part.bulk.Grow(p.set.Len()) // most sets have one part
		}
		p.packed = p.pack(p.packed[:0], e, e.Addr[0].AsSlice(), e.Addr[1].AsSlice())
		p.add(part, p.packed, p.packed, e)
		return true
	})
	if p.changes != nil {
		p.open()
	}
	return nil
}

// open makes the parts that packets change, as far as there is none yet.
func (p *setParts) open() {
	var keys []partKey
	for k := range p.changes.parts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b partKey) int { return cmp.Or(cmp.Compare(a.proto, b.proto), compareBool(a.timed, b.timed)) })
	for _, k := range keys {
		p.part(k, false)
	}
	for _, part := range p.list {
		part.dynamic = true
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// check refuses what no set of nftables does.
func (p *setParts) check() error {
	if !p.set.Type.Nomatch() && !p.set.Options.HasTimeout && p.set.Type.Name != "bitmap:ip,mac" {
		return nil // nothing of what is asked for below
	}
	wildcards, exceptions, timed := false, false, false
	waits := ""
	p.set.Elements(func(_ int, e *ipset.Element) bool {
		wildcards, exceptions = wildcards || e.Wildcard, exceptions || e.Nomatch
		timed = timed || p.timed(e)
		if p.set.Type.Name == "bitmap:ip,mac" && !e.HasMAC {
			waits = p.set.ElementText(e)
		}
		return true
	})
	name := p.set.Name
	switch {
	case waits != "":
		return &Untranslatable{
			Summary: fmt.Sprintf("set %q has an element without Ethernet address", name),
			Detail: fmt.Sprintf("The kernel fills in the address of the first packet from %s, and from then on takes that one alone. "+
				"Give the element its address, or use a hash:ip.", waits),
		}
	case timed && p.carries != carriesNothing && p.set.Type.Nomatch():
		return &Untranslatable{
			Summary: fmt.Sprintf("set %q has networks that carry marks or classes, and elements that expire", name),
			Detail:  "Where such networks overlap, which one decides would change when one expires. Take the timeouts out.",
		}
	case timed && exceptions:
		return &Untranslatable{
			Summary: fmt.Sprintf("set %q has exceptions, and elements that expire", name),
			Detail:  "Exceptions are taken out of the networks around them when the set is translated, and so cannot come and go. Take the exceptions out, or the timeouts.",
		}
	case timed && (strings.Count(p.set.Type.Name, "net") > 1 || p.set.Type.Name == "hash:net,iface"):
		return &Untranslatable{
			Summary: fmt.Sprintf("set %q has networks in several dimensions, and elements that expire", name),
			Detail:  "Where such elements overlap, which one decides would change when one expires. Take the timeouts out.",
		}
	case wildcards && exceptions:
		return &Untranslatable{
			Summary: fmt.Sprintf("set %q has exceptions, and elements for devices by the beginning of their names", name),
			Detail:  "Which of two elements of a network decides is then up to the order of the kernel's hash. Write the devices out.",
		}
	}
	return nil
}

// timed reports whether an element expires.
func (p *setParts) timed(e *ipset.Element) bool {
	return e.Extra != nil && p.set.Options.HasTimeout && e.Extra.Timeout != 0
}

// keyOf returns the part of an element that is a member.
func (p *setParts) keyOf(e *ipset.Element) partKey {
	k := partKey{proto: noPorts, timed: p.timed(e), carry: p.carries.carryOf(e.Extra)}
	for _, part := range p.set.Type.Parts {
		if part == ipset.Port {
			k.proto = int(e.Proto)
			if !portProtocols[e.Proto] {
				k.proto = otherProtocols
			}
		}
	}
	if e.Wildcard {
		k.prefix = e.Iface
	}
	return k
}

// part returns a part, which is made when it is not there.
func (p *setParts) part(k partKey, interval bool) *setPart {
	if p.last != nil && p.last.partKey == k {
		return p.last
	}
	if part := p.byKey[k]; part != nil {
		p.last = part
		return part
	}
	part := &setPart{partKey: k, set: p.set, interval: interval, key: p.datatypes(k)}
	part.bulk = nftgen.NewBulk(part.key, interval)
	p.byKey[k] = part
	p.list = append(p.list, part)
	return part
}

// datatypes are the types of the key of a part.
func (p *setParts) datatypes(k partKey) (list []*nftgen.Datatype) {
	family := nftgen.IP
	if p.family == 6 {
		family = nftgen.IP6
	}
	for _, part := range p.set.Type.Parts {
		switch part {
		case ipset.IP, ipset.Net:
			list = append(list, addressField(family, true).Type)
		case ipset.Port:
			for _, f := range portFields(k.proto, true) {
				list = append(list, f.Type)
			}
		case ipset.MAC:
			list = append(list, nftgen.EtherSaddr.Type)
		case ipset.Mark:
			list = append(list, nftgen.MetaMark.Type)
		case ipset.Iface:
			if k.prefix == "" {
				list = append(list, nftgen.MetaIifname.Type)
			}
		}
	}
	return list
}

// pack appends the key of an element, with the given addresses in the place of
// its own.
func (p *setParts) pack(b []byte, e *ipset.Element, addresses ...[]byte) []byte {
	n := 0
	for _, part := range p.set.Type.Parts {
		switch part {
		case ipset.IP, ipset.Net:
			b = append(b, addresses[n]...)
			n++
		case ipset.Port:
			if portProtocols[e.Proto] || e.Proto == 0 {
				b = append(b, byte(e.Port>>8), byte(e.Port))
			} else {
				b = append(b, e.Proto)
			}
		case ipset.MAC:
			b = append(b, e.MAC[:]...)
		case ipset.Mark:
			b = append(b, byte(e.Mark>>24), byte(e.Mark>>16), byte(e.Mark>>8), byte(e.Mark))
		case ipset.Iface:
			if !e.Wildcard {
				var name [16]byte
				copy(name[:], e.Iface)
				b = append(b, name[:]...)
			}
		}
	}
	return b
}

// maxElementComment is how many bytes nft takes in the comment of an element
// (128 with its end).
const maxElementComment = 127

// add appends an element to a part with what it has beside its key.
func (p *setParts) add(part *setPart, low, high []byte, e *ipset.Element) {
	if e.Extra == nil {
		part.bulk.Add(low, high)
		return
	}
	x := nftgen.ElementExtra{Comment: elementComment(e.Extra.Comment)}
	if p.timed(e) {
		x.Timeout = time.Duration(e.Extra.Timeout) * time.Second
	}
	if p.carries == carriesNothing && p.set.Options.Counters {
		x.Packets, x.Bytes = e.Extra.Packets, e.Extra.Bytes
	}
	if part.carry.whole {
		part.bulk.AddValue(low, high, x, binary.BigEndian.AppendUint32(nil, part.carry.valueOf(e.Extra)))
		return
	}
	part.bulk.AddExtra(low, high, x)
}

// elementComment is a comment as far as nft can hold it.
func elementComment(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '"' {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxElementComment {
		s = strings.ToValidUTF8(s[:maxElementComment-3], "") + "..."
	}
	return s
}

// named returns the set of a part, with the counters of the ipset or without.
func (part *setPart) named(s *Shared, uncounted bool) *nftgen.Set {
	if part.shares != nil {
		return part.shares.named(s, uncounted)
	}
	if part.carry.kind != carriesNothing {
		return part.namedCarry(s)
	}
	// A set that packets change cannot be there twice.
	counts := part.set.Options.Counters && (!uncounted || part.dynamic)
	uncounted = uncounted && !part.dynamic
	at := &part.plain
	if counts {
		at = &part.counted
	}
	if *at != nil {
		return *at
	}
	set := &nftgen.Set{Name: part.set.Name, Key: part.key, Interval: part.interval, Bulk: part.bulk, Counter: counts}
	what := part.describe(set)
	if part.set.Options.Counters && uncounted {
		set.Name += "_uncounted"
		set.Bulk = part.bulk.Uncounted()
	}
	set.Note = fmt.Sprintf("ipset %s, %s%s", part.set.Name, part.set.Type.Name, what)
	*at = s.AddSet(set)
	return *at
}

// namedCarry returns the map of a part, or the set of elements that carry the
// same.
func (part *setPart) namedCarry(s *Shared) *nftgen.Set {
	if part.plain != nil {
		return part.plain
	}
	set := &nftgen.Set{Name: part.set.Name, Key: part.key, Interval: part.interval, Bulk: part.bulk}
	if part.carry.whole {
		set.Data = part.carry.kind.field().Type
	}
	what := part.describe(set)
	set.Name += part.carry.suffix()
	set.Note = fmt.Sprintf("ipset %s, %s%s: what elements carry", part.set.Name, part.set.Type.Name, what)
	part.plain = s.AddSet(set)
	return part.plain
}

// describe gives the set of a part the end of its name, and says what it holds.
func (part *setPart) describe(set *nftgen.Set) (what string) {
	if suffix := protocolSuffix[part.proto]; suffix != "" && !part.set.Type.Bitmap {
		set.Name += suffix
		what = ": " + suffix[1:]
	}
	if part.proto == otherProtocols {
		what = ": protocols without ports"
	}
	if part.prefix != "" {
		set.Name += "_" + part.prefix
		what += ": devices " + part.prefix + "*"
	}
	if part.exceptions {
		set.Name += "_nomatch"
		what += ": exceptions"
	}
	if part.timed {
		set.Name += "_timed"
		set.HasTimeout = true
		set.Timeout = time.Duration(part.set.Options.Timeout) * time.Second
		what += ": elements that expire"
	}
	if part.dynamic {
		set.Dynamic, set.Size = true, part.set.Options.MaxElem
		if part.set.Type.Bitmap { // has room for its whole range, also while elements that are gone are not collected
			set.Size = 2 * (part.set.Options.High - part.set.Options.Low + 1)
		}
		what += ", changed by packets"
	}
	return what
}
