package nftgen

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// SetZone is "ct zone set N", or "ct original zone set N" for one direction, before
// connection tracking.
type SetZone struct {
	Zone uint16
	Of   ZoneDirection
}

// A ZoneDirection is the direction of a connection that a zone counts for.
type ZoneDirection uint8

// The directions.
const (
	ZoneBoth ZoneDirection = iota
	ZoneOriginal
	ZoneReply
)

var zoneWords = []string{ZoneBoth: "", ZoneOriginal: "original ", ZoneReply: "reply "}

var _ action = SetZone{}

func (SetZone) stmt()          {}
func (SetZone) terminal() bool { return false }

func (s SetZone) text(Family) string { return fmt.Sprintf("ct %szone set %d", zoneWords[s.Of], s.Zone) }

func (s SetZone) check() error {
	if s.Of > ZoneReply {
		return fmt.Errorf("write ct zone set: there is no direction %d", s.Of)
	}
	return nil
}

func (s SetZone) compile(c *compiler) error {
	var a attributes
	a.u32(unix.NFTA_CT_KEY, unix.NFT_CT_ZONE)
	a.u32(unix.NFTA_CT_SREG, 1)
	if s.Of != ZoneBoth {
		a.bytes(unix.NFTA_CT_DIRECTION, byte(s.Of-ZoneOriginal))
	}
	c.add(immediate(1, binary.NativeEndian.AppendUint16(nil, s.Zone)), ownExpression{"ct", a})
	return nil
}
