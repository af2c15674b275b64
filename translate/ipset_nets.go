package translate

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"nftmigrate/ipset"
)

// A netItem is an element with networks: its first network as a span, and the
// bytes of all else that it is looked up by.
type netItem struct {
	rest      [20]byte
	low, high [16]byte
	element   int32
	bits      uint8
	nomatch   bool
}

// spanMax is how many spans an ipset may become; those of networks in two
// dimensions multiply.
const spanMax = 1 << 22

// divideNets makes spans of networks. Of several that hold an address the kernel
// takes the most specific one, so each is cut to what the more specific ones
// leave of it.
//
// Kernel: net/netfilter/ipset/ip_set_hash_gen.h, mtype_test_cidrs.
func (p *setParts) divideNets() error {
	b := &netDivider{setParts: p, width: 4}
	if p.family == 6 {
		b.width = 16
	}
	nets := 0
	for _, part := range p.set.Type.Parts {
		if part == ipset.Net {
			nets++
		}
	}
	b.items = make([]netItem, 0, p.set.Len())
	b.elements = make([]ipset.Element, 0)
	keep := nets == 2 || p.set.Options.Counters || p.set.Options.Comment || p.set.Options.HasTimeout || p.carries != carriesNothing
	p.set.Elements(func(i int, e *ipset.Element) bool {
		if e.Physdev {
			return true // no rule looks for the ports of bridges
		}
		item := netItem{element: -1, bits: e.Bits[0], nomatch: e.Nomatch}
		at := 0
		if !(p.set.Type.Parts[0] == ipset.IP) { // the network comes first
			b.span(&item, e, 0)
		} else {
			at = copy(item.rest[:], e.Addr[0].AsSlice())
			b.span(&item, e, 1)
			item.bits = e.Bits[1]
		}
		item.rest[at], item.rest[at+1], item.rest[at+2] = e.Proto, byte(e.Port>>8), byte(e.Port)
		if p.set.Type.Name == "hash:net,iface" {
			b.device(&item, e)
		}
		if keep {
			item.element = int32(len(b.elements))
			b.elements = append(b.elements, *e)
		}
		b.items = append(b.items, item)
		return true
	})
	slices.SortFunc(b.items, func(x, y netItem) int {
		if c := bytes.Compare(x.rest[:], y.rest[:]); c != 0 && !b.devices {
			return c
		}
		return cmp.Or(bytes.Compare(x.low[:], y.low[:]), cmp.Compare(x.bits, y.bits), bytes.Compare(x.rest[:], y.rest[:]))
	})
	for start := 0; start < len(b.items); {
		end := start + 1
		for end < len(b.items) && (b.devices || b.items[end].rest == b.items[start].rest) {
			end++
		}
		group := b.items[start:end]
		switch {
		case b.devices:
			b.sweepDevices(group)
		case nets == 2:
			b.sweepPairs(group)
		default:
			b.sweep(group)
		}
		start = end
	}
	if b.spans > spanMax {
		return &Untranslatable{
			Summary: fmt.Sprintf("set %q would become more than %d ranges", p.set.Name, spanMax),
			Detail:  "Its networks overlap in both dimensions, and each overlap is a range of its own. Split the set.",
		}
	}
	return nil
}

// A netDivider divides the networks of one ipset.
type netDivider struct {
	*setParts
	width    int // bytes of an address
	devices  bool
	items    []netItem
	elements []ipset.Element // of items, where more than the key is needed
	spans    int
	scratch  [2][]byte
}

// span notes the n-th address of an element as a span.
func (b *netDivider) span(item *netItem, e *ipset.Element, n int) {
	copy(item.low[:], e.Addr[n].AsSlice())
	item.high = item.low
	for bit := int(e.Bits[n]); bit < 8*b.width; bit++ {
		item.high[bit/8] |= 0x80 >> (bit % 8)
	}
}

// device notes the device of an element.
func (b *netDivider) device(item *netItem, e *ipset.Element) {
	b.devices = true
	item.rest = [20]byte{}
	copy(item.rest[:16], e.Iface)
	if e.Wildcard {
		item.rest[16] = 1
	}
}

// of returns the element of an item, or what is needed of it.
func (b *netDivider) of(item *netItem) *ipset.Element {
	if item.element >= 0 {
		return &b.elements[item.element]
	}
	e := &ipset.Element{Nomatch: item.nomatch}
	at := 0
	if b.set.Type.Parts[0] == ipset.IP {
		at = b.width
	}
	if b.devices {
		e.Iface, e.Wildcard = string(bytes.TrimRight(item.rest[:16], "\x00")), item.rest[16] == 1
	} else {
		e.Proto, e.Port = item.rest[at], uint16(item.rest[at+1])<<8|uint16(item.rest[at+2])
	}
	return e
}

// emit appends a span of the first network with an element that decides there.
func (b *netDivider) emit(item *netItem, low, high [16]byte) {
	e := b.of(item)
	k := b.keyOf(e)
	k.exceptions = item.nomatch
	part := b.part(k, true)
	b.spans++
	lo, hi := low[:b.width], high[:b.width]
	if b.set.Type.Parts[0] == ipset.IP {
		b.scratch[0] = b.pack(b.scratch[0][:0], e, item.rest[:b.width], lo)
		b.scratch[1] = b.pack(b.scratch[1][:0], e, item.rest[:b.width], hi)
	} else {
		b.scratch[0] = b.pack(b.scratch[0][:0], e, lo)
		b.scratch[1] = b.pack(b.scratch[1][:0], e, hi)
	}
	if e.Extra == nil && len(part.key) == 1 && part.bulk.Extend(b.scratch[0], b.scratch[1]) {
		return
	}
	b.add(part, b.scratch[0], b.scratch[1], e)
}

// A cut is a network that holds those that come next.
type cut struct {
	item *netItem
	high [16]byte
}

// sweep cuts networks that are alike otherwise, sorted by their first address and
// then the larger first.
func (b *netDivider) sweep(items []netItem) {
	b.walk(items, func(top *netItem, low, high [16]byte) { b.emit(top, low, high) })
}

// walk calls each for each span between the ends of networks with the item that
// decides in it: the most specific one, or where elements expire the one that
// lasts longest.
func (b *netDivider) walk(items []netItem, each func(top *netItem, low, high [16]byte)) {
	var stack []cut
	var at [16]byte // where the span of the top of the stack begins
	leave := func() (ended bool) {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if bytes.Compare(at[:], top.high[:]) <= 0 {
			each(top.item, at, top.high)
		}
		at = top.high
		return b.next(&at)
	}
	for i := range items {
		item := &items[i]
		for len(stack) > 0 && bytes.Compare(stack[len(stack)-1].high[:], item.low[:]) < 0 {
			leave()
		}
		if len(stack) > 0 {
			top := stack[len(stack)-1]
			if bytes.Compare(at[:], item.low[:]) < 0 {
				before := item.low
				b.previous(&before)
				each(top.item, at, before)
			}
		}
		at = item.low
		decides := item
		if len(stack) > 0 {
			decides = b.longer(item, stack[len(stack)-1].item)
		}
		stack = append(stack, cut{decides, item.high})
	}
	for len(stack) > 0 {
		if leave() {
			return // the greatest address
		}
	}
}

// longer returns the inner of two items, or where elements expire the one that
// lasts longer.
func (b *netDivider) longer(inner, outer *netItem) *netItem {
	if !b.set.Options.HasTimeout || inner.element < 0 {
		return inner
	}
	x, y := b.elements[inner.element].Extra.Timeout, b.elements[outer.element].Extra.Timeout
	if inner.nomatch || outer.nomatch || x == 0 || y != 0 && y <= x {
		return inner
	}
	return outer
}

// next adds one to an address; it reports whether that went beyond the greatest.
func (b *netDivider) next(a *[16]byte) bool {
	for i := b.width - 1; i >= 0; i-- {
		if a[i]++; a[i] != 0 {
			return false
		}
	}
	return true
}

func (b *netDivider) previous(a *[16]byte) {
	for i := b.width - 1; i >= 0; i-- {
		if a[i]--; a[i] != 0xff {
			return
		}
	}
}

// sweepDevices cuts networks with devices. Only the most specific network of
// which there is any element is looked at, whatever its devices.
//
// Kernel: net/netfilter/ipset/ip_set_hash_netiface.c, hash_netiface4_data_equal,
// and the count "multi" of mtype_test_cidrs.
func (b *netDivider) sweepDevices(items []netItem) {
	var nets []netItem
	var ends []int
	for i := range items {
		if last := len(nets) - 1; last >= 0 && nets[last].low == items[i].low && nets[last].bits == items[i].bits {
			ends[last] = i + 1
			continue
		}
		net := items[i]
		net.element = int32(len(nets)) // a number of its own, to find the elements by
		nets, ends = append(nets, net), append(ends, i+1)
	}
	b.walk(nets, func(top *netItem, low, high [16]byte) {
		n := int(top.element)
		start := 0
		if n > 0 {
			start = ends[n-1]
		}
		for i := start; i < ends[n]; i++ {
			b.emit(&items[i], low, high)
		}
	})
}

// sweepPairs cuts pairs of networks. The kernel tries the lengths of the first
// one in an outer loop, and those of the second one in an inner loop; the first
// element that it finds decides.
func (b *netDivider) sweepPairs(items []netItem) {
	// Each distinct first network has a list of what is said of second ones: its
	// own, and where that says nothing what the networks around it say.
	type outer struct {
		item netItem
		says []secondSpan
	}
	var stack []outer
	var at [16]byte
	emit := func(says []secondSpan, low, high [16]byte) {
		for _, s := range says {
			b.emitPair(s, low, high)
		}
	}
	leave := func() bool {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if bytes.Compare(at[:], top.item.high[:]) <= 0 {
			emit(top.says, at, top.item.high)
		}
		at = top.item.high
		return b.next(&at)
	}
	for i := 0; i < len(items) && b.spans <= spanMax; {
		first := items[i]
		end := i + 1
		for end < len(items) && items[end].low == first.low && items[end].bits == first.bits {
			end++
		}
		for len(stack) > 0 && bytes.Compare(stack[len(stack)-1].item.high[:], first.low[:]) < 0 {
			leave()
		}
		if len(stack) > 0 && bytes.Compare(at[:], first.low[:]) < 0 {
			before := first.low
			b.previous(&before)
			emit(stack[len(stack)-1].says, at, before)
		}
		at = first.low
		says := b.seconds(items[i:end])
		if len(stack) > 0 {
			says = b.under(says, stack[len(stack)-1].says)
		}
		stack = append(stack, outer{first, says})
		i = end
	}
	for len(stack) > 0 && b.spans <= spanMax {
		if leave() {
			return
		}
	}
}

// A secondSpan is a span of second networks with the element that decides there.
type secondSpan struct {
	item      *netItem
	low, high [16]byte
}

// seconds returns the spans of the second networks of some items, sorted.
func (b *netDivider) seconds(items []netItem) (list []secondSpan) {
	second := make([]netItem, len(items))
	for i := range items {
		second[i] = items[i]
		e := &b.elements[items[i].element]
		second[i].bits = e.Bits[1]
		b.span(&second[i], e, 1)
	}
	slices.SortFunc(second, func(x, y netItem) int {
		return cmp.Or(bytes.Compare(x.low[:], y.low[:]), cmp.Compare(x.bits, y.bits))
	})
	b.walk(second, func(top *netItem, low, high [16]byte) { list = append(list, secondSpan{top, low, high}) })
	return list
}

// under returns the spans of upper, and those of lower where upper has none.
func (b *netDivider) under(upper, lower []secondSpan) (list []secondSpan) {
	for _, l := range lower {
		at, over := l.low, false
		for _, u := range upper {
			if bytes.Compare(u.high[:], at[:]) < 0 || bytes.Compare(u.low[:], l.high[:]) > 0 {
				continue
			}
			if bytes.Compare(at[:], u.low[:]) < 0 {
				before := u.low
				b.previous(&before)
				list = append(list, secondSpan{l.item, at, before})
			}
			at = u.high
			if over = b.next(&at); over {
				break
			}
		}
		if !over && bytes.Compare(at[:], l.high[:]) <= 0 {
			list = append(list, secondSpan{l.item, at, l.high})
		}
	}
	list = append(list, upper...)
	slices.SortFunc(list, func(x, y secondSpan) int { return bytes.Compare(x.low[:], y.low[:]) })
	return list
}

// emitPair appends a pair of spans.
func (b *netDivider) emitPair(s secondSpan, low, high [16]byte) {
	e := &b.elements[s.item.element]
	k := b.keyOf(e)
	k.exceptions = e.Nomatch
	part := b.part(k, true)
	b.spans++
	b.scratch[0] = b.pack(b.scratch[0][:0], e, low[:b.width], s.low[:b.width])
	b.scratch[1] = b.pack(b.scratch[1][:0], e, high[:b.width], s.high[:b.width])
	b.add(part, b.scratch[0], b.scratch[1], e)
}

// dividePorts makes spans of the ports of a bitmap, of which UDP and TCP share
// one set.
func (p *setParts) dividePorts() error {
	type port struct {
		n uint16
		e ipset.Element
	}
	var ports []port
	p.set.Elements(func(_ int, e *ipset.Element) bool {
		ports = append(ports, port{e.Port, *e})
		return true
	})
	slices.SortFunc(ports, func(x, y port) int { return cmp.Compare(x.n, y.n) })
	for i := range ports {
		e := &ports[i].e
		k := partKey{proto: tcpProtocol, timed: p.timed(e), carry: p.carries.carryOf(e.Extra)}
		part := p.byKey[k]
		if part == nil {
			part = p.part(k, true)
			udp := *part
			udp.proto, udp.shares = udpProtocol, part
			p.list = append(p.list, &udp)
		}
		key := []byte{byte(e.Port >> 8), byte(e.Port)}
		if e.Extra == nil && part.bulk.Extend(key, key) {
			continue
		}
		p.add(part, key, key, e)
	}
	return nil
}
