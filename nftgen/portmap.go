package nftgen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A portSpan is the ports that a statement maps to; the zero value is none.
type portSpan struct {
	low, high uint16
	fromZero  bool
}

func (s NAT) ports() portSpan        { return portSpan{s.LowPort, s.HiPort, s.FromZero} }
func (s Masquerade) ports() portSpan { return portSpan{s.LowPort, s.HiPort, s.FromZero} }
func (s Redirect) ports() portSpan   { return portSpan{s.LowPort, s.HiPort, s.FromZero} }

func (p portSpan) given() bool { return p != portSpan{} }

func (p portSpan) check() error {
	if p.given() && p.fromZero != (p.low == 0) || p.high != 0 && p.high < p.low {
		return fmt.Errorf("write a span of ports: %d-%d", p.low, p.high)
	}
	return nil
}

// data returns the values of the ends, nil for what is not given.
func (p portSpan) data() (low, high []byte) {
	if !p.given() {
		return nil, nil
	}
	low = binary.BigEndian.AppendUint16(nil, p.low)
	if p.high > p.low {
		high = binary.BigEndian.AppendUint16(nil, p.high)
	}
	return low, high
}

func (p portSpan) text() string {
	switch {
	case !p.given():
		return ""
	case p.high > p.low:
		return fmt.Sprintf(":%d-%d", p.low, p.high)
	}
	return fmt.Sprintf(":%d", p.low)
}

// A PortMap is "field map { 2000 : 10000, … }" where nat takes a port: the
// packet's own port says which. A packet whose port is not there passes the
// statement by.
type PortMap struct {
	Field Field // of two bytes
	Pairs []PortPair
}

// A PortPair maps one port to another. Pairs are sorted by From.
type PortPair struct{ From, To uint16 }

func (m *PortMap) check() error {
	if m.Field.Type == nil || m.Field.Type.Bytes != 2 {
		return errors.New("write a map of ports: the field is not of two bytes")
	}
	if len(m.Pairs) == 0 {
		return errors.New("write a map of ports: it is empty")
	}
	for i, p := range m.Pairs[1:] {
		if p.From <= m.Pairs[i].From {
			return fmt.Errorf("write a map of ports: %d stands behind %d", p.From, m.Pairs[i].From)
		}
	}
	return nil
}

func (m *PortMap) String() string {
	var b strings.Builder
	b.WriteString(m.Field.Text + " map { ")
	for i, p := range m.Pairs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d : %d", p.From, p.To)
	}
	return b.String() + " }"
}

// portMap looks the packet's port up and leaves the one that it is mapped to in
// the same register.
func (c *compiler) portMap(m *PortMap, r uint32) []expression {
	return c.mapped(m.Field, inetService, m.Pairs, r)
}

// mapped looks a field up in a map of pairs and leaves what it is mapped to in the
// same register.
func (c *compiler) mapped(f Field, data *Datatype, pairs []PortPair, r uint32) []expression {
	set := lookupSet{types: []*Datatype{f.Type}, fields: []Field{f}, anonymous: true, pairs: pairs, pairData: data}
	if c.nextSet != nil {
		set.id = c.nextSet()
	}
	c.sets = append(c.sets, set)
	return []expression{f.loadInto(r, f.load.length), fromLibrary{&expr.Lookup{
		SourceRegister: r, DestRegister: r, IsDestRegSet: true, SetName: set.anonymousName(), SetID: set.id,
	}}}
}

// anonymousName is the pattern from which the kernel makes the name.
func (s *lookupSet) anonymousName() string {
	if s.isMap() {
		return anonymousMap
	}
	return anonymousSet
}

func (s *lookupSet) isMap() bool { return s.pairs != nil || s.verdicts || s.data != nil }

// mapsTo adds what a map has beside a set.
func (s *lookupSet) mapsTo(a *attributes) {
	switch {
	case s.verdicts:
		a.u32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
		a.u32(unix.NFTA_SET_DATA_LEN, 0)
	case s.data != nil:
		a.u32(unix.NFTA_SET_DATA_TYPE, s.data.Number)
		a.u32(unix.NFTA_SET_DATA_LEN, uint32(s.data.Bytes))
	case s.pairs != nil:
		a.u32(unix.NFTA_SET_DATA_TYPE, s.pairData.Number)
		a.u32(unix.NFTA_SET_DATA_LEN, uint32(s.pairData.Bytes))
	}
}

// pairUserdata is the userdata of a map of ports, or of bytes: of the latter nft
// knows no order.
func (s *lookupSet) pairUserdata() []byte {
	order := uint32(orderBig)
	if s.pairData.Bytes == 1 {
		order = orderMixed
	}
	var u userdata
	u.u32(setKeyByteorder, orderBig)
	u.u32(setDataByteorder, order)
	u.u32(setDataInterval, 0)
	return u
}

// mapped returns the elements of a map of ports, or of bytes.
func (s *lookupSet) mapped() []element {
	out := make([]element, len(s.pairs))
	for i, p := range s.pairs {
		key, data := binary.BigEndian.AppendUint16(nil, p.From), binary.BigEndian.AppendUint16(nil, p.To)
		out[i] = element{key: key[2-s.types[0].Bytes:], data: data[2-s.pairData.Bytes:]}
	}
	return out
}
