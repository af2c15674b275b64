package nftgen

import (
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
)

// MapByte is "field set field map { 1 : 2, … }" of a byte that is known by place
// only: it becomes what the map has for it, and no checksum follows. A packet whose
// byte is not there passes the rule by.
type MapByte struct{ PairMap }

var _ action = MapByte{}

func (MapByte) stmt()          {}
func (MapByte) terminal() bool { return false }

func (s MapByte) check() error {
	if !s.Field.rawBytes() || s.Field.load.mask != nil {
		return fmt.Errorf("write a map of bytes: %s is not a byte by place", s.Field.Text)
	}
	return s.PairMap.check(1)
}

func (s MapByte) text(Family) string { return s.Field.Text + " set " + s.PairMap.String() }

func (s MapByte) compile(c *compiler) error {
	l := s.Field.load
	write := &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBase(l.key), Offset: l.offset, Len: l.length}
	c.add(append(c.pairMap(&s.PairMap, s.Field.Type, 1), fromLibrary{write})...)
	return nil
}

// rawBytes reports whether a field is bytes, or some bits of one, of an IPv6 packet
// that nft knows by place only, and of which no checksum of the network header is.
func (f Field) rawBytes() bool {
	return f.loadedBy(loadPayload) && strings.HasPrefix(f.Text, "@") && f.Family() == IP6
}
