package nftgen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
)

// MapByte is "field set field map { 1 : 2, … }" of a byte that is known by place
// only: it becomes what the map has for it, and no checksum follows. A packet whose
// byte is not there passes the rule by.
type MapByte struct {
	Field Field
	Pairs []BytePair
}

// A BytePair maps one byte to another. Pairs are sorted by From.
type BytePair struct{ From, To byte }

var _ action = MapByte{}

func (MapByte) stmt()          {}
func (MapByte) terminal() bool { return false }

func (s MapByte) check() error {
	if !s.Field.rawBytes() || s.Field.load.mask != nil || s.Field.Type.Bytes != 1 {
		return fmt.Errorf("write a map of bytes: %s is not a byte by place", s.Field.Text)
	}
	if len(s.Pairs) == 0 || !slices.IsSortedFunc(s.Pairs, func(a, b BytePair) int { return int(a.From) - int(b.From) }) {
		return fmt.Errorf("write a map of bytes: it is empty, or not sorted")
	}
	return nil
}

func (s MapByte) text(Family) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s set %s map { ", s.Field.Text, s.Field.Text)
	for i, p := range s.Pairs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d : %d", p.From, p.To)
	}
	return b.String() + " }"
}

func (s MapByte) compile(c *compiler) error {
	pairs := make([]PortPair, len(s.Pairs))
	for i, p := range s.Pairs {
		pairs[i] = PortPair{From: uint16(p.From), To: uint16(p.To)}
	}
	l := s.Field.load
	write := &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBase(l.key), Offset: l.offset, Len: l.length}
	c.add(append(c.mapped(s.Field, s.Field.Type, pairs, 1), fromLibrary{write})...)
	return nil
}

// rawBytes reports whether a field is bytes, or some bits of one, of an IPv6 packet
// that nft knows by place only, and of which no checksum of the network header is.
func (f Field) rawBytes() bool {
	return f.loadedBy(loadPayload) && strings.HasPrefix(f.Text, "@") && f.Family() == IP6
}
