package nftgen

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A Bulk is the elements of a set that has many: their keys stand packed in one
// slice, so that a million of them take no more than their bytes.
type Bulk struct {
	key      []*Datatype
	interval bool
	width    int // bytes of a key
	data     []byte
	extra    []ElementExtra // of each element, or nil
	to       []VerdictStmt  // of each element of a map
	values   []byte         // of each element of a map to values, side by side
}

// An ElementExtra is what an element has beside its key.
type ElementExtra struct {
	Timeout        time.Duration // 0 is the default of the set
	Packets, Bytes uint64        // of a set with Counter
	Comment        string
}

// NewBulk makes an empty bulk of keys of some types. Of intervals, each element
// is one per field.
func NewBulk(key []*Datatype, interval bool) *Bulk {
	b := &Bulk{key: key, interval: interval}
	for _, t := range key {
		b.width += t.Bytes
	}
	return b
}

// Len is the number of elements.
func (b *Bulk) Len() int {
	switch {
	case b == nil:
		return 0
	case b.interval:
		return len(b.data) / (2 * b.width)
	}
	return len(b.data) / b.width
}

// Grow makes room for n elements more.
func (b *Bulk) Grow(n int) {
	if b.interval {
		n *= 2
	}
	b.data = slices.Grow(b.data, n*b.width)
}

// Add appends an element: the values of its fields side by side, each as wide as
// its type, most significant byte first; names are padded with zeros. Intervals
// of one field come sorted and apart; others do not overlap.
func (b *Bulk) Add(low, high []byte) {
	b.data = append(b.data, low[:b.width]...)
	if b.interval {
		b.data = append(b.data, high[:b.width]...)
	}
	if b.extra != nil {
		b.extra = append(b.extra, ElementExtra{})
	}
}

// AddExtra is Add of an element that may have more than a key.
func (b *Bulk) AddExtra(low, high []byte, x ElementExtra) {
	if x == (ElementExtra{}) {
		b.Add(low, high)
		return
	}
	if b.extra == nil {
		b.extra = make([]ElementExtra, b.Len(), b.Len()+16)
	}
	b.Add(low, high)
	b.extra[len(b.extra)-1] = x
}

// AddVerdict is AddExtra of an element of a map, which leads to a verdict.
// Intervals of one field may touch.
func (b *Bulk) AddVerdict(low, high []byte, x ElementExtra, v VerdictStmt) {
	b.AddExtra(low, high, x)
	b.to = append(b.to, v)
}

// Extend makes the last interval longer by one that begins behind it, and
// reports whether it does. Both have nothing but a key of one field.
func (b *Bulk) Extend(low, high []byte) bool {
	n := b.Len()
	if n == 0 || b.extra != nil && b.extra[n-1] != (ElementExtra{}) {
		return false
	}
	_, last := b.at(n - 1)
	for i := b.width - 1; ; i-- {
		if i < 0 {
			return false // behind the greatest value
		}
		if last[i] != 0xff {
			if last[i]+1 != low[i] || !bytes.Equal(last[:i], low[:i]) || !filled(low[i+1:b.width], 0) {
				return false
			}
			copy(last, high)
			return true
		}
	}
}

// Uncounted returns the elements without their counters.
func (b *Bulk) Uncounted() *Bulk {
	plain := *b
	plain.extra = slices.Clone(b.extra)
	for i := range plain.extra {
		plain.extra[i].Packets, plain.extra[i].Bytes = 0, 0
	}
	return &plain
}

// at returns the ends of an element.
func (b *Bulk) at(i int) (low, high []byte) {
	if b.interval {
		i *= 2
		return b.data[i*b.width : (i+1)*b.width], b.data[(i+1)*b.width : (i+2)*b.width]
	}
	low = b.data[i*b.width : (i+1)*b.width]
	return low, low
}

// check refuses elements that cannot be written.
func (b *Bulk) check(s *Set) error {
	if !slices.Equal(b.key, s.Key) || b.interval != s.Interval {
		return fmt.Errorf("write the set %s: its elements are made for another key", s.Name)
	}
	last := []byte(nil)
	for i := range b.Len() {
		low, high := b.at(i)
		if len(b.key) == 1 && b.interval {
			if bytes.Compare(low, high) > 0 || last != nil && bytes.Compare(last, low) >= 0 {
				return fmt.Errorf("write the set %s: its intervals overlap or are not sorted", s.Name)
			}
			last = high
		}
		at := 0
		for _, t := range b.key {
			if t.text {
				name := string(bytes.TrimRight(low[at:at+t.Bytes], "\x00"))
				if err := checkInterfaceName(name); err != nil {
					return err
				}
			}
			at += t.Bytes
		}
	}
	if err := b.checkVerdicts(s); err != nil {
		return err
	}
	if err := b.checkValues(s); err != nil {
		return err
	}
	for _, x := range b.extra {
		switch {
		case x.Timeout < 0 || x.Timeout%time.Millisecond != 0 || x.Timeout != 0 && !s.expires():
			return fmt.Errorf("write an element of the set %s: it cannot have the timeout %s", s.Name, x.Timeout)
		case !s.Counter && (x.Packets != 0 || x.Bytes != 0):
			return fmt.Errorf("write an element of the set %s: the set does not count", s.Name)
		}
		if err := checkComment(x.Comment); err != nil {
			return err
		}
	}
	return nil
}

// appendText writes an element as nft reads it.
func (b *Bulk) appendText(text []byte, s *Set, i int) []byte {
	low, high := b.at(i)
	at := 0
	for n, t := range b.key {
		if n > 0 {
			text = append(text, " . "...)
		}
		text = t.appendInterval(text, low[at:at+t.Bytes], high[at:at+t.Bytes])
		at += t.Bytes
	}
	var x ElementExtra
	if b.extra != nil {
		x = b.extra[i]
	}
	if s.Counter {
		text = fmt.Appendf(text, " counter packets %d bytes %d", x.Packets, x.Bytes)
	}
	if x.Timeout != 0 {
		text = append(append(text, " timeout "...), durationText(x.Timeout)...)
	}
	if x.Comment != "" {
		text = append(append(append(text, ` comment "`...), x.Comment...), '"')
	}
	if b.to != nil {
		text = appendText(append(text, " : "...), b.to[i], 0)
	}
	if s.Data != nil {
		text = s.Data.format(append(text, " : "...), b.value(i, s.Data))
	}
	return text
}

// appendInterval is [Datatype.interval] of packed values.
func (t *Datatype) appendInterval(text, low, high []byte) []byte {
	switch {
	case t == ipv4Addr && [4]byte(low) != [4]byte(high):
		a, z := binary.BigEndian.Uint32(low), binary.BigEndian.Uint32(high)
		if bits, ok := prefixOf(a, z); ok {
			return strconv.AppendInt(append(address(text, low), '/'), int64(bits), 10)
		}
		return address(append(address(text, low), '-'), high)
	case t.text:
		return t.format(text, bytes.TrimRight(low, "\x00"))
	}
	return t.interval(text, low, high)
}

// prefixOf returns the length of the prefix that a span of addresses is.
func prefixOf(low, high uint32) (bits int, ok bool) {
	open := low ^ high
	if open&(open+1) != 0 || low&open != 0 {
		return 0, false
	}
	bits = 32
	for ; open != 0; open >>= 1 {
		bits--
	}
	return bits, true
}

// encode gives the messages that fill a set to flush.
func (b *Bulk) encode(s *lookupSet, table string, flush func(attributes)) {
	e := bulkEncoder{bulk: b, set: s, table: table, flush: flush}
	if b.interval && len(b.key) == 1 {
		e.spans()
	} else {
		e.keys()
	}
	e.end()
}

// A bulkEncoder makes messages of elements, each as large as a message may be.
type bulkEncoder struct {
	bulk  *Bulk
	set   *lookupSet
	table string
	flush func(attributes)
	a     attributes
	list  int // where the list of elements starts in a
}

func (e *bulkEncoder) begin() {
	if e.a != nil {
		return
	}
	e.a = make(attributes, 0, maxElements+512)
	e.a.text(unix.NFTA_SET_ELEM_LIST_TABLE, e.table)
	e.a.text(unix.NFTA_SET_ELEM_LIST_SET, e.set.name)
	e.a.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, e.set.id)
	e.list = len(e.a)
	e.a.header(unix.NFTA_SET_ELEM_LIST_ELEMENTS|nestedFlag, 0)
}

// close writes the length of an attribute that starts at a place and ends here.
func (a attributes) close(at int) {
	binary.NativeEndian.PutUint16(a[at:], uint16(len(a)-at))
}

func (e *bulkEncoder) end() {
	if e.a == nil {
		return
	}
	e.a.close(e.list)
	e.flush(e.a)
	e.a = nil
}

// open begins an element and returns where.
func (e *bulkEncoder) open() int {
	if len(e.a) > maxElements {
		e.end()
	}
	e.begin()
	at := len(e.a)
	e.a.header(unix.NFTA_LIST_ELEM|nestedFlag, 0)
	return at
}

func (e *bulkEncoder) key(kind uint16, key []byte) {
	at := len(e.a)
	e.a.header(kind|nestedFlag, 0)
	e.a.header(unix.NFTA_DATA_VALUE, len(key))
	e.a = append(e.a, key...)
	e.a.pad()
	e.a.close(at)
}

// extras writes what an element has beside its key.
func (e *bulkEncoder) extras(i int, userdata []byte) {
	var x ElementExtra
	if e.bulk.extra != nil {
		x = e.bulk.extra[i]
	}
	if e.bulk.to != nil {
		e.a.nested(unix.NFTA_SET_ELEM_DATA, e.bulk.to[i].data())
	}
	if e.set.data != nil {
		e.a.nested(unix.NFTA_SET_ELEM_DATA, e.bulk.valueData(i, e.set.data))
	}
	if x.Timeout != 0 {
		e.a.u64(unix.NFTA_SET_ELEM_TIMEOUT, uint64(x.Timeout.Milliseconds()))
	}
	if x.Comment != "" {
		userdata = append(append([]byte{elementComment, byte(len(x.Comment) + 1)}, x.Comment...), 0)
	}
	if userdata != nil {
		e.a.bytes(unix.NFTA_SET_ELEM_USERDATA, userdata...)
	}
	if e.set.counter {
		e.a.nested(unix.NFTA_SET_ELEM_EXPR, counterExpression(x.Packets, x.Bytes))
	}
}

// elementComment is the kind of userdata that is the comment of an element.
const elementComment = 0

// counterExpression is a counter as sets and elements hold it.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_counter_attributes.
func counterExpression(packets, bytes uint64) attributes {
	var a, data attributes
	a.text(unix.NFTA_EXPR_NAME, "counter")
	data.u64(unix.NFTA_COUNTER_BYTES, bytes)
	data.u64(unix.NFTA_COUNTER_PACKETS, packets)
	a.nested(unix.NFTA_EXPR_DATA, data)
	return a
}

// keys writes elements of which each is a key, or the ends of a tuple of
// intervals.
func (e *bulkEncoder) keys() {
	var low, high []byte
	for i := range e.bulk.Len() {
		a, z := e.bulk.at(i)
		low, high = e.register(low[:0], a), e.register(high[:0], z)
		at := e.open()
		e.key(unix.NFTA_SET_ELEM_KEY, low)
		if e.bulk.interval {
			e.key(elementKeyEnd, high)
		}
		e.extras(i, nil)
		e.a.close(at)
	}
}

// register appends a key as it stands in registers.
func (e *bulkEncoder) register(b, key []byte) []byte {
	for _, t := range e.bulk.key {
		v := key[:t.Bytes]
		key = key[t.Bytes:]
		first := len(b)
		b = append(b, v...)
		if t.hostNumber() && !hostIsBig && !e.bulk.interval {
			slices.Reverse(b[first:])
		}
		if len(e.bulk.key) > 1 {
			for range 4*words(t) - t.Bytes {
				b = append(b, 0)
			}
		}
	}
	return b
}

// spans writes intervals of one field as the kernel has them: their first values
// and those behind their last ones.
func (e *bulkEncoder) spans() {
	width := e.bulk.width
	next := make([]byte, width)
	for i := range e.bulk.Len() {
		low, high := e.bulk.at(i)
		if i == 0 && !filled(low, 0) {
			at := e.open()
			e.a.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
			e.key(unix.NFTA_SET_ELEM_KEY, next) // of zeros
			e.a.close(at)
		}
		copy(next, high)
		overflow := increment(next)
		var user []byte
		if overflow {
			user = binary.NativeEndian.AppendUint32([]byte{elementFlags, 4}, elementOpenEnded)
		}
		at := e.open()
		e.key(unix.NFTA_SET_ELEM_KEY, low)
		e.extras(i, user)
		e.a.close(at)
		if overflow {
			return
		}
		at = e.open()
		e.a.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
		e.key(unix.NFTA_SET_ELEM_KEY, next)
		e.a.close(at)
	}
}

// increment adds one; it reports whether that went beyond the greatest value.
func increment(v []byte) bool {
	for i := len(v) - 1; i >= 0; i-- {
		if v[i]++; v[i] != 0 {
			return false
		}
	}
	return true
}

// bulk writes the elements of a set, wrapped.
func (p *printer) bulk(s *Set) {
	const head, tab = "\t\telements = { ", 8
	column := 2*tab + len(head) - 2
	p.add(head)
	var element []byte
	for i := range s.Bulk.Len() {
		element = s.Bulk.appendText(element[:0], s, i)
		if i > 0 {
			if column += 2; column+len(element) > maxLine {
				p.add(",\n\t\t\t     ")
				column = 3*tab + 5
			} else {
				p.add(", ")
			}
		}
		p.text = append(p.text, element...)
		column += len(element)
	}
	p.add(" }\n")
}
