package ipset

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"nftmigrate/diag"
)

// Sets are all sets of a host, in the order in which they were made.
type Sets struct {
	Source *diag.Source
	List   []*Set

	byName map[string]*Set
}

// Set returns the set of a name, or nil. It may be called on nil.
func (s *Sets) Set(name string) *Set {
	if s == nil {
		return nil
	}
	return s.byName[name]
}

// A Set is one set.
type Set struct {
	Name    string
	Range   diag.Range // of the line that made it
	Type    *Type
	Options Options

	source *diag.Source
	layout
	data    []byte // the elements, each stride bytes
	at      []int32
	extra   []Extra // of each element, nil when the set has no extensions
	members []*Set  // of a list, beside data
	index   index
	// deferred says that there is no index, and nobody has looked yet whether an
	// element is there twice.
	deferred bool
	dead     int // elements that were deleted and are still in data
	users    int // lists that hold the set
}

// Options are what "create" was told.
type Options struct {
	Family     uint8 // 4 or 6; 0 of types that serve both
	HashSize   uint32
	MaxElem    uint32
	BucketSize uint8
	InitVal    *uint32 // nil when not given
	Netmask    uint8   // 0 when not given
	Bitmask    netip.Addr
	MarkMask   *uint32 // nil when not given
	// HasTimeout says that elements can expire; Timeout is when those do that say
	// nothing themselves, in seconds, 0 is never.
	HasTimeout bool
	Timeout    uint32
	Counters   bool
	Comment    bool
	SkbInfo    bool
	ForceAdd   bool
	// Low and High are the range of a bitmap: addresses of IPv4, or ports.
	Low, High uint32
	Size      uint32 // of a list
}

// extended reports whether elements have more than a key.
func (o *Options) extended() bool { return o.HasTimeout || o.Counters || o.Comment || o.SkbInfo }

// An Element is one element of a set, unpacked.
type Element struct {
	// Addr and Bits are the addresses or networks, in the order of the parts.
	Addr [2]netip.Addr
	Bits [2]uint8
	// Proto and Port are a protocol and a port; of ICMP Port is the type times
	// 256 plus the code, of protocols without ports 0. Of a bitmap:port, Proto
	// is 0.
	Proto uint8
	Port  uint16
	MAC   [6]byte
	// HasMAC is false for an element of a bitmap:ip,mac that takes any address.
	HasMAC bool
	Mark   uint32
	// Iface is a device, or with Wildcard the beginning of the names of some.
	// Physdev asks for the port of a bridge.
	Iface             string
	Physdev, Wildcard bool
	Member            *Set
	Nomatch           bool
	Extra             *Extra // nil when the set has no extensions
}

// Extra are the extensions of an element.
type Extra struct {
	Timeout        uint32 // seconds that are left; 0 is for ever
	Packets, Bytes uint64
	Comment        string
	SkbMark        uint32
	SkbMask        uint32
	SkbPrio        uint32
	SkbQueue       uint16
}

// A layout says where the parts of a key stand. All are a fixed number of bytes.
type layout struct {
	parts  []Part
	offset [3]int
	addr   int  // bytes of an address
	bitmap bool // ports have no protocol
	stride int  // with a byte of flags at the end
}

// Flags at the end of a packed element.
const (
	flagNomatch = 1 << iota
	flagPhysdev
	flagWildcard
	flagMAC
	flagDead
)

// keyFlags are the flags that tell elements apart.
const keyFlags = flagPhysdev | flagWildcard

const ifaceMax = 15

func layoutOf(t *Type, family uint8) layout {
	l := layout{parts: t.Parts, addr: 4, bitmap: t.Bitmap}
	if family == 6 {
		l.addr = 16
	}
	for i, p := range t.Parts {
		l.offset[i] = l.stride
		switch p {
		case IP:
			l.stride += l.addr
		case Net:
			l.stride += l.addr + 1
		case Port:
			l.stride += 3
		case MAC:
			l.stride += 6
		case Mark, Member:
			l.stride += 4
		case Iface:
			l.stride += ifaceMax + 1
		}
	}
	l.stride++
	return l
}

// Len is the number of elements.
func (s *Set) Len() int {
	if s.layout.stride == 0 {
		return 0
	}
	return len(s.data)/s.layout.stride - s.dead
}

// Elements calls yield for each element, in the order of the source.
func (s *Set) Elements(yield func(i int, e *Element) bool) {
	var e Element
	for i := range len(s.at) {
		if s.record(i)[s.stride-1]&flagDead != 0 {
			continue
		}
		s.unpack(i, &e)
		if !yield(i, &e) {
			return
		}
	}
}

// Place returns where the source says the element that Elements calls i.
func (s *Set) Place(i int) diag.Range {
	start := s.at[i]
	if s.source == nil {
		return diag.Range{}
	}
	end := start
	for int(end) < len(s.source.Text) && s.source.Text[end] != '\n' {
		end++
	}
	return diag.Range{Source: s.source, Start: start, End: end}
}

func (s *Set) record(i int) []byte { return s.data[i*s.stride : (i+1)*s.stride] }

// unpack reads a packed element.
func (s *Set) unpack(i int, e *Element) {
	*e = Element{}
	r := s.record(i)
	flags := r[s.stride-1]
	n := 0
	for p, part := range s.parts {
		b := r[s.offset[p]:]
		switch part {
		case IP, Net:
			if s.addr == 4 {
				e.Addr[n] = netip.AddrFrom4([4]byte(b[:4]))
			} else {
				e.Addr[n] = netip.AddrFrom16([16]byte(b[:16]))
			}
			e.Bits[n] = uint8(8 * s.addr)
			if part == Net {
				e.Bits[n] = b[s.addr]
			}
			n++
		case Port:
			e.Proto, e.Port = b[0], binary.BigEndian.Uint16(b[1:])
		case MAC:
			e.MAC, e.HasMAC = [6]byte(b[:6]), flags&flagMAC != 0
		case Mark:
			e.Mark = binary.BigEndian.Uint32(b)
		case Iface:
			name := b[:ifaceMax+1]
			for len(name) > 0 && name[len(name)-1] == 0 {
				name = name[:len(name)-1]
			}
			e.Iface, e.Physdev, e.Wildcard = string(name), flags&flagPhysdev != 0, flags&flagWildcard != 0
		case Member:
			e.Member = s.members[binary.BigEndian.Uint32(b)]
		}
	}
	e.Nomatch = flags&flagNomatch != 0
	if s.extra != nil {
		e.Extra = &s.extra[i]
	}
}

// pack writes the key and the flags of an element to the end of b.
func (s *Set) pack(b []byte, e *Element) []byte {
	n := 0
	var flags byte
	for _, part := range s.parts {
		switch part {
		case IP, Net:
			a := e.Addr[n]
			if s.addr == 4 {
				v := a.As4()
				b = append(b, v[:]...)
			} else {
				v := a.As16()
				b = append(b, v[:]...)
			}
			if part == Net {
				b = append(b, e.Bits[n])
			}
			n++
		case Port:
			b = append(b, e.Proto, byte(e.Port>>8), byte(e.Port))
		case MAC:
			b = append(b, e.MAC[:]...)
			if e.HasMAC {
				flags |= flagMAC
			}
		case Mark:
			b = binary.BigEndian.AppendUint32(b, e.Mark)
		case Iface:
			var name [ifaceMax + 1]byte
			copy(name[:], e.Iface)
			b = append(b, name[:]...)
			if e.Physdev {
				flags |= flagPhysdev
			}
			if e.Wildcard {
				flags |= flagWildcard
			}
		case Member:
			b = binary.BigEndian.AppendUint32(b, uint32(slices.Index(s.members, e.Member)))
		}
	}
	if e.Nomatch {
		flags |= flagNomatch
	}
	return append(b, flags)
}
